//! The records in the key space: read where this member stands, written through consensus.
//!
//! A change of a record is a compare-and-swap on the version it was made from, so two at once never lose one.
use bytes::Bytes;

use super::Refusal;
use super::records::{GUEST, ROOT, Role, User};
use crate::etcd::api::json;
use crate::etcd::server::Server;
use crate::kv::{Code, Command, View};

const ENABLED: &str = "/2/enabled";
const USERS: &str = "/2/users";
const ROLES: &str = "/2/roles";

pub fn enabled(server: &Server) -> bool {
    get(server, ENABLED).is_some_and(|view| view.value() == Some(b"true"))
}

pub fn user(server: &Server, name: &str) -> Result<User, Refusal> {
    find_user(server, name).map(|(user, _)| user)
}

pub fn role(server: &Server, name: &str) -> Result<Role, Refusal> {
    find_role(server, name).map(|(role, _)| role)
}

/// All users' names, in order.
pub fn user_names(server: &Server) -> Vec<String> {
    names_below(server, USERS)
}

/// All roles' names, in order; `root` is always there.
pub fn role_names(server: &Server) -> Vec<String> {
    let mut names = names_below(server, ROLES);
    names.push(ROOT.into());
    names.sort();
    names
}

/// Makes a user, or changes the one that is there. True: it was made.
pub async fn create_or_update_user(server: &Server, user: &User) -> Result<(User, bool), Refusal> {
    match self::user(server, &user.user) {
        Ok(_) => update_user(server, user).await.map(|user| (user, false)),
        Err(_) => create_user(server, user).await.map(|user| (user, true)),
    }
}

pub async fn create_user(server: &Server, user: &User) -> Result<User, Refusal> {
    let name = &user.user;
    if user.password.is_empty() {
        let what = format!("auth: Cannot create user {name} with an empty password");
        return Err((400, what));
    }
    let mut user = user.clone().attach_root();
    user.password = hash(server, &user.password).await?;
    let command = create(&path(USERS, name), json::marshal(&user));
    write(server, command).await.map_err(|error| match error {
        Failure::Store(Code::NodeExist) => (409, format!("auth: User {name} already exists.")),
        other => other.into_refusal(),
    })?;
    crate::log::notice!("auth", "created user {}", name.escape_debug());
    Ok(user)
}

pub async fn update_user(server: &Server, change: &User) -> Result<User, Refusal> {
    let name = &change.user;
    let mut new_hash = None;
    loop {
        let (old, version) = find_user(server, name)?;
        // Only what passes otherwise is worth a hash.
        old.merge(change, None)?;
        if !change.password.is_empty() && new_hash.is_none() {
            new_hash = Some(hash(server, &change.password).await?);
            // The user may have changed meanwhile.
            continue;
        }
        let new = old.merge(change, new_hash.as_deref())?;
        if new == old {
            let what = "auth: User not updated. Use grant/revoke/password to update the user.";
            return Err((400, what.into()));
        }
        match write(server, swap(&path(USERS, name), version, json::marshal(&new))).await {
            Err(Failure::Store(Code::TestFailed | Code::KeyNotFound)) => continue,
            other => other.map_err(Failure::into_refusal)?,
        }
        crate::log::notice!("auth", "updated user {}", name.escape_debug());
        return Ok(new);
    }
}

pub async fn delete_user(server: &Server, name: &str) -> Result<(), Refusal> {
    if name == ROOT && enabled(server) {
        return Err((403, "auth: Cannot delete root user while auth is enabled.".into()));
    }
    let gone = |name| (404, format!("auth: User {name} does not exist"));
    delete(server, USERS, name).await.map_err(|error| match error {
        Failure::Store(Code::KeyNotFound) => gone(name),
        other => other.into_refusal(),
    })?;
    crate::log::notice!("auth", "deleted user {}", name.escape_debug());
    Ok(())
}

pub async fn create_role(server: &Server, role: &Role) -> Result<(), Refusal> {
    let name = &role.role;
    not_root(name)?;
    let command = create(&path(ROLES, name), json::marshal(role));
    write(server, command).await.map_err(|error| match error {
        Failure::Store(Code::NodeExist) => (409, format!("auth: Role {name} already exists.")),
        other => other.into_refusal(),
    })?;
    crate::log::notice!("auth", "created new role {}", name.escape_debug());
    Ok(())
}

pub async fn update_role(server: &Server, change: &Role) -> Result<Role, Refusal> {
    let name = &change.role;
    not_root(name)?;
    loop {
        let (old, version) = find_role(server, name)?;
        let new = old.merge(change)?;
        if new == old {
            let what = "auth: Role not updated. Use grant/revoke to update the role.";
            return Err((400, what.into()));
        }
        match write(server, swap(&path(ROLES, name), version, json::marshal(&new))).await {
            Err(Failure::Store(Code::TestFailed | Code::KeyNotFound)) => continue,
            other => other.map_err(Failure::into_refusal)?,
        }
        crate::log::notice!("auth", "updated role {}", name.escape_debug());
        return Ok(new);
    }
}

