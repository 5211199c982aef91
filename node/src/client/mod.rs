//! Talking to etcd servers over HTTP: `cluster` sends requests, `keys`, `members` and `auth` are the APIs.
pub mod auth;
pub mod cluster;
pub mod error;
pub mod keys;
pub mod members;

use std::time::Duration;

use crate::tls;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// An HTTP client that goes where it is told and nowhere else: no proxy of the environment, no redirect by itself.
pub fn http(files: &tls::Files) -> Result<reqwest::Client, String> {
    http_over(tls::client::config(files)?)
}

/// The same, with a TLS configuration at hand.
pub fn http_over(tls: rustls::ClientConfig) -> Result<reqwest::Client, String> {
    built(builder(tls).connect_timeout(CONNECT))
}

/// Behind a proxy after all, which takes its time to connect.
pub fn http_behind(files: &tls::Files, proxy: reqwest::Proxy) -> Result<reqwest::Client, String> {
    built(builder(tls::client::config(files)?).proxy(proxy))
}

fn builder(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .use_preconfigured_tls(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, String> {
    let client = builder.build();
    client.map_err(|error| format!("cannot make an HTTP client: {error}"))
}

/// What lies under an HTTP client's error: "connection refused" rather than that a request could not be sent.
pub fn reason(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
