//! /v2/auth: the switch, the users and the roles.
use serde::Serialize;

use super::json;
use super::{allow, no_auth, refuse};
use crate::etcd::auth::records::{Role, User};
use crate::etcd::auth::{Refusal, access, store};
use crate::etcd::cluster;
use crate::etcd::http::form::Form;
use crate::etcd::http::reply::JSON;
use crate::etcd::http::{Reply, Request, path};
use crate::etcd::server::Server;

/// `rest` is what follows `/v2/auth` in the path.
pub async fn handle(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>, rest: &[u8]) {
    let is = |name: &[u8]| super::below(rest, name).is_some();
    if rest != b"/enable" && !is(b"/users") && !is(b"/roles") {
        return reply.not_found();
    }
    if cluster::version(&server.member.state.store.lock().unwrap()).is_none() {
        let what = "Not capable of accessing auth feature during rolling upgrades.";
        return refuse(reply, 500, None, what);
    }
    if rest == b"/enable" {
        return switch(server, request, reply).await;
    }
    let clean = path::join(rest);
    let pieces: Vec<&[u8]> = clean[1..].split(|byte| *byte == b'/').collect();
    match pieces[..] {
        [b"users"] => list(server, request, reply, users).await,
        [b"roles"] => list(server, request, reply, roles).await,
        [b"users", name] => one(server, request, reply, name, on_user).await,
        [b"roles", name] => one(server, request, reply, name, on_role).await,
        _ => refuse(reply, 400, None, "Invalid path"),
    }
}

/// What a request is answered with: status and body.
type Answer = Result<(u16, Vec<u8>), Refusal>;

fn send(server: &Server, reply: &mut Reply<'_>, answer: Answer) {
    match answer {
        Ok((status, body)) => reply
            .start(status)
            .header("Content-Type", JSON)
            .header("X-Etcd-Cluster-Id", &server.cluster_hex)
            .body(&body),
        Err((status, message)) => refuse(reply, status, Some(&server.cluster_hex), &message),
    }
}

/// A line of JSON.
fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut body = json::marshal(value);
    body.push(b'\n');
    body
}

async fn switch(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "GET,PUT,DELETE") {
        return;
    }
    if !access::may_write(server, request).await {
        return no_auth(reply);
    }
    #[derive(Serialize)]
    struct Enabled {
        enabled: bool,
    }
    let answer = match request.method {
        "PUT" => store::enable(server).await.map(|()| (200, Vec::new())),
        "DELETE" => store::disable(server).await.map(|()| (200, Vec::new())),
        _ => {
            let enabled = store::enabled(server);
            Ok((200, encode(&Enabled { enabled })))
        }
    };
    send(server, reply, answer);
}

async fn list(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>, answer: fn(&Server) -> Answer) {
    if !allow(request, reply, "GET") {
        return;
    }
    if !access::is_root(server, request).await {
        return no_auth(reply);
    }
    let answer = readable(request).and_then(|()| answer(server));
    send(server, reply, answer);
}

async fn one<F>(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>, name: &[u8], act: F)
where
    F: AsyncFnOnce(&Server, &Request<'_>, &str) -> Answer,
{
    if !allow(request, reply, "GET,PUT,DELETE") {
        return;
    }
    if !access::is_root(server, request).await {
        return no_auth(reply);
    }
    let name = String::from_utf8_lossy(name);
    let answer = act(server, request, &name).await;
    send(server, reply, answer);
}

/// A user as it is shown: roles in full, no password.
#[derive(Serialize)]
struct Shown {
    user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
}

fn users(server: &Server) -> Answer {
    #[derive(Serialize)]
    struct Users {
        users: Option<Vec<Shown>>,
    }
    let mut users = Vec::new();
    for name in store::user_names(server) {
        let user = store::user(server, &name)?;
        // A list leaves out roles that do not exist; a single user with one of them is an error.
        let roles = user.roles().iter().filter_map(|role| store::role(server, role).ok());
        users.push(Shown {
            roles: roles.collect(),
            user: user.user,
        });
    }
    let users = Some(users).filter(|users| !users.is_empty());
    Ok((200, encode(&Users { users })))
}

fn roles(server: &Server) -> Answer {
    #[derive(Serialize)]
    struct Roles {
        roles: Vec<Role>,
    }
    let names = store::role_names(server);
    let roles = names.iter().map(|name| store::role(server, name));
    let roles = roles.collect::<Result<_, _>>()?;
    Ok((200, encode(&Roles { roles })))
}

async fn on_user(server: &Server, request: &Request<'_>, name: &str) -> Answer {
    match request.method {
        "PUT" => put_user(server, request, name).await,
        "DELETE" => store::delete_user(server, name).await.map(|()| (200, Vec::new())),
        _ => {
            let user = store::user(server, name)?;
            readable(request)?;
            let roles = user.roles().iter().map(|role| store::role(server, role));
            let roles = roles.collect::<Result<_, _>>()?;
            Ok((200, encode(&Shown { user: user.user, roles })))
        }
    }
}

async fn put_user(server: &Server, request: &Request<'_>, name: &str) -> Answer {
    let value = json::decode_first(request.body_bytes()).map_err(|_| bad_json())?;
    let user = User::parse(&value).map_err(|_| bad_json())?;
    if user.user != name {
        return Err((400, "User JSON name does not match the name in the URL".into()));
    }
    let (mut user, created) = match (user.has_changes(), user.has_roles()) {
        (true, true) => return Err((400, "User JSON contains both roles and grant/revoke".into())),
        (true, false) => (store::update_user(server, &user).await?, false),
        (false, true) => (store::create_user(server, &user).await?, false),
        (false, false) => store::create_or_update_user(server, &user).await?,
    };
    user.password.clear();
    Ok((if created { 201 } else { 200 }, encode(&user)))
}

async fn on_role(server: &Server, request: &Request<'_>, name: &str) -> Answer {
    match request.method {
        "PUT" => put_role(server, request, name).await,
        "DELETE" => store::delete_role(server, name).await.map(|()| (200, Vec::new())),
        _ => store::role(server, name).map(|role| (200, encode(&role))),
    }
}

async fn put_role(server: &Server, request: &Request<'_>, name: &str) -> Answer {
    let value = json::decode_first(request.body_bytes()).map_err(|_| bad_json())?;
    let role = Role::parse(&value).map_err(|_| bad_json())?;
    if role.role != name {
        return Err((400, "Role JSON name does not match the name in the URL".into()));
    }
    if !role.has_changes() {
        store::create_role(server, &role).await?;
        return Ok((201, encode(&role)));
    }
    if !role.permissions.is_empty() {
        return Err((400, "Role JSON contains both permissions and grant/revoke".into()));
    }
    Ok((200, encode(&store::update_role(server, &role).await?)))
}

/// etcd parses the query of a listing, uses nothing of it, and trips over what is wrong there.
fn readable(request: &Request<'_>) -> Result<(), Refusal> {
    match Form::of(request) {
        Ok(_) => Ok(()),
        Err(_) => Err((500, "Internal Server Error".into())),
    }
}

fn bad_json() -> Refusal {
    (400, "Invalid JSON in request body.".into())
}
