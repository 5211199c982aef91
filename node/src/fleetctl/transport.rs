//! From an endpoint to a stream of bytes: a socket of this machine's, TCP, TLS over it.
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Url;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::remote::Tunnel;
use crate::tls::{self, connect};

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[derive(Clone)]
enum Place {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
}

#[derive(Clone)]
pub struct Transport {
    place: Place,
    tunnel: Option<Arc<Tunnel>>,
    tls: Option<Arc<ClientConfig>>,
    /// What the requests' URLs begin with.
    pub base: String,
    /// The Host header.
    pub host: String,
}

impl Transport {
    pub fn new(endpoint: &str, files: &tls::Files, tunnel: Option<Arc<Tunnel>>) -> Result<Transport, String> {
        if !endpoint.contains("://") {
            return Err("URL scheme undefined".into());
        }
        let url = Url::parse(endpoint).map_err(|error| format!("parse {endpoint:?}: {error}"))?;
        let host = url.host_str().unwrap_or_default();
        match url.scheme() {
            scheme @ ("unix" | "file") => {
                // A slash that was forgotten makes the first directory a host.
                if !host.is_empty() {
                    return Err(format!("unable to connect to host {host:?} with scheme {scheme:?}"));
                }
                Ok(Transport {
                    // As it was typed: a URL would write a blank otherwise.
                    place: Place::Unix(endpoint.split_once("://").map_or("", |(_, path)| path).into()),
                    tunnel,
                    tls: None,
                    base: "http://domain-sock".into(),
                    host: "domain-sock".into(),
                })
            }
            scheme @ ("http" | "https") => {
                let port = url.port_or_known_default().unwrap_or(80);
                let tls = (scheme == "https").then(|| tls::client::config(files).map(Arc::new));
                Ok(Transport {
                    place: Place::Tcp {
                        host: host.into(),
                        port,
                    },
                    tunnel,
                    tls: tls.transpose()?,
                    base: endpoint.trim_end_matches('/').into(),
                    host: url.port().map_or(host.to_string(), |port| format!("{host}:{port}")),
                })
            }
            other => Err(format!(
                "unsupported protocol scheme {other:?}: an endpoint is a unix, file, http or https URL"
            )),
        }
    }

    pub async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let (host, stream): (&str, Box<dyn Stream>) = match (&self.place, &self.tunnel) {
            (Place::Unix(path), Some(tunnel)) => {
                let stream = tunnel.unix(&path.to_string_lossy()).await;
                ("", Box::new(stream.map_err(|error| error.to_string())?))
            }
            (Place::Tcp { host, port }, Some(tunnel)) => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let stream = tunnel.tcp(bare, *port).await;
                (bare, Box::new(stream.map_err(|error| error.to_string())?))
            }
            (Place::Unix(path), None) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| format!("dial unix {}: {}", path.display(), dialed(&error)))?;
                ("", Box::new(stream))
            }
            (Place::Tcp { host, port }, None) => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let stream = TcpStream::connect((bare, *port)).await;
                let stream = stream.map_err(|error| format!("dial tcp {host}:{port}: {}", dialed(&error)))?;
                (bare, Box::new(stream))
            }
        };
        let Some(config) = &self.tls else {
            return Ok(stream);
        };
        let name = ServerName::try_from(host.to_string()).map_err(|error| format!("{host}: {error}"))?;
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
        let stream = stream.map_err(|error| connect::explain(&self.base, error).to_string())?;
        Ok(Box::new(stream))
    }
}

fn dialed(error: &io::Error) -> String {
    let text = in_gos_words(error);
    match error.raw_os_error() {
        Some(_) => format!("connect: {text}"),
        None => text,
    }
}

/// An error of the system's without Rust's number behind it, in small letters as Go writes them.
pub fn in_gos_words(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.split_once(" (os error")) {
        (Some(_), Some((text, _))) => text.to_lowercase(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_refused_in_fleets_words() {
        let cases = [
            ("/var/run/fleet.sock", "URL scheme undefined"),
            (
                "unix://var/run/fleet.sock",
                "unable to connect to host \"var\" with scheme \"unix\"",
            ),
        ];
        for (endpoint, why) in cases {
            let refused = Transport::new(endpoint, &Default::default(), None).err();
            assert_eq!(refused.as_deref(), Some(why), "{endpoint}");
        }
        assert!(Transport::new("ftp://h/", &Default::default(), None).is_err());
        let transport = Transport::new("http://h:7002/", &Default::default(), None)
            .ok()
            .unwrap();
        assert_eq!(
            (transport.base.as_str(), transport.host.as_str()),
            ("http://h:7002", "h:7002")
        );
    }
}
