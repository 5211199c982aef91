//! The listening side: the server's certificate, whom it lets in, and the handshake.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::reload::Reload;
use super::{Files, names, provider, read_certs, read_key, trust};
use crate::log;
use crate::wall::Wall;

/// A client has this long for its whole handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait for a refused client to have read why.
const LINGER: Duration = Duration::from_millis(200);
/// The first byte of every TLS connection: a handshake record.
const TLS_RECORD: u8 = 22;
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

pub fn config(files: &Files) -> Result<ServerConfig, String> {
    let (cert, key) = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return Err("KeyFile and CertFile are not presented".into()),
        (cert, key) => {
            let show = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
            return Err(format!(
                "KeyFile and CertFile must both be present[key: {}, cert: {}]",
                show(key).unwrap_or_default(),
                show(cert).unwrap_or_default()
            ));
        }
    };
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(Wall))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match files.client_cert_auth {
        true => {
            let mut roots = RootCertStore::empty();
            trust(files, &mut roots)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| format!("cannot check clients' certificates: {error}"))?,
            )
        }
        false => builder.with_no_client_auth(),
    };
    builder
        .with_single_cert(read_certs(cert)?, read_key(key)?)
        .map_err(|error| format!("cannot use {} with {}: {error}", cert.display(), key.display()))
}

/// Makes TLS connections of TCP ones.
pub struct Acceptor {
    config: Reload<ServerConfig>,
    /// The second in which a failed handshake was last logged: who knocks again and again must not fill the log.
    logged: AtomicU64,
    unlogged: AtomicU64,
}

impl Acceptor {
    /// Fails when the files cannot be used.
    pub fn new(files: Files) -> Result<Acceptor, String> {
        let config = Reload::new(files, config);
        config.get()?;
        Ok(Acceptor {
            config,
            logged: AtomicU64::new(0),
            unlogged: AtomicU64::new(0),
        })
    }

    /// The handshake. None: it failed, and the client and the log have been told.
    pub async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let from = stream
            .peer_addr()
            .map_or_else(|_| "?".into(), |address| address.to_string());
        let failed = match timeout(HANDSHAKE, self.handshake(stream)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("nothing complete within {HANDSHAKE:?}"),
        };
        let second = names::now() as u64;
        if self.logged.swap(second, Ordering::Relaxed) == second {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let more = match self.unlogged.swap(0, Ordering::Relaxed) {
            0 => String::new(),
            count => format!(" (and {count} more before it)"),
        };
        log::info!("etcdmain", "TLS handshake error from {from}: {failed}{more}");
        None
    }

    async fn handshake(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0] != TLS_RECORD {
            if first[0].is_ascii_alphabetic() {
                stream.write_all(PLAIN_HTTP).await?;
            }
            part(stream).await;
            return Err(io::Error::other("the client does not speak TLS"));
        }
        let config = self.config.get().map_err(io::Error::other)?;
        match TlsAcceptor::from(config).accept(stream).into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, stream)) => {
                part(stream).await;
                Err(error)
            }
        }
    }
}

/// Closes so that what was sent last, an alert for instance, is not lost in a reset.
async fn part(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let drain = async {
        let mut sink = vec![0; 16 << 10];
        while matches!(stream.read(&mut sink).await, Ok(read) if read > 0) {}
    };
    let _ = timeout(LINGER, drain).await;
}

/// What a client will hold against the certificate: that it is not its time, or that a host is not covered.
pub fn faults(files: &Files, hosts: &[String]) -> Vec<String> {
    let Some(path) = &files.cert else { return Vec::new() };
    let Ok(certs) = read_certs(path) else { return Vec::new() };
    let mut faults = Vec::new();
    if let Some(fault) = names::Validity::of(&certs[0])
        .ok()
        .and_then(|validity| validity.fault())
    {
        faults.push(format!("the certificate {} {fault}", path.display()));
    }
    if let Ok(names) = names::Names::of(&certs[0]) {
        for host in hosts.iter().filter(|host| !names.covers(host)) {
            faults.push(format!(
                "the certificate {} does not cover {host}, which is advertised, only {names}; who verifies it cannot connect",
                path.display()
            ));
        }
    }
    faults
}
