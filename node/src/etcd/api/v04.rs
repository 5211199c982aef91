//! What etcd 0.4 had and 2.x dropped, for servers that are started the 0.4 way (`-addr`, `-peer-addr`): /v2/leader,
//! /v2/peers, the admin API at the peer address, and the members as keys under `/_etcd/machines`.
use bytes::Bytes;
use serde::Serialize;

use super::allow;
use crate::client::cluster;
use crate::etcd::cluster::{MemberInfo, members as known};
use crate::etcd::http::reply::{JSON, TEXT};
use crate::etcd::http::{Reply, Request};
use crate::etcd::server::Server;
use crate::kv::{Command, Store};

const MACHINES: &str = "/1/_etcd/machines";

/// 0.4's defaults. Nothing here becomes a standby, so there is nothing to set.
#[derive(Serialize)]
struct AdminConfig {
    #[serde(rename = "activeSize")]
    active_size: u32,
    #[serde(rename = "removeDelay")]
    remove_delay: u32,
    #[serde(rename = "syncInterval")]
    sync_interval: u32,
}

#[derive(Serialize)]
struct Machine<'a> {
    name: &'a str,
    state: &'static str,
    #[serde(rename = "clientURL")]
    client_url: &'a str,
    #[serde(rename = "peerURL")]
    peer_url: &'a str,
}

/// At the client address. False: not one of these paths.
pub fn client(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>, path: &[u8]) -> bool {
    match path {
        b"/v2/leader" => leader(server, request, reply),
        b"/v2/peers" => super::machines::handle(server, request, reply),
        _ => return false,
    }
    true
}

/// At the peer address. False: not one of these paths.
pub fn peer(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>, path: &str) -> bool {
    if path != "/v2/admin/config" && path != "/v2/admin/machines" && !path.starts_with("/v2/admin/machines/") {
        return false;
    }
    if !allow(request, reply, "GET,HEAD") {
        return true;
    }
    let members = members(server);
    let machines = members.iter().map(|member| machine(server, member));
    let name = path
        .strip_prefix("/v2/admin/machines")
        .map(|rest| rest.trim_start_matches('/'));
    match name {
        None => json(
            reply,
            &AdminConfig {
                active_size: 9,
                remove_delay: 1800,
                sync_interval: 5,
            },
        ),
        Some("") => json(reply, &machines.collect::<Vec<_>>()),
        Some(name) => match machines.into_iter().find(|machine| machine.name == name) {
            Some(machine) => json(reply, &machine),
            None => reply.not_found(),
        },
    }
    true
}

fn leader(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "GET,HEAD") {
        return;
    }
    let leader = server.member.leader();
    let members = members(server);
    match members.iter().find(|member| Some(member.id) == leader) {
        Some(leader) => reply
            .start(200)
            .header("Content-Type", TEXT)
            .body(first(&leader.peer_urls).as_bytes()),
        None => reply.error(503, "During election"),
    }
}

/// The members as a key space of its own, for a read below `/_etcd/machines`.
pub fn machines(server: &Server, path: &[u8]) -> Option<Store> {
    if !server.config.v04 || super::below(path, MACHINES.as_bytes()).is_none() {
        return None;
    }
    let mut store = Store::new(1);
    for member in members(server).iter().filter(|member| member.has_run()) {
        let value = format!(
            "etcd={}&raft={}",
            escape(first(&member.client_urls)),
            escape(first(&member.peer_urls))
        );
        let set = Command::Set {
            path: Bytes::from(format!("{MACHINES}/{}", member.name)),
            dir: false,
            value: value.into(),
            ttl: None,
            refresh: false,
        };
        let _ = store.apply(&set, 0);
    }
    Some(store)
}

fn machine<'a>(server: &Server, member: &'a MemberInfo) -> Machine<'a> {
    Machine {
        name: &member.name,
        state: match server.member.leader() == Some(member.id) {
            true => "leader",
            false => "follower",
        },
        client_url: first(&member.client_urls),
        peer_url: first(&member.peer_urls),
    }
}

fn members(server: &Server) -> Vec<MemberInfo> {
    let mut members = known(&server.member.state.store.lock().unwrap());
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

fn first(urls: &[String]) -> &str {
    urls.first().map_or("", String::as_str)
}

fn json(reply: &mut Reply<'_>, body: &impl Serialize) {
    let body = super::json::marshal(body);
    reply.start(200).header("Content-Type", JSON).body(&body);
}

/// As in a query.
fn escape(url: &str) -> String {
    cluster::escape(url, "", false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_escaped_as_in_a_query() {
        assert_eq!(escape("http://10.0.0.1:4001"), "http%3A%2F%2F10.0.0.1%3A4001");
    }
}
