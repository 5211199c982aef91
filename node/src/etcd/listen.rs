//! Sockets: listening on the configured URLs, and a task for each connection.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::api::{Api, Handed};
use super::bootstrap::resolve;
use super::http::conn;
use super::peer::{self, PeerApi};
use super::server::Server;
use super::urls::{Scheme, Url};
use crate::log;
use crate::tls::server::Acceptor;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long to leave it when accepting fails, as when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(50);

/// An address taken, at which nobody is let in yet: who connects is refused rather than kept waiting.
pub struct Bound {
    socket: socket2::Socket,
    pub address: SocketAddr,
    pub https: bool,
}

impl Bound {
    /// Lets in who connects before the server runs. What is not accepted when this listener is dropped waits for the
    /// server.
    pub fn listen_for_now(&self) -> io::Result<TcpListener> {
        let listen = || {
            self.socket.listen(BACKLOG)?;
            TcpListener::from_std(self.socket.try_clone()?.into())
        };
        listen().map_err(|error| explain(self.address, error))
    }

    pub fn listen(self) -> io::Result<TcpListener> {
        let listen = || {
            self.socket.listen(BACKLOG)?;
            TcpListener::from_std(self.socket.into())
        };
        listen().map_err(|error| explain(self.address, error))
    }
}

pub fn bind(url: &Url) -> io::Result<Bound> {
    let unknown = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("listen tcp: lookup {}: no such host", url.host),
        )
    };
    let address = SocketAddr::new(resolve(&url.host).ok_or_else(unknown)?, url.port);
    let bind = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if address.ip().is_unspecified() && address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let socket = bind().map_err(|error| explain(address, error))?;
    Ok(Bound {
        socket,
        address,
        https: url.scheme == Scheme::Https,
    })
}

fn explain(address: SocketAddr, error: io::Error) -> io::Error {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => "bind: address already in use".to_string(),
        io::ErrorKind::AddrNotAvailable => "bind: cannot assign requested address".to_string(),
        io::ErrorKind::PermissionDenied => "bind: permission denied".to_string(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("listen tcp {address}: {what}"))
}

/// Serves clients, over TLS when there is an acceptor: then each handshake has a task of its own.
pub async fn serve_clients(listener: TcpListener, tls: Option<Arc<Acceptor>>, server: Arc<Server>) {
    match tls {
        None => accept(listener, |stream| serve_client(stream, server.clone())).await,
        Some(tls) => {
            accept(listener, |stream| {
                let (tls, server) = (tls.clone(), server.clone());
                async move {
                    if let Some(stream) = tls.accept(stream).await {
                        serve_client(stream, server).await;
                    }
                }
            })
            .await;
        }
    }
}

pub async fn serve_peers(listener: TcpListener, tls: Option<Arc<Acceptor>>, server: Arc<Server>) {
    match tls {
        None => accept(listener, |stream| serve_peer(stream, server.clone())).await,
        Some(tls) => {
            accept(listener, |stream| {
                let (tls, server) = (tls.clone(), server.clone());
                async move {
                    if let Some(stream) = tls.accept(stream).await {
                        serve_peer(stream, server).await;
                    }
                }
            })
            .await;
        }
    }
}

async fn serve_client<S: AsyncRead + AsyncWrite + Unpin>(stream: S, server: Arc<Server>) {
    let api = Api(server);
    let mut next = Some((stream, BytesMut::new()));
    while let Some((stream, buffered)) = next {
        next = match conn::serve(stream, buffered, &api).await {
            Ok(Some(taken)) => Handed::run(taken).await.unwrap_or(None),
            _ => None,
        };
    }
}

async fn serve_peer<S: AsyncRead + AsyncWrite + Unpin>(stream: S, server: Arc<Server>) {
    let api = PeerApi(server);
    if let Ok(Some(taken)) = conn::serve(stream, BytesMut::new(), &api).await {
        peer::run(taken, api.0).await;
    }
}

/// A task for each connection.
pub async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream));
            }
            Err(error) => {
                log::error!("etcdmain", "accept error: {error}; retrying in {PAUSE:?}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
