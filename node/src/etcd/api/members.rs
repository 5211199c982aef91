//! /v2/members: who is in the cluster, and changing that.
use std::sync::Arc;

use super::json::{self, Mismatch, Value};
use super::{allow, no_auth, refuse};
use crate::etcd::auth::access;
use crate::etcd::cluster::{self, MemberInfo};
use crate::etcd::http::form::Form;
use crate::etcd::http::reply::{JSON, TEXT};
use crate::etcd::http::{Reply, Request};
use crate::etcd::server::Server;
use crate::etcd::{ids, urls};
use crate::kv::Time;
use crate::raft::change::Refused;
use crate::raft::types::Peer;
use crate::raft::{Change, ChangeError};

/// A refused change: status and message.
type Refusal = (u16, String);

/// `rest` is what follows `/v2/members` in the path.
pub async fn handle(server: &Arc<Server>, request: &Request<'_>, reply: &mut Reply<'_>, rest: &[u8]) {
    if !allow(request, reply, "GET,POST,DELETE,PUT") {
        return;
    }
    if !access::may_write(server, request).await {
        return no_auth(reply);
    }
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    match request.method {
        "GET" => read(server, reply, rest),
        "POST" => match add(server, request).await {
            Ok(member) => answer(server, reply, 201, &member),
            Err(refusal) => refuse_change(server, reply, refusal),
        },
        // As etcd has it: without an id the method is wrong, though Allow names it.
        _ if rest.is_empty() => {
            reply
                .start(405)
                .header("X-Etcd-Cluster-Id", &server.cluster_hex)
                .header("Content-Type", TEXT)
                .header("X-Content-Type-Options", "nosniff")
                .body(b"Method Not Allowed\n");
        }
        method => {
            let done = match parse_id(rest) {
                Some(id) if method == "DELETE" => remove(server, request, id).await,
                Some(id) => update(server, request, id).await,
                None => Err(no_such(&String::from_utf8_lossy(rest))),
            };
            match done {
                Ok(()) => reply
                    .start(204)
                    .header("X-Etcd-Cluster-Id", &server.cluster_hex)
                    .no_content(),
                Err(refusal) => refuse_change(server, reply, refusal),
            }
        }
    }
}

fn read(server: &Server, reply: &mut Reply<'_>, rest: &[u8]) {
    #[derive(serde::Serialize)]
    struct Collection {
        members: Vec<MemberInfo>,
    }
    match rest {
        b"" => answer(
            server,
            reply,
            200,
            &Collection {
                members: members(server),
            },
        ),
        b"leader" => {
            let leader = server.member.leader();
            let leader = members(server).into_iter().find(|member| Some(member.id) == leader);
            match leader {
                Some(leader) => answer(server, reply, 200, &leader),
                None => refuse_change(server, reply, (503, "During election".into())),
            }
        }
        _ => refuse_change(server, reply, (404, "Not found".into())),
    }
}

async fn add(server: &Server, request: &Request<'_>) -> Result<MemberInfo, Refusal> {
    let peer_urls = body(request)?;
    let seconds = server.now() / 1_000_000_000;
    let id = ids::member_id(&peer_urls, "", Some(seconds as Time));
    let _one_at_a_time = settle(server).await?;
    if is_removed(server, id) {
        return Err(unexpected("adding", id, "the ID has been removed"));
    }
    let members = members(server);
    if members.iter().any(|member| member.id == id) {
        return Err((409, "etcdserver: ID exists".into()));
    }
    free(&members, &peer_urls)?;
    change(server, "adding", id, Change::Add(id, peer(&peer_urls))).await?;
    Ok(MemberInfo {
        id,
        peer_urls,
        ..MemberInfo::default()
    })
}

async fn update(server: &Server, request: &Request<'_>, id: u64) -> Result<(), Refusal> {
    let peer_urls = body(request)?;
    let _one_at_a_time = settle(server).await?;
    if is_removed(server, id) {
        return Err(unexpected("updating", id, "the ID has been removed"));
    }
    let (own, others): (Vec<_>, Vec<_>) = members(server).into_iter().partition(|member| member.id == id);
    if own.is_empty() {
        return Err(no_such(&ids::hex(id)));
    }
    free(&others, &peer_urls)?;
    change(server, "updating", id, Change::Update(id, peer(&peer_urls))).await
}

/// `?force=true` removes a member even where too few of those that stay can be reached to go on.
async fn remove(server: &Server, request: &Request<'_>, id: u64) -> Result<(), Refusal> {
    let force = Form::of(request).is_ok_and(|form| form.boolean("force") == Ok(Some(true)));
    remove_id(server, id, force).await
}

pub async fn remove_id(server: &Server, id: u64, force: bool) -> Result<(), Refusal> {
    let _one_at_a_time = settle(server).await?;
    if is_removed(server, id) {
        return Err((410, format!("Member permanently removed: {id:x}")));
    }
    if !members(server).iter().any(|member| member.id == id) {
        return Err(no_such(&ids::hex(id)));
    }
    change(server, "removing", id, Change::Remove { id, force }).await
}

/// Lets one change at a time through, and waits until all that were made before are known here.
async fn settle(server: &Server) -> Result<tokio::sync::MutexGuard<'_, ()>, Refusal> {
    let guard = server.membership_changes.lock().await;
    match server.member.read_index().await {
        Ok(()) => Ok(guard),
        Err(_) => {
            crate::log::error!("etcdhttp", "{}", server.timeout_text());
            Err(internal())
        }
    }
}

