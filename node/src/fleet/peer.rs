//! Machines among themselves: a listener that only they can use, and the asking side.
//!
//! Each machine makes a certificate and a token when it starts, and writes both with its address into the registry
//! (`machines/ID/peer`). Who asks believes only that certificate, and shows that token. Both are open to whoever reads
//! the registry, and to nobody else: who can write there starts any unit as root anyway.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::BytesMut;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::api::values;
use super::mirror::PeerAddress;
use super::promise::Promises;
use super::tail::{self, Question, Tail};
use crate::client;
use crate::etcd::http::conn::{self, Handler, Next};
use crate::etcd::http::path::unescape;
use crate::etcd::http::{Reply, Request};
use crate::log;
use crate::tls;
use crate::unit::name;

const LOG: &str = "peer";
/// A handshake has this long.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// And an answer this long to begin.
const ANSWER: Duration = Duration::from_secs(10);

/// The listening side.
pub struct Listener {
    socket: TcpListener,
    acceptor: TlsAcceptor,
    /// What the others have to know; its address may lack the host.
    pub own: PeerAddress,
}

impl Listener {
    /// Listens at this address with a certificate that is made now.
    pub fn bind(address: SocketAddr) -> Result<Listener, String> {
        let told = |error: &dyn std::fmt::Display| format!("cannot listen at {address} for other machines: {error}");
        let socket = std::net::TcpListener::bind(address).map_err(|error| told(&error))?;
        socket.set_nonblocking(true).map_err(|error| told(&error))?;
        let bound = socket.local_addr().map_err(|error| told(&error))?;
        let made = rcgen::generate_simple_self_signed(vec!["fleet".to_string()]).map_err(|error| told(&error))?;
        let certificate = made.cert.der().to_vec();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| told(&error))?
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(certificate.clone())], key)
            .map_err(|error| told(&error))?;
        Ok(Listener {
            socket: TcpListener::from_std(socket).map_err(|error| told(&error))?,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            own: PeerAddress {
                address: bound.to_string(),
                certificate: BASE64.encode(certificate),
                token: format!("{:032x}", rand::random::<u128>()),
            },
        })
    }

    /// Serves until it is dropped.
    pub async fn serve(self, promises: Arc<Promises>) {
        let answers = Arc::new(Answers {
            token: format!("Bearer {}", self.own.token),
            promises,
        });
        let mut connections = JoinSet::new();
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, self.acceptor.clone(), answers.clone()));
                }
                Err(error) => {
                    log::error!(LOG, "accept error: {error}");
                    sleep(Duration::from_millis(50)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, answers: Arc<Answers>) {
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        return;
    };
    let served = match conn::serve(stream, BytesMut::new(), &*answers).await {
        Ok(Some(taken)) => tail::pass(taken).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        log::debug!(LOG, "a connection broke: {error}");
    }
}

/// Compares without telling by its time how much of it is right.
fn same(shown: &str, token: &str) -> bool {
    let differences = shown
        .bytes()
        .zip(token.bytes())
        .fold(0, |found, (a, b)| found | (a ^ b));
    shown.len() == token.len() && differences == 0
}

struct Answers {
    token: String,
    promises: Arc<Promises>,
}

impl Handler for Answers {
    type Handed = Tail;

    async fn handle(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Next<Tail> {
        let shown = request
            .header("Authorization")
            .is_some_and(|shown| same(shown, &self.token));
        if !shown {
            reply.error(401, "this is for the other machines of the cluster");
            return Next::Answered;
        }
        let (path, query) = request.split_target();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method, &parts[..]) {
            ("POST", ["promise", machine]) => {
                let given = self.promises.give(machine);
                reply.start(if given { 200 } else { 409 }).body(b"");
                Next::Answered
            }
            ("GET", ["units", unit, resource]) => {
                let unit = unescape(unit).and_then(|unit| String::from_utf8(unit).ok());
                let unit = unit.filter(|unit| name::validate(unit).is_ok());
                let question = Question::read(resource, |field| values(query, field).into_iter().next());
                match (unit, question) {
                    (Some(unit), Some(Ok(question))) => begin(reply, tail::here(&unit, &question)),
                    _ => {
                        reply.not_found();
                        Next::Answered
                    }
                }
            }
            _ => {
                reply.not_found();
                Next::Answered
            }
        }
    }
}

/// Begins to answer with what a machine says.
pub fn begin(mut reply: Reply<'_>, tail: std::io::Result<Tail>) -> Next<Tail> {
    match tail {
        Ok(tail) => {
            reply
                .start(200)
                .header("Content-Type", "text/plain; charset=utf-8")
                .header("Connection", "close")
                .stream();
            Next::Handed(tail)
        }
        Err(error) => {
            reply.error(500, &format!("cannot ask systemd: {error}"));
            Next::Answered
        }
    }
}

/// The asking side.
pub struct Peers {
    id: String,
    /// By certificate: a machine that has begun anew has another.
    clients: Mutex<HashMap<String, reqwest::Client>>,
}

impl Peers {
    pub fn new(id: &str) -> Peers {
        Peers {
            id: id.into(),
            clients: Mutex::default(),
        }
    }

    fn client(&self, peer: &PeerAddress) -> Result<reqwest::Client, String> {
        let mut clients = self.clients.lock().unwrap_or_else(|broken| broken.into_inner());
        if let Some(client) = clients.get(&peer.certificate) {
            return Ok(client.clone());
        }
        let certificate = BASE64.decode(&peer.certificate);
        let certificate = certificate.map_err(|_| "its certificate in the registry is no base64".to_string())?;
        let client = client::http_over(tls::client::pinned(certificate)?)?;
        // Those of machines that have gone are not kept for ever.
        if clients.len() > 1000 {
            clients.clear();
        }
        clients.insert(peer.certificate.clone(), client.clone());
        Ok(client)
    }

    async fn send(&self, method: reqwest::Method, peer: &PeerAddress, path: &str) -> Result<reqwest::Response, String> {
        let url = format!("https://{}{path}", peer.address);
        let request = self.client(peer)?.request(method, url).bearer_auth(&peer.token);
        match timeout(ANSWER, request.send()).await {
            Ok(answer) => answer.map_err(|error| client::reason(&error)),
            Err(_) => Err(format!("{} does not answer within {ANSWER:?}", peer.address)),
        }
    }

    /// Asks a machine to leave our units alone.
    pub async fn promise(&self, peer: &PeerAddress) -> Result<bool, String> {
        let path = format!("/promise/{}", self.id);
        let answer = self.send(reqwest::Method::POST, peer, &path).await?;
        Ok(answer.status() == reqwest::StatusCode::OK)
    }

    /// Asks a machine about a unit of its.
    pub async fn ask(&self, peer: &PeerAddress, unit: &str, question: &Question) -> Result<Tail, String> {
        let answer = self.send(reqwest::Method::GET, peer, &question.path(unit)).await?;
        match answer.status() {
            reqwest::StatusCode::OK => Ok(Tail::There(answer)),
            status => Err(format!("{} answers {status}", peer.address)),
        }
    }
}
