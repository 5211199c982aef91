//! /v2/keys: from a request's form to a command or a read, and back to etcd's JSON.
use std::sync::Arc;

use bytes::Bytes;

use super::watch;
use super::{Handed, allow, v04};
use crate::etcd::auth::access;
use crate::etcd::http::conn::Next;
use crate::etcd::http::form::Form;
use crate::etcd::http::reply::JSON;
use crate::etcd::http::{Reply, Request, path};
use crate::etcd::server::Server;
use crate::kv::{Code, Command, Error};
use crate::raft::{Outcome, ProposeError};

/// The namespace of users' keys, cut off what they see.
pub const PREFIX: &str = "/1";

/// A listing repeats a key's path at every level, so its size grows with the square of the depth.
const MAX_DEPTH: usize = 1000;

/// A keys request, checked.
pub struct Fields {
    value: Bytes,
    prev_value: Option<Bytes>,
    prev_index: u64,
    prev_exist: Option<bool>,
    wait_index: u64,
    ttl: Option<u64>,
    refresh: bool,
    recursive: bool,
    sorted: bool,
    wait: bool,
    dir: bool,
    quorum: bool,
    stream: bool,
}

pub async fn handle(server: &Arc<Server>, request: &Request<'_>, mut reply: Reply<'_>, key: &[u8]) -> Next<Handed> {
    if !allow(request, &mut reply, "HEAD,GET,PUT,POST,DELETE") {
        return Next::Answered;
    }
    server.metrics.received(request.method);
    let fields = match parse(request) {
        Ok(fields) => fields,
        Err(error) => return refuse(server, reply, &error),
    };
    if !access::may_touch(server, request, key, fields.recursive).await {
        return refuse(
            server,
            reply,
            &Error::new(Code::Unauthorized, "Insufficient credentials", 0),
        );
    }
    let mut full = Vec::with_capacity(PREFIX.len() + key.len());
    full.extend_from_slice(PREFIX.as_bytes());
    full.extend_from_slice(key);
    let path = path::join(&full);
    if path.iter().filter(|byte| **byte == b'/').count() > MAX_DEPTH {
        let cause = format!("key is nested deeper than {MAX_DEPTH} directories");
        return refuse(server, reply, &field_error(Code::InvalidField, &cause));
    }
    match request.method {
        "GET" if fields.wait && !fields.quorum => {
            watch::open(server, reply, &path, fields.recursive, fields.stream, fields.wait_index)
        }
        "GET" | "HEAD" => {
            if request.method == "GET"
                && fields.quorum
                && let Err(error) = server.member.read_index().await
            {
                return refuse(server, reply, &unavailable(server, error));
            }
            read(server, reply, &path, &fields)
        }
        method => {
            let command = command(method, path, fields);
            write(server, reply, command).await
        }
    }
}

fn read(server: &Server, mut reply: Reply<'_>, path: &[u8], fields: &Fields) -> Next<Handed> {
    let state = &server.member.state;
    let now = state.clock.now();
    let (mut view, index) = {
        let store = state.store.lock().unwrap();
        (store.get(path, now), store.index())
    };
    if view.is_err()
        && let Some(machines) = v04::machines(server, path)
    {
        view = machines.get(path, now);
    }
    match view {
        Ok(view) => {
            let applied = *state.applied.borrow();
            let mut body = Vec::with_capacity(512);
            view.write_get(&mut body, PREFIX.len(), fields.recursive, fields.sorted, now);
            reply
                .start(200)
                .header("Content-Type", JSON)
                .header("X-Etcd-Cluster-Id", &server.cluster_hex);
            reply
                .number("X-Etcd-Index", index)
                .number("X-Raft-Index", applied.index)
                .number("X-Raft-Term", applied.term);
            reply.body(&body);
            Next::Answered
        }
        Err(error) => refuse(server, reply, &error),
    }
}

async fn write(server: &Server, mut reply: Reply<'_>, command: Command) -> Next<Handed> {
    let pending = server.metrics.pending();
    let outcome = server.member.propose(command).await;
    drop(pending);
    match outcome {
        Ok(Outcome {
            result: Ok(event),
            raft_index,
            raft_term,
        }) => {
            reply.start(if event.is_created() { 201 } else { 200 });
            reply
                .header("Content-Type", JSON)
                .header("X-Etcd-Cluster-Id", &server.cluster_hex);
            reply
                .number("X-Etcd-Index", event.etcd_index)
                .number("X-Raft-Index", raft_index)
                .number("X-Raft-Term", raft_term);
            reply.body(&event.json(PREFIX.len()));
            Next::Answered
        }
        Ok(Outcome { result: Err(error), .. }) => refuse(server, reply, &error),
        Err(error) => {
            server.metrics.failed();
            refuse(server, reply, &unavailable(server, error))
        }
    }
}

