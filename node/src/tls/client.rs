//! The connecting side: whom to trust, and which certificate to show.
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::{ClientConfig, RootCertStore};

use super::verify::{Anyone, Named, Nobody, Pinned};
use super::{Files, provider, read_certs, read_key, trust};
use crate::wall::Wall;

/// Trusts the CA that the files name, or else those of the system; shows the certificate, if there is one.
pub fn config(files: &Files) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    trust(files, &mut roots)?;
    // Without a single root rustls makes no verifier, and plain HTTP needs none.
    let verifier: Arc<dyn ServerCertVerifier> = match roots.is_empty() {
        true => Arc::new(Nobody(Anyone(provider()))),
        false => {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider()).build();
            Arc::new(Named(verifier.map_err(|error| error.to_string())?))
        }
    };
    with(files, verifier)
}

/// Encrypts, and believes any certificate: for members whose certificates generate themselves.
pub fn unverified(files: &Files) -> Result<ClientConfig, String> {
    with(files, Arc::new(Anyone(provider())))
}

/// Believes the server that has exactly this certificate.
pub fn pinned(certificate: Vec<u8>) -> Result<ClientConfig, String> {
    let proofs = Anyone(provider());
    with(&Files::default(), Arc::new(Pinned { certificate, proofs }))
}

fn with(files: &Files, verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Wall))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(read_certs(cert)?, read_key(key)?)
            .map_err(|error| format!("cannot use {} with {}: {error}", cert.display(), key.display())),
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err("KeyFile and CertFile must both be present".into()),
    }
}
