//! GET /v2/backup: everything this member has applied, as a snapshot file (`raft/snapshot.rs`), while writes go on.
//! What was acknowledged before the request is in it.
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::watch::put_chunk;
use super::{Handed, allow, no_auth, refuse};
use crate::etcd::auth::access;
use crate::etcd::http::conn::{Next, Taken};
use crate::etcd::http::{Reply, Request};
use crate::etcd::server::Server;
use crate::raft::disk::File;

const CHUNK: usize = 64 << 10;

/// A copy on its way to a client. The file has no name any more: it is gone when this is.
pub struct Backup(Arc<dyn File>);

/// Root's alone, where there are users: it holds all keys and the users' password hashes.
pub async fn handle(server: &Server, request: &Request<'_>, mut reply: Reply<'_>) -> Next<Handed> {
    if !allow(request, &mut reply, "GET") {
        return Next::Answered;
    }
    if !access::is_root(server, request).await {
        no_auth(&mut reply);
        return Next::Answered;
    }
    match server.member.backup().await {
        Ok(file) => {
            reply
                .start(200)
                .header("Content-Type", "application/octet-stream")
                .header("X-Etcd-Cluster-Id", &server.cluster_hex)
                .stream();
            Next::Handed(Handed::Backup(Backup(file)))
        }
        Err(error) => {
            crate::log::error!("etcdhttp", "cannot make a backup: {error}");
            let message = format!("cannot make a backup: {error}");
            refuse(&mut reply, 500, Some(&server.cluster_hex), &message);
            Next::Answered
        }
    }
}

/// Sends the copy. Returns the connection when it can serve more requests.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(taken: Taken<S, Backup>) -> io::Result<Option<(S, BytesMut)>> {
    let Taken {
        mut stream,
        buffered,
        chunked,
        keep,
        handed: Backup(file),
    } = taken;
    let (size, mut offset) = (file.size()?, 0);
    let (mut piece, mut out) = (vec![0; CHUNK], Vec::with_capacity(CHUNK + 16));
    while offset < size {
        let len = CHUNK.min((size - offset) as usize);
        file.read_at(&mut piece[..len], offset)?;
        put_chunk(&mut out, &piece[..len], chunked);
        stream.write_all(&out).await?;
        out.clear();
        offset += len as u64;
    }
    if !chunked {
        stream.shutdown().await?;
        return Ok(None);
    }
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(keep.then_some((stream, buffered)))
}
