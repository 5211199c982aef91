//! etcd's endpoints through a tunnel, for an HTTP client that knows of none: those of http are at ports of this
//! machine's, those of https behind a proxy, so that TLS goes from here to etcd and names mean what they mean.
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use reqwest::header::HeaderValue;
use reqwest::{Proxy, Url};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::super::remote::Tunnel;
use super::super::say;

/// Longer than the head of any request for a connection.
const HEAD: u64 = 8192;

pub struct Endpoints {
    pub urls: Vec<String>,
    /// What connections of https go through.
    pub proxy: Option<Proxy>,
}

/// They last as long as this program.
pub async fn endpoints(endpoints: &[String], tunnel: &Arc<Tunnel>) -> Result<Endpoints, String> {
    let text = |error: io::Error| error.to_string();
    let mut urls = Vec::new();
    let mut proxy = None;
    for endpoint in endpoints {
        let url = Url::parse(endpoint).map_err(|error| format!("parse {endpoint:?}: {error}"))?;
        if url.scheme() == "https" {
            urls.push(endpoint.clone());
            if proxy.is_none() {
                proxy = Some(behind(tunnel).await?);
            }
            continue;
        }
        let host = url.host_str().unwrap_or_default().to_string();
        let port = url.port_or_known_default().unwrap_or(80);
        let (listener, local) = listen().await.map_err(text)?;
        urls.push(local);
        let tunnel = tunnel.clone();
        tokio::spawn(accept(listener, move |stream| {
            let (tunnel, host) = (tunnel.clone(), host.clone());
            // Who asked sees the connection close.
            async move { join(stream, &tunnel, &host, port, "").await }
        }));
    }
    Ok(Endpoints { urls, proxy })
}

/// A port of this machine's, with its URL.
async fn listen() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

async fn accept<F: Future<Output = io::Result<()>> + Send + 'static>(
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> F,
) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream));
    }
}

/// A proxy whose connections begin at the tunnel's end.
async fn behind(tunnel: &Arc<Tunnel>) -> Result<Proxy, String> {
    let (listener, url) = listen().await.map_err(|error| error.to_string())?;
    // Others on this machine can connect to it as well.
    let word = format!("{:032x}", rand::random::<u128>());
    let header = HeaderValue::from_str(&word).map_err(|error| error.to_string())?;
    let tunnel = tunnel.clone();
    tokio::spawn(accept(listener, move |stream| {
        let (tunnel, word) = (tunnel.clone(), word.clone());
        async move { connect(stream, &tunnel, &word).await }
    }));
    let proxy = Proxy::https(url).map_err(|error| error.to_string())?;
    Ok(proxy.custom_http_auth(header))
}

/// Serves a CONNECT: the client says nothing more before it has its answer.
async fn connect(stream: TcpStream, tunnel: &Tunnel, word: &str) -> io::Result<()> {
    let mut lines = BufReader::new(stream.take(HEAD)).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    let mut known = false;
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        let header = line.split_once(':');
        known |= header
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value.trim() == word);
    }
    let mut stream = lines.into_inner().into_inner().into_inner();
    let place = request.split(' ').nth(1).and_then(|place| place.rsplit_once(':'));
    match place.map(|(host, port)| (host.trim_matches(['[', ']']), port.parse())) {
        Some((host, Ok(port))) if known => join(stream, tunnel, host, port, "HTTP/1.1 200 OK\r\n\r\n").await,
        _ => {
            stream
                .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                .await
        }
    }
}

/// Joins a stream with what the tunnel's machine reaches there, behind a greeting.
async fn join(mut stream: TcpStream, tunnel: &Tunnel, host: &str, port: u16, greeting: &str) -> io::Result<()> {
    match tunnel.tcp(host, port).await {
        Ok(mut far) => {
            stream.write_all(greeting.as_bytes()).await?;
            copy_bidirectional(&mut stream, &mut far).await.map(drop)
        }
        Err(error) => {
            say::log(
                "ERROR",
                "fleetctl",
                &format!("{host}:{port} cannot be had through the tunnel: {error}"),
            );
            Err(error)
        }
    }
}
