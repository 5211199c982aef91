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
    match asked(stream, word).await? {
        Some((stream, host, port)) => join(stream, tunnel, &host, port, "HTTP/1.1 200 OK\r\n\r\n").await,
        None => Ok(()),
    }
}

/// Where to, if it is one of ours who asks; others are refused.
async fn asked(stream: TcpStream, word: &str) -> io::Result<Option<(TcpStream, String, u16)>> {
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
    match place.map(|(host, port)| (host.trim_matches(['[', ']']).to_string(), port.parse())) {
        Some((host, Ok(port))) if known => Ok(Some((stream, host, port))),
        _ => {
            let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
            stream.write_all(refusal).await?;
            Ok(None)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a request: where it may go, and what is answered here.
    async fn said(request: &str) -> (Option<(String, u16)>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("its address"))
            .await
            .expect("a connection");
        let (stream, _) = listener.accept().await.expect("a connection");
        client.write_all(request.as_bytes()).await.expect("write");
        client.shutdown().await.expect("shut down");
        let place = asked(stream, "word").await.expect("an answer");
        let place = place.map(|(_, host, port)| (host, port));
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        (place, answer)
    }

    #[tokio::test]
    async fn only_who_knows_the_word_gets_through() {
        let head = |word: &str| format!("CONNECT core-01:2379 HTTP/1.1\r\nHost: core-01:2379\r\n{word}\r\n");
        let place = Some(("core-01".to_string(), 2379));
        for word in ["Proxy-Authorization: word\r\n", "proxy-authorization:word\r\n"] {
            assert_eq!(said(&head(word)).await, (place.clone(), String::new()), "{word}");
        }
        for request in [
            head(""),
            head("Proxy-Authorization: wor\r\n"),
            head("Proxy-Authorization: wordy\r\n"),
            head("Authorization: word\r\n"),
            // Too late.
            format!("{}Proxy-Authorization: word\r\n\r\n", head("")),
            "CONNECT core-01 HTTP/1.1\r\nProxy-Authorization: word\r\n\r\n".into(),
            String::new(),
        ] {
            let (place, answer) = said(&request).await;
            assert_eq!(place, None, "{request}");
            assert!(answer.starts_with("HTTP/1.1 407 "), "{request}: {answer}");
        }
    }
}
