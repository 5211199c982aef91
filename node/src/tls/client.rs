//! The connecting side: whom to trust, and which certificate to show.
use rustls::{ClientConfig, RootCertStore};

use super::{Files, provider, read_certs, read_key};

/// Trusts the CA that the files name, or else those of the system; shows the certificate, if there is one.
pub fn config(files: &Files) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
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
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(read_certs(cert)?, read_key(key)?)
            .map_err(|error| format!("cannot use {} with {}: {error}", cert.display(), key.display())),
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err("KeyFile and CertFile must both be present".into()),
    }
}
