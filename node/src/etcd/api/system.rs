//! /version, /health and /config/local/log.
use super::allow;
use crate::etcd::cluster;
use crate::etcd::config::VERSION;
use crate::etcd::http::reply::{JSON, TEXT};
use crate::etcd::http::{Reply, Request};
use crate::etcd::server::Server;
use crate::log::{self, Level};

pub fn version(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "GET") {
        return;
    }
    let agreed = cluster::version(&server.member.state.store.lock().unwrap()).unwrap_or_else(|| "not_decided".into());
    let body = serde_json::json!({ "etcdserver": VERSION, "etcdcluster": agreed });
    // In etcd's order, which is not the alphabet's.
    let body = format!(
        "{{\"etcdserver\":{},\"etcdcluster\":{}}}",
        body["etcdserver"], body["etcdcluster"]
    );
    reply.start(200).header("Content-Type", JSON).body(body.as_bytes());
}

/// Healthy is a member that can answer a read with a quorum behind it, now.
pub async fn health(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "GET") {
        return;
    }
    let patience = std::time::Duration::from_secs(1);
    let healthy = server.member.leader().is_some()
        && matches!(
            tokio::time::timeout(patience, server.member.read_index()).await,
            Ok(Ok(()))
        );
    reply
        .start(if healthy { 200 } else { 503 })
        .header("Content-Type", TEXT);
    reply.body(if healthy {
        b"{\"health\": \"true\"}"
    } else {
        b"{\"health\": \"false\"}"
    });
}

pub fn log_level(request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "PUT") {
        return;
    }
    #[derive(serde::Deserialize)]
    struct Wanted {
        #[serde(rename = "Level", alias = "level", default)]
        level: String,
    }
    let refuse = |reply: &mut Reply<'_>, message: String| {
        let body = serde_json::json!({ "message": message }).to_string();
        reply.start(400).header("Content-Type", JSON).body(body.as_bytes());
    };
    let Ok(wanted) = serde_json::from_slice::<Wanted>(request.body_bytes()) else {
        return refuse(reply, "Invalid json body".into());
    };
    match wanted.level.parse::<Level>() {
        Ok(level) => {
            log::set_level(level);
            reply.start(204).no_content();
        }
        Err(_) => refuse(reply, format!("Invalid log level {}", wanted.level)),
    }
}
