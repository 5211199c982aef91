//! Watches: the head of the answer at once, events as they happen, in chunks.
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use super::Handed;
use super::keys::{self, PREFIX};
use crate::etcd::http::Reply;
use crate::etcd::http::conn::{Next, Taken};
use crate::etcd::http::reply::JSON;
use crate::etcd::server::Server;
use crate::kv::{Event, Sink, WatchId};

/// Events that may wait for a slow client. Beyond them it is stalled, and its connection is closed: it then knows
/// that it must ask again.
const QUEUE: usize = 10_000;
/// What a client may send ahead behind a watch that has not answered.
const MAX_AHEAD: usize = 64 << 10;

/// A watch whose head has been sent.
pub struct Watch {
    server: Arc<Server>,
    id: Option<WatchId>,
    events: mpsc::Receiver<Arc<Event>>,
    dropped: Arc<Notify>,
    stream: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.server.member.state.store.lock().unwrap().unwatch(id);
        }
    }
}

/// The store's end of a watch.
struct Queue {
    events: mpsc::Sender<Arc<Event>>,
    dropped: Arc<Notify>,
}

impl Sink for Queue {
    fn send(&mut self, event: &Arc<Event>) -> bool {
        self.events.try_send(event.clone()).is_ok()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.dropped.notify_one();
    }
}

pub fn open(
    server: &Arc<Server>,
    mut reply: Reply<'_>,
    path: &[u8],
    recursive: bool,
    stream: bool,
    since: u64,
) -> Next<Handed> {
    let state = &server.member.state;
    let (sender, events) = mpsc::channel(QUEUE);
    let dropped = Arc::new(Notify::new());
    let queue = Queue {
        events: sender,
        dropped: dropped.clone(),
    };
    let (watch, index) = {
        let mut store = state.store.lock().unwrap();
        (
            store.watch(path, recursive, stream, since, Box::new(queue)),
            store.index(),
        )
    };
    server.metrics.watch_opened();
    match watch {
        Ok(id) => {
            let applied = *state.applied.borrow();
            reply
                .start(200)
                .header("Content-Type", JSON)
                .header("X-Etcd-Cluster-Id", &server.cluster_hex);
            reply
                .number("X-Etcd-Index", index)
                .number("X-Raft-Index", applied.index)
                .number("X-Raft-Term", applied.term);
            reply.stream();
            Next::Handed(Handed::Watch(Watch {
                server: server.clone(),
                id,
                events,
                dropped,
                stream,
            }))
        }
        Err(error) => keys::refuse(server, reply, &error),
    }
}

/// Hands events on until the watch or the client ends. Returns the connection when it can serve more requests.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(taken: Taken<S, Watch>) -> io::Result<Option<(S, BytesMut)>> {
    let Taken {
        mut stream,
        mut buffered,
        chunked,
        keep,
        handed: mut watch,
    } = taken;
    let mut ahead = [0; 1024];
    let mut out = Vec::new();
    loop {
        tokio::select! {
            biased;
            event = watch.events.recv() => {
                // The store let go of a stream: it was stalled, or the history has a gap.
                let Some(event) = event else { return Ok(None) };
                put_event(&mut out, &event, chunked);
                while watch.stream && out.len() < MAX_AHEAD && let Ok(event) = watch.events.try_recv() {
                    put_event(&mut out, &event, chunked);
                }
                if !watch.stream {
                    if chunked {
                        out.extend_from_slice(b"0\r\n\r\n");
                    }
                    send(&mut stream, &out).await?;
                    return Ok(if chunked && keep { Some((stream, buffered)) } else { stream.shutdown().await?; None });
                }
                tokio::select! {
                    written = send(&mut stream, &out) => written?,
                    () = watch.dropped.notified() => return Ok(None),
                }
                out.clear();
            }
            read = stream.read(&mut ahead) => {
                let read = read?;
                if read == 0 || buffered.len() + read > MAX_AHEAD {
                    return Ok(None);
                }
                buffered.extend_from_slice(&ahead[..read]);
            }
        }
    }
}

/// To the client, and not only into what TLS collects.
async fn send<S: AsyncWrite + Unpin>(stream: &mut S, out: &[u8]) -> io::Result<()> {
    stream.write_all(out).await?;
    stream.flush().await
}

fn put_event(out: &mut Vec<u8>, event: &Event, chunked: bool) {
    put_chunk(out, &event.json(PREFIX.len()), chunked);
}

/// A piece of an answer that goes on.
pub fn put_chunk(out: &mut Vec<u8>, piece: &[u8], chunked: bool) {
    if chunked {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
    }
    out.extend_from_slice(piece);
    if chunked {
        out.extend_from_slice(b"\r\n");
    }
}
