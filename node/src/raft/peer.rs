//! Messages between members over TCP.
//!
//! A member connects to another's peer URL and asks to leave HTTP:
//! ```text
//! POST /raft/stream HTTP/1.1 | Connection: Upgrade | Upgrade: corelab-raft/1
//! X-Server-From: <member> | X-Raft-To: <member> | X-Etcd-Cluster-ID: <cluster>        (ids in hexadecimal)
//! ```
//! After the answer 101 both sides send frames: len u32 | id u64 | message, little-endian, `len` counts the message.
//! An answer carries the id of its request.
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::rpc::{Class, Transport};
use super::types::Peer;
use crate::tls::connect::{Connector, Fault, Link, explain};

pub const PROTOCOL: &str = "corelab-raft/1";
const MAX_FRAME: u32 = 1 << 30;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const FRAME_HEADER: usize = 12;

/// Told when a member refuses us for good, and why.
type OnRefusal = Box<dyn Fn(u64, &Refusal) + Send + Sync>;
type Call = (Bytes, oneshot::Sender<io::Result<Bytes>>);

/// One connection to every member and class of requests, made when it is first needed and again when it broke.
pub struct TcpTransport {
    member_id: u64,
    cluster_id: u64,
    connector: Arc<Connector>,
    connections: Mutex<HashMap<(u64, Class), Connection>>,
    /// By member, why it could not be connected to last time: said in the log when it changes.
    faults: Arc<Mutex<HashMap<u64, String>>>,
    refused: OnRefusal,
}

#[derive(Clone)]
struct Connection {
    peer: Peer,
    calls: mpsc::Sender<Call>,
}

/// Why a member would not talk to us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("request cluster ID mismatch")]
    OtherCluster,
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    #[error("{0}")]
    Other(String),
}

impl TcpTransport {
    pub fn new(
        member_id: u64,
        cluster_id: u64,
        connector: Connector,
        refused: impl Fn(u64, &Refusal) + Send + Sync + 'static,
    ) -> TcpTransport {
        TcpTransport {
            member_id,
            cluster_id,
            connector: Arc::new(connector),
            connections: Mutex::default(),
            faults: Arc::default(),
            refused: Box::new(refused),
        }
    }

    /// The connection in use, or the way to a new one.
    fn connection(&self, to: u64, peer: &Peer, class: Class) -> mpsc::Sender<Call> {
        let mut connections = self.connections.lock().unwrap();
        if let Some(connection) = connections.get(&(to, class))
            && !connection.calls.is_closed()
            && connection.peer == *peer
        {
            return connection.calls.clone();
        }
        let (calls, queue) = mpsc::channel(1024);
        connections.insert(
            (to, class),
            Connection {
                peer: peer.clone(),
                calls: calls.clone(),
            },
        );
        let greeting = (self.member_id, to, self.cluster_id);
        let (connector, peer, faults) = (self.connector.clone(), peer.clone(), self.faults.clone());
        tokio::spawn(async move {
            let result = connect(&connector, &peer, greeting).await;
            note(&faults, to, result.as_ref().err());
            match result {
                Ok(Link::Plain(stream)) => {
                    let (read, write) = stream.into_split();
                    serve_calls(read, write, queue).await;
                }
                Ok(Link::Tls(stream)) => {
                    let (read, write) = tokio::io::split(stream);
                    serve_calls(read, write, queue).await;
                }
                Err(error) => fail_calls(&error, queue),
            }
        });
        calls
    }
}

impl Transport for TcpTransport {
    fn call(
        &self,
        to: u64,
        peer: &Peer,
        class: Class,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send + '_>> {
        let calls = self.connection(to, peer, class);
        Box::pin(async move {
            let (answer, wait) = oneshot::channel();
            let closed = || io::Error::new(io::ErrorKind::ConnectionReset, "the connection to the member broke");
            calls.send((request, answer)).await.map_err(|_| closed())?;
            let result = wait.await.map_err(|_| closed())?;
            if let Err(error) = &result
                && let Some(refusal) = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>())
            {
                (self.refused)(to, refusal);
            }
            result
        })
    }
}

fn fail_calls(error: &io::Error, mut queue: mpsc::Receiver<Call>) {
    queue.close();
    while let Ok((_, answer)) = queue.try_recv() {
        let _ = answer.send(Err(copy(error)));
    }
}

/// Logs why a member cannot be reached when it is certificates and not said yet: those do not mend by themselves.
fn note(faults: &Mutex<HashMap<u64, String>>, to: u64, error: Option<&io::Error>) {
    let mut faults = faults.lock().unwrap();
    match error {
        None => drop(faults.remove(&to)),
        Some(error) if is_about_tls(error) => {
            let text = error.to_string();
            if faults.get(&to) != Some(&text) {
                crate::log::error!("rafthttp", "cannot connect to member {to:x}: {text}");
                faults.insert(to, text);
            }
        }
        Some(_) => {}
    }
}

fn is_about_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Fault>())
}

