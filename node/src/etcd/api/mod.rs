//! The client's API: which path is whose.
pub mod auth;
pub mod backup;
pub mod json;
pub mod keys;
pub mod machines;
pub mod members;
pub mod metrics;
pub mod stats;
pub mod system;
pub mod v04;
pub mod watch;

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::http::conn::{Handler, Next, Taken};
use super::http::reply::JSON;
use super::http::{Reply, Request, path};
use super::server::Server;

/// What takes a connection over.
pub enum Handed {
    Watch(watch::Watch),
    Backup(backup::Backup),
}

impl Handed {
    /// Goes on with the answer. Returns the connection when it can serve more requests.
    pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(taken: Taken<S, Handed>) -> io::Result<Option<(S, BytesMut)>> {
        match taken.split() {
            (Handed::Watch(watch), rest) => watch::run(rest.with(watch)).await,
            (Handed::Backup(backup), rest) => backup::run(rest.with(backup)).await,
        }
    }
}

/// Answers clients' requests.
pub struct Api(pub Arc<Server>);

impl Handler for Api {
    type Handed = Handed;

    async fn handle(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Next<Handed> {
        let server = &self.0;
        if let Some(origin) = request.header("Origin").filter(|origin| server.cors_allows(origin)) {
            reply.cors(origin);
        }
        if request.method == "OPTIONS" {
            reply.start(200).body(b"");
            return Next::Answered;
        }
        let (raw_path, query) = request.split_target();
        let Some(path) = path::unescape(raw_path) else {
            reply.error(400, "400 Bad Request");
            return Next::Answered;
        };
        if request.method != "CONNECT"
            && let Some(clean) = path::cleaned(&path)
        {
            redirect(request, &mut reply, &clean, query);
            return Next::Answered;
        }
        route(server, request, reply, &path).await
    }
}

async fn route(server: &Arc<Server>, request: &Request<'_>, mut reply: Reply<'_>, path: &[u8]) -> Next<Handed> {
    if let Some(key) = below(path, b"/v2/keys") {
        return keys::handle(server, request, reply, key).await;
    }
    if let Some(rest) = below(path, b"/v2/members") {
        members::handle(server, request, &mut reply, rest).await;
        return Next::Answered;
    }
    if let Some(rest) = below(path, b"/v2/auth") {
        auth::handle(server, request, &mut reply, rest).await;
        return Next::Answered;
    }
    if path == b"/v2/backup" {
        return backup::handle(server, request, reply).await;
    }
    match path {
        b"/v2/machines" => machines::handle(server, request, &mut reply),
        b"/v2/stats/self" => stats::own(server, request, &mut reply),
        b"/v2/stats/store" => stats::store(server, request, &mut reply),
        b"/v2/stats/leader" => stats::leader(server, request, &mut reply),
        b"/version" => system::version(server, request, &mut reply),
        b"/health" => system::health(server, request, &mut reply).await,
        b"/config/local/log" => system::log_level(request, &mut reply),
        b"/metrics" => metrics::handle(server, request, &mut reply),
        _ if server.config.v04 && v04::client(server, request, &mut reply, path) => {}
        _ => reply.not_found(),
    }
    Next::Answered
}

/// What follows a prefix that a path is, or is below of.
pub fn below<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest[0] == b'/')
}

/// True when the method is one of those; otherwise the client is told which are.
pub fn allow(request: &Request<'_>, reply: &mut Reply<'_>, methods: &str) -> bool {
    let allowed = methods.split(',').any(|method| method == request.method);
    if !allowed {
        reply.method_not_allowed(methods);
    }
    allowed
}

/// Answers with etcd's `{"message":...}`. `cluster`: the cluster's id, where etcd tells it.
pub fn refuse(reply: &mut Reply<'_>, status: u16, cluster: Option<&str>, message: &str) {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        message: &'a str,
    }
    reply.start(status).header("Content-Type", JSON);
    if let Some(cluster) = cluster {
        reply.header("X-Etcd-Cluster-Id", cluster);
    }
    reply.body(&json::marshal(&Body { message }));
}

/// The answer to a request that only root may make, and that is not root's.
pub fn no_auth(reply: &mut Reply<'_>) {
    refuse(reply, 401, None, "Insufficient credentials");
}

/// Sends the client to the clean form of its path.
pub fn redirect(request: &Request<'_>, reply: &mut Reply<'_>, clean: &[u8], query: &str) {
    let mut location = path::escape(clean);
    if !query.is_empty() {
        location.push('?');
        location.push_str(query);
    }
    reply.start(301);
    if matches!(request.method, "GET" | "HEAD") {
        reply
            .header("Content-Type", "text/html; charset=utf-8")
            .header("Location", &location);
        reply.body(
            format!(
                "<a href=\"{}\">Moved Permanently</a>.\n\n",
                path::escape_html(&location)
            )
            .as_bytes(),
        );
    } else {
        reply.header("Location", &location).body(b"");
    }
}
