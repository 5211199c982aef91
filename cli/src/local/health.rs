//! Does a node's etcd say that it is healthy? Over TLS where the lab has given it certificates.
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use labnode::tls::{Files, client};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What to show it, and whom to trust: files of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tls {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Made once for all times that it is asked.
pub fn connector(tls: &Tls) -> io::Result<TlsConnector> {
    let files = Files {
        cert: Some(tls.cert.clone()),
        key: Some(tls.key.clone()),
        trusted_ca: Some(tls.ca.clone()),
        client_cert_auth: false,
    };
    let config = client::config(&files).map_err(io::Error::other)?;
    Ok(TlsConnector::from(std::sync::Arc::new(config)))
}

pub async fn of_etcd(stream: TcpStream, address: Ipv4Addr, tls: Option<&TlsConnector>) -> io::Result<bool> {
    match tls {
        None => ask(stream).await,
        Some(connector) => {
            let name = ServerName::IpAddress(std::net::IpAddr::from(address).into());
            ask(connector.connect(name, stream).await?).await
        }
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<bool> {
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    // A peer that closes without a word of TLS's own has said all there is to say.
    let read = stream.read_to_string(&mut answer).await;
    let healthy = answer.contains("\"health\": \"true\"");
    match read {
        Err(error) if !healthy => Err(error),
        _ => Ok(healthy),
    }
}