/// Owns one connection: sends what is asked, hands answers to who asked, ends at the first fault.
async fn serve_calls<R, W>(read: R, mut write: W, mut queue: mpsc::Receiver<Call>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<io::Result<Bytes>>>>> = Arc::default();
    let answers = async {
        let mut frames = Frames::new(read);
        while let Ok(Some((id, message))) = frames.next().await {
            if let Some(answer) = waiting.lock().unwrap().remove(&id) {
                let _ = answer.send(Ok(message));
            }
        }
    };
    let requests = async {
        let mut id = 0;
        let mut out = Vec::new();
        while let Some(call) = queue.recv().await {
            let mut next = Some(call);
            while let Some((request, answer)) = next {
                // Nobody waits for it any more: a timeout took it back.
                if !answer.is_closed() {
                    id += 1;
                    waiting.lock().unwrap().insert(id, answer);
                    put_frame(&mut out, id, &request);
                }
                next = queue.try_recv().ok();
            }
            // Over TLS, what is written may wait to be sent until it is flushed.
            if write.write_all(&out).await.is_err() || write.flush().await.is_err() {
                return;
            }
            out.clear();
            out.shrink_to(1 << 20);
        }
    };
    tokio::select! {
        () = answers => {}
        () = requests => {}
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        Some(refusal) => io::Error::new(error.kind(), refusal.clone()),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

async fn connect(connector: &Connector, peer: &Peer, greeting: (u64, u64, u64)) -> io::Result<Link> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the member has no peer URL");
    for url in &peer.peer_urls {
        match tokio::time::timeout(CONNECT_TIMEOUT, connect_to(connector, url, greeting)).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => last = explain(url, error),
            Err(_) => {
                last = io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection to {url} within {CONNECT_TIMEOUT:?}"),
                )
            }
        }
    }
    Err(last)
}

async fn connect_to(connector: &Connector, url: &str, greeting: (u64, u64, u64)) -> io::Result<Link> {
    let mut link = connector.connect(url).await?;
    match &mut link {
        Link::Plain(stream) => greet(stream, url, greeting).await?,
        Link::Tls(stream) => greet(stream, url, greeting).await?,
    }
    Ok(link)
}

/// Asks the server behind a connection to leave HTTP.
async fn greet<S>(stream: &mut S, url: &str, (from, to, cluster): (u64, u64, u64)) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    let address = address.trim_end_matches('/');
    let greeting = format!(
        "POST /raft/stream HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\nContent-Length: 0\r\n\
         X-Server-From: {from:x}\r\nX-Raft-To: {to:x}\r\nX-Etcd-Cluster-ID: {cluster:x}\r\n\r\n"
    );
    stream.write_all(greeting.as_bytes()).await?;
    stream.flush().await?;
    // The other side says nothing after its answer before we do, so nothing behind the head is lost.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 4096 {
            return Err(io::Error::other(format!("{url} is not a member")));
        }
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    match head.split(' ').nth(1) {
        Some("101") => Ok(()),
        Some("412") => Err(io::Error::other(Refusal::OtherCluster)),
        // One that waits for others is about to take part: to be asked again, as one that is about to listen.
        Some("503") => Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            format!("{url} does not take part yet"),
        )),
        Some("410") => Err(io::Error::other(Refusal::Removed)),
        _ => Err(io::Error::other(Refusal::Other(format!(
            "{url} answered {:?}",
            head.lines().next().unwrap_or_default()
        )))),
    }
}

/// Answers another member's frames until its connection ends. `buffered` is what was read behind its greeting.
pub async fn serve<R, W, F>(read: R, mut write: W, buffered: BytesMut, handle: impl Fn(Bytes) -> F)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    F: Future<Output = Bytes> + Send + 'static,
{
    let (answer, mut answers) = mpsc::channel::<(u64, Bytes)>(1024);
    let requests = async {
        let mut frames = Frames { read, buffer: buffered };
        while let Ok(Some((id, message))) = frames.next().await {
            let (answer, work) = (answer.clone(), handle(message));
            tokio::spawn(async move {
                let _ = answer.send((id, work.await)).await;
            });
        }
    };
    let replies = async {
        let mut out = Vec::new();
        while let Some(first) = answers.recv().await {
            let mut next = Some(first);
            while let Some((id, message)) = next {
                put_frame(&mut out, id, &message);
                next = answers.try_recv().ok();
            }
            // Over TLS, what is written may wait to be sent until it is flushed.
            if write.write_all(&out).await.is_err() || write.flush().await.is_err() {
                return;
            }
            out.clear();
        }
    };
    tokio::select! {
        () = requests => {}
        () = replies => {}
    }
}

fn put_frame(out: &mut Vec<u8>, id: u64, message: &[u8]) {
    out.put_u32_le(message.len() as u32);
    out.put_u64_le(id);
    out.extend_from_slice(message);
}

struct Frames<R> {
    read: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    fn new(read: R) -> Frames<R> {
        Frames {
            read,
            buffer: BytesMut::with_capacity(64 << 10),
        }
    }

    async fn next(&mut self) -> io::Result<Option<(u64, Bytes)>> {
        while self.buffer.len() < FRAME_HEADER {
            if self.fill(64 << 10).await? == 0 {
                return Ok(None);
            }
        }
        let len = u32::from_le_bytes([self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]]);
        if len > MAX_FRAME {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a frame longer than any message",
            ));
        }
        let end = FRAME_HEADER + len as usize;
        while self.buffer.len() < end {
            // Grows with what arrives: a length alone reserves nothing.
            let missing = (end - self.buffer.len()).min(1 << 20);
            if self.fill(missing).await? == 0 {
                return Ok(None);
            }
        }
        let mut frame = self.buffer.split_to(end);
        frame.advance(4);
        let id = frame.get_u64_le();
        Ok(Some((id, frame.freeze())))
    }

    async fn fill(&mut self, room: usize) -> io::Result<usize> {
        self.buffer.reserve(room);
        self.read.read_buf(&mut self.buffer).await
    }
}
