//! HTTP to the outside, as blocking calls: the rest of `lab` waits for them anyway.
use std::future::Future;
use std::time::Duration;

use rustls::RootCertStore;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Follows redirects and the environment's proxy, as boxes and public services need it.
pub fn client() -> Result<reqwest::Client, String> {
    let mut roots = RootCertStore::empty();
    // A machine may have some that cannot be used; those that can are enough.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT);
    builder.build().map_err(|error| reason(&error))
}

/// Why there is no answer, and whether that is for the time it took.
pub struct Error {
    pub why: String,
    pub is_timeout: bool,
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Error {
        Error {
            why: reason(&error),
            is_timeout: error.is_timeout(),
        }
    }
}

/// Status and body.
pub fn text(url: &str, patience: Duration) -> Result<(u16, String), Error> {
    let client = client().map_err(|why| Error { why, is_timeout: false })?;
    block_on(async {
        let answer = client.get(url).timeout(patience).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await?))
    })
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("threads and descriptors for a runtime").block_on(future)
}

/// What lies under an error: "connection refused" rather than that a request could not be sent.
pub fn reason(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
