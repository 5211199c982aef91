//! /v2/machines: where clients find the members.
use super::allow;
use crate::etcd::cluster;
use crate::etcd::http::reply::TEXT;
use crate::etcd::http::{Reply, Request};
use crate::etcd::server::Server;

pub fn handle(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "GET,HEAD") {
        return;
    }
    let members = cluster::members(&server.member.state.store.lock().unwrap());
    let mut urls: Vec<String> = members.into_iter().flat_map(|member| member.client_urls).collect();
    urls.sort();
    reply
        .start(200)
        .header("Content-Type", TEXT)
        .body(urls.join(", ").as_bytes());
}