pub async fn delete_role(server: &Server, name: &str) -> Result<(), Refusal> {
    not_root(name)?;
    delete(server, ROLES, name).await.map_err(|error| match error {
        Failure::Store(Code::KeyNotFound) => (404, format!("auth: Role {name} doesn't exist.")),
        other => other.into_refusal(),
    })?;
    crate::log::notice!("auth", "deleted role {}", name.escape_debug());
    Ok(())
}

pub async fn enable(server: &Server) -> Result<(), Refusal> {
    if enabled(server) {
        return Err((409, "auth: already enabled".into()));
    }
    if user(server, ROOT).is_err() {
        return Err((409, "auth: No root user available, please create one".into()));
    }
    if role(server, GUEST).is_err() {
        crate::log::info!("auth", "no guest role access found, creating default");
        create_role(server, &Role::all(GUEST)).await?;
    }
    switch(server, b"true").await?;
    crate::log::notice!("auth", "auth: enabled auth");
    Ok(())
}

pub async fn disable(server: &Server) -> Result<(), Refusal> {
    if !enabled(server) {
        return Err((409, "auth: already disabled".into()));
    }
    switch(server, b"false").await?;
    crate::log::notice!("auth", "auth: disabled auth");
    Ok(())
}

async fn switch(server: &Server, value: &'static [u8]) -> Result<(), Refusal> {
    let command = Command::Set {
        path: Bytes::from_static(ENABLED.as_bytes()),
        dir: false,
        value: Bytes::from_static(value),
        ttl: None,
        refresh: false,
    };
    write(server, command).await.map_err(Failure::into_refusal)
}

/// A user and the version of the record.
fn find_user(server: &Server, name: &str) -> Result<(User, u64), Refusal> {
    let absent = || (404, format!("auth: User {name} does not exist."));
    let view = find(server, USERS, name).ok_or_else(absent)?;
    let user = view.value().and_then(|value| json::unmarshal(value).ok());
    let user = user.and_then(|value| User::parse(&value).ok()).ok_or_else(unreadable)?;
    Ok((user.attach_root(), view.modified_index()))
}

fn find_role(server: &Server, name: &str) -> Result<(Role, u64), Refusal> {
    if name == ROOT {
        return Ok((Role::all(ROOT), 0));
    }
    let absent = || (404, format!("auth: Role {name} does not exist."));
    let view = find(server, ROLES, name).ok_or_else(absent)?;
    let role = view.value().and_then(|value| json::unmarshal(value).ok());
    let role = role.and_then(|value| Role::parse(&value).ok()).ok_or_else(unreadable)?;
    Ok((role, view.modified_index()))
}

fn find(server: &Server, directory: &str, name: &str) -> Option<View> {
    // A name comes from a client; it must not lead elsewhere.
    if matches!(name, "" | "." | "..") || name.contains('/') {
        return None;
    }
    get(server, &path(directory, name))
}

fn get(server: &Server, path: &str) -> Option<View> {
    // Records have no time to live, so the time does not matter.
    server.member.state.store.lock().unwrap().get(path.as_bytes(), 0).ok()
}

fn names_below(server: &Server, directory: &str) -> Vec<String> {
    let Some(view) = get(server, directory) else {
        return Vec::new();
    };
    let names = view
        .children()
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned());
    names.collect()
}

fn path(directory: &str, name: &str) -> String {
    format!("{directory}/{name}")
}

fn create(path: &str, value: Vec<u8>) -> Command {
    Command::Create {
        path: Bytes::copy_from_slice(path.as_bytes()),
        dir: false,
        value: value.into(),
        ttl: None,
        unique: false,
    }
}

fn swap(path: &str, version: u64, value: Vec<u8>) -> Command {
    Command::CompareAndSwap {
        path: Bytes::copy_from_slice(path.as_bytes()),
        prev_value: None,
        prev_index: version,
        value: value.into(),
        ttl: None,
        refresh: false,
    }
}

async fn delete(server: &Server, directory: &str, name: &str) -> Result<(), Failure> {
    let command = Command::Delete {
        path: Bytes::from(path(directory, name)),
        dir: false,
        recursive: false,
    };
    write(server, command).await
}

/// Why a write was not made.
enum Failure {
    Store(Code),
    Consensus(String),
}

impl Failure {
    fn into_refusal(self) -> Refusal {
        let what = match self {
            Failure::Store(code) => code.message().to_string(),
            Failure::Consensus(what) => what,
        };
        crate::log::error!("etcdhttp", "got unexpected response error ({what})");
        internal()
    }
}

async fn write(server: &Server, command: Command) -> Result<(), Failure> {
    match server.member.propose(command).await {
        Ok(outcome) => match outcome.result {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::Store(error.code)),
        },
        Err(error) => Err(Failure::Consensus(format!("{error:?}"))),
    }
}

async fn hash(server: &Server, password: &str) -> Result<String, Refusal> {
    server.passwords.hash(password).await.ok_or_else(internal)
}

fn not_root(role: &str) -> Result<(), Refusal> {
    match role {
        ROOT => Err((403, format!("auth: Cannot modify role {role}: is root role."))),
        _ => Ok(()),
    }
}

fn unreadable() -> Refusal {
    crate::log::error!("auth", "a record under /2 is no JSON that this version knows");
    internal()
}

fn internal() -> Refusal {
    (500, "Internal Server Error".into())
}
