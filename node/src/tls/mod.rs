//! Certificates for whoever connects and whoever listens: what the `*-file` flags name, read into rustls.
pub mod client;
#[cfg(feature = "server")]
pub mod connect;
#[cfg(feature = "server")]
pub mod generated;
pub mod names;
#[cfg(feature = "server")]
pub mod reload;
#[cfg(feature = "server")]
pub mod server;
#[cfg(all(test, feature = "server"))]
mod tests;
mod verify;

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The files of one side, as the flags name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub trusted_ca: Option<PathBuf>,
    /// A server's: refuse clients without a certificate that the CA signed.
    pub client_cert_auth: bool,
}

impl Files {
    pub fn is_empty(&self) -> bool {
        self.cert.is_none() && self.key.is_none() && self.trusted_ca.is_none()
    }

    #[cfg(feature = "server")]
    fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key, &self.trusted_ca]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }
}

pub fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}

/// Adds what the files trust to `roots`: their CA, or else the system's.
fn trust(files: &Files, roots: &mut RootCertStore) -> Result<(), String> {
    match &files.trusted_ca {
        Some(path) => {
            for cert in read_certs(path)? {
                let added = roots.add(cert);
                added.map_err(|error| format!("cannot trust the certificates in {}: {error}", path.display()))?;
            }
        }
        None => {
            // A machine may have some that cannot be used; those that can are enough.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(())
}

pub fn read_certs(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read the certificates in {}: {error}", path.display());
    let certs = CertificateDer::pem_file_iter(path).map_err(|error| cannot(&error))?;
    let certs: Vec<_> = certs.collect::<Result<_, _>>().map_err(|error| cannot(&error))?;
    if certs.is_empty() {
        return Err(cannot(&"there is no CERTIFICATE block"));
    }
    Ok(certs)
}

pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let encrypted = std::fs::read_to_string(path).is_ok_and(|text| text.contains("ENCRYPTED"));
        let why = match encrypted {
            true => "it is encrypted; `etcd-ca export --insecure NAME` writes one that is not".into(),
            false => error.to_string(),
        };
        format!("cannot read the private key in {}: {why}", path.display())
    })
}