async fn change(server: &Server, doing: &str, id: u64, change: Change) -> Result<(), Refusal> {
    match server.member.change(change).await {
        Ok(()) => Ok(()),
        Err(ChangeError::Refused(Refused::PeerUrlExists)) => Err(url_exists()),
        Err(ChangeError::Refused(why @ Refused::NoQuorum { .. })) => {
            crate::log::warning!("etcdserver", "refused {doing} member {id:x}: {why}");
            Err((
                412,
                format!(
                    "etcdserver: re-configuration failed due to not enough started members: {why} (etcdctl member remove --force {id:x})"
                ),
            ))
        }
        Err(error) => Err(unexpected(doing, id, &error.to_string())),
    }
}

/// The peer URLs in a body, sorted.
fn body(request: &Request<'_>) -> Result<Vec<String>, Refusal> {
    let content_type = request.header("Content-Type").unwrap_or_default();
    if content_type != "application/json" {
        return Err((415, format!("Bad Content-Type {content_type}, accept application/json")));
    }
    peer_urls(request.body_bytes()).map_err(|what| (400, what))
}

fn peer_urls(body: &[u8]) -> Result<Vec<String>, String> {
    let value = json::unmarshal(body)?;
    let fields = value.fields().map_err(|Mismatch(kind)| {
        format!(
            "json: cannot unmarshal {kind} into Go value of type struct {{ PeerURLs []string \"json:\\\"peerURLs\\\"\" }}"
        )
    })?;
    let mut texts = None;
    for (_, value) in fields.iter().filter(|(name, _)| json::names(name, "peerURLs")) {
        value.into_strings(&mut texts).map_err(|Mismatch(kind)| {
            let wanted = if matches!(value, Value::Array(_)) {
                "string"
            } else {
                "[]string"
            };
            format!("json: cannot unmarshal {kind} into Go struct field .peerURLs of type {wanted}")
        })?;
    }
    let texts = texts.unwrap_or_default();
    if texts.is_empty() {
        return Err("no valid URLs given".into());
    }
    let urls = urls::sorted(texts.iter().map(String::as_str))?;
    Ok(urls.iter().map(|url| url.as_str().to_string()).collect())
}

fn peer(peer_urls: &[String]) -> Peer {
    Peer {
        peer_urls: peer_urls.to_vec(),
    }
}

fn members(server: &Server) -> Vec<MemberInfo> {
    cluster::members(&server.member.state.store.lock().unwrap())
}

fn is_removed(server: &Server, id: u64) -> bool {
    cluster::is_removed(&server.member.state.store.lock().unwrap(), id)
}

/// None of these URLs may be another member's.
fn free(members: &[MemberInfo], peer_urls: &[String]) -> Result<(), Refusal> {
    let taken = |url| members.iter().any(|member| member.peer_urls.contains(url));
    match peer_urls.iter().any(taken) {
        true => Err(url_exists()),
        false => Ok(()),
    }
}

fn url_exists() -> Refusal {
    (409, "etcdserver: peerURL exists".into())
}

/// The id in a path, as Go's ParseUint reads it.
fn parse_id(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

fn no_such(id: &str) -> Refusal {
    (404, format!("No such member: {id}"))
}

fn internal() -> Refusal {
    (500, "Internal Server Error".into())
}

/// What etcd tells its log, and the client only that it is its own fault.
fn unexpected(doing: &str, id: u64, what: &str) -> Refusal {
    crate::log::error!("etcdhttp", "error {doing} member {id:x} ({what})");
    internal()
}

fn refuse_change(server: &Server, reply: &mut Reply<'_>, (status, message): Refusal) {
    refuse(reply, status, Some(&server.cluster_hex), &message);
}

fn answer(server: &Server, reply: &mut Reply<'_>, status: u16, body: &impl serde::Serialize) {
    let mut body = json::marshal(body);
    body.push(b'\n');
    reply
        .start(status)
        .header("Content-Type", JSON)
        .header("X-Etcd-Cluster-Id", &server.cluster_hex)
        .body(&body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_gives_sorted_urls() {
        let urls = peer_urls(br#"{"peerurls":["http://b:2"," http://a:1"],"name":1}"#);
        assert_eq!(urls, Ok(vec!["http://a:1".to_string(), "http://b:2".to_string()]));
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_in_gos_words() {
        let cases = [
            ("{}", "no valid URLs given"),
            ("null", "no valid URLs given"),
            (r#"{"peerURLs":null}"#, "no valid URLs given"),
            (r#"{"peerURLs":[null]}"#, "URL scheme must be http or https: "),
            (
                r#"{"peerURLs":"x"}"#,
                "json: cannot unmarshal string into Go struct field .peerURLs of type []string",
            ),
            (
                r#"{"peerURLs":[1]}"#,
                "json: cannot unmarshal number into Go struct field .peerURLs of type string",
            ),
            (
                r#"{"peerURLs":{}}"#,
                "json: cannot unmarshal object into Go struct field .peerURLs of type []string",
            ),
            (
                "[]",
                r#"json: cannot unmarshal array into Go value of type struct { PeerURLs []string "json:\"peerURLs\"" }"#,
            ),
            ("", "unexpected end of JSON input"),
        ];
        for (body, error) in cases {
            assert_eq!(peer_urls(body.as_bytes()), Err(error.to_string()), "{body}");
        }
    }

    #[test]
    fn ids_are_hexadecimal_and_nothing_else() {
        assert_eq!(parse_id(b"Beef"), Some(0xbeef));
        assert_eq!(parse_id(b"+1"), None);
        assert_eq!(parse_id(b"12345678901234567"), None);
        assert_eq!(parse_id(b""), None);
    }
}
