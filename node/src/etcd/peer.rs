//! The peer URL's API: who the members are, and the way to their messages.
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::api::{system, v04};
use super::cluster::{self, MemberInfo};
use super::http::conn::{Handler, Next, Taken};
use super::http::reply::JSON;
use super::http::{Reply, Request};
use super::server::Server;
use crate::log;
use crate::raft::peer::PROTOCOL;

/// How long a member that was removed may go on talking to us.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Answers other members.
pub struct PeerApi(pub Arc<Server>);

/// A connection that has left HTTP, and the member at its other end.
pub struct Upgraded {
    from: u64,
}

impl Handler for PeerApi {
    type Handed = Upgraded;

    async fn handle(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Next<Upgraded> {
        let server = &self.0;
        match request.split_target().0 {
            "/members" if super::api::allow(request, &mut reply, "GET") => {
                let members = members(server);
                let body = serde_json::to_vec(&members).unwrap_or_default();
                reply
                    .start(200)
                    .header("Content-Type", JSON)
                    .header("X-Etcd-Cluster-Id", &server.cluster_hex)
                    .body(&body);
            }
            "/members" => {}
            "/version" => system::version(server, request, &mut reply),
            "/raft/probing" => reply.start(200).header("Content-Type", JSON).body(b"{\"OK\":true}"),
            "/raft/stream" => return self.upgrade(request, reply),
            path if server.config.v04 && v04::peer(server, request, &mut reply, path) => {}
            _ => reply.not_found(),
        }
        Next::Answered
    }
}

/// As etcd has it, a cluster's first members are known from the start; here they are in the store only once a quorum
/// of them has come.
fn members(server: &Server) -> Vec<MemberInfo> {
    let members = cluster::members(&server.member.state.store.lock().unwrap());
    if !members.is_empty() {
        return members;
    }
    let membership = server.member.membership();
    let known = membership.membership().nodes().map(|(id, peer)| MemberInfo {
        id: *id,
        peer_urls: peer.peer_urls.clone(),
        ..MemberInfo::default()
    });
    known.collect()
}

impl PeerApi {
    fn upgrade(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Next<Upgraded> {
        let server = &self.0;
        let id = |name: &str| request.header(name).and_then(|text| u64::from_str_radix(text, 16).ok());
        let (from, to, cluster_id) = (id("X-Server-From"), id("X-Raft-To"), id("X-Etcd-Cluster-ID"));
        let known = request.header("Upgrade").is_some_and(|protocol| protocol == PROTOCOL);
        let (Some(from), Some(to), Some(cluster_id), true) = (from, to, cluster_id, known) else {
            reply.error(400, &format!("this endpoint speaks {PROTOCOL} between members"));
            return Next::Answered;
        };
        if cluster_id != server.cluster_id {
            log::error!(
                "rafthttp",
                "request cluster ID mismatch (got {cluster_id:x} want {:x})",
                server.cluster_id
            );
            reply.error(412, "request cluster ID mismatch");
            return Next::Answered;
        }
        if cluster::is_removed(&server.member.state.store.lock().unwrap(), from) {
            log::warning!(
                "rafthttp",
                "rejected the stream from peer {from:x} since it was removed"
            );
            reply.error(410, "the member has been permanently removed from the cluster");
            return Next::Answered;
        }
        // Who is not on our list may have been added since, and lead us: the list of a member that was away is old. It is
        // the cluster's id and those removed that tell who has no business here.
        if to != server.member.id {
            log::error!(
                "rafthttp",
                "rejected the stream from peer {from:x} to {to:x}: that is another member"
            );
            reply.error(412, "no such member");
            return Next::Answered;
        }
        reply.start(101).switch(PROTOCOL);
        Next::Handed(Upgraded { from })
    }
}

pub async fn run<S: AsyncRead + AsyncWrite>(taken: Taken<S, Upgraded>, server: Arc<Server>) {
    let (read, write) = tokio::io::split(taken.stream);
    let handle = |message| {
        let member = server.member.clone();
        async move { member.handle(message).await }
    };
    let Upgraded { from } = taken.handed;
    tokio::select! {
        () = crate::raft::peer::serve(read, write, taken.buffered, handle) => {}
        // It learns why when it connects again.
        () = is_removed(&server, from) => {}
    }
}

/// Returns when the cluster has removed this member.
async fn is_removed(server: &Server, id: u64) {
    let mut news = server.member.news();
    while !cluster::is_removed(&server.member.state.store.lock().unwrap(), id) {
        // News of a change come when it is in the log, which is before it is applied.
        if let Ok(false) = tokio::time::timeout(LOOK_AGAIN, news.changed()).await {
            std::future::pending::<()>().await;
        }
    }
}