/// Answers with an error of the table.
pub fn refuse(server: &Server, mut reply: Reply<'_>, error: &Error) -> Next<Handed> {
    reply
        .start(error.code.status())
        .header("Content-Type", JSON)
        .header("X-Etcd-Cluster-Id", &server.cluster_hex);
    reply.number("X-Etcd-Index", error.index);
    reply.body(&error.json(PREFIX.len()));
    Next::Answered
}

fn unavailable(server: &Server, error: ProposeError) -> Error {
    let cause = match error {
        ProposeError::Timeout => server.timeout_text(),
        ProposeError::NoSpace => "etcdserver: no space left on device".to_string(),
        ProposeError::Stopped => "etcdserver: server stopped".to_string(),
    };
    Error {
        code: Code::RaftInternal,
        cause: cause.into_bytes().into(),
        index: 0,
    }
}

pub fn command(method: &str, path: Vec<u8>, fields: Fields) -> Command {
    let Fields {
        value,
        prev_value,
        prev_index,
        prev_exist,
        ttl,
        refresh,
        recursive,
        dir,
        ..
    } = fields;
    let path = Bytes::from(path);
    let conditional = prev_index > 0 || prev_value.is_some();
    match method {
        "POST" => Command::Create {
            path,
            dir,
            value,
            ttl,
            unique: true,
        },
        "DELETE" if conditional => Command::CompareAndDelete {
            path,
            prev_value,
            prev_index,
        },
        "DELETE" => Command::Delete { path, dir, recursive },
        _ if prev_exist == Some(false) => Command::Create {
            path,
            dir,
            value,
            ttl,
            unique: false,
        },
        _ if conditional => Command::CompareAndSwap {
            path,
            prev_value,
            prev_index,
            value,
            ttl,
            refresh,
        },
        _ if prev_exist == Some(true) => Command::Update {
            path,
            value,
            ttl,
            refresh,
        },
        _ => Command::Set {
            path,
            dir,
            value,
            ttl,
            refresh,
        },
    }
}

/// Checks the fields in etcd's order: the first that is wrong is the one the client hears of.
pub fn parse(request: &Request<'_>) -> Result<Fields, Error> {
    let form = Form::of(request).map_err(|what| field_error(Code::InvalidForm, &what))?;
    let uint = |name: &str| {
        form.uint(name)
            .map_err(|_| field_error(Code::IndexNaN, &format!("invalid value for \"{name}\"")))
    };
    let prev_index = uint("prevIndex")?.unwrap_or(0);
    let wait_index = uint("waitIndex")?.unwrap_or(0);
    let boolean = |name: &str| {
        let value = form
            .boolean(name)
            .map_err(|_| field_error(Code::InvalidField, &format!("invalid value for \"{name}\"")))?;
        Ok::<_, Error>(value.unwrap_or(false))
    };
    let recursive = boolean("recursive")?;
    let sorted = boolean("sorted")?;
    let wait = boolean("wait")?;
    let dir = boolean("dir")?;
    let quorum = boolean("quorum")?;
    let stream = boolean("stream")?;
    if wait && request.method != "GET" {
        return Err(field_error(
            Code::InvalidField,
            "\"wait\" can only be used with GET requests",
        ));
    }
    let prev_value = form.get("prevValue");
    if prev_value == Some(b"") {
        return Err(field_error(Code::PrevValueRequired, "\"prevValue\" cannot be empty"));
    }
    let ttl = match form.get("ttl") {
        None | Some(b"") => None,
        Some(_) => form
            .uint("ttl")
            .map_err(|_| field_error(Code::TTLNaN, "invalid value for \"ttl\""))?,
    };
    let prev_exist = form
        .boolean("prevExist")
        .map_err(|_| field_error(Code::InvalidField, "invalid value for prevExist"))?;
    let refresh = form
        .boolean("refresh")
        .map_err(|_| field_error(Code::InvalidField, "invalid value for refresh"))?
        .unwrap_or(false);
    let value = form.get("value").unwrap_or_default();
    if refresh && !value.is_empty() {
        return Err(field_error(Code::RefreshValue, "A value was provided on a refresh"));
    }
    if refresh && ttl.is_none() {
        return Err(field_error(Code::RefreshTTLRequired, "No TTL value set"));
    }
    Ok(Fields {
        value: Bytes::copy_from_slice(value),
        prev_value: prev_value.map(Bytes::copy_from_slice),
        prev_index,
        prev_exist,
        wait_index,
        ttl,
        refresh,
        recursive,
        sorted,
        wait,
        dir,
        quorum,
        stream,
    })
}

fn field_error(code: Code, cause: &str) -> Error {
    Error {
        code,
        cause: cause.as_bytes().to_vec().into(),
        index: 0,
    }
}
