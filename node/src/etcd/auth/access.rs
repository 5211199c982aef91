//! Who sent a request, and may they?
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::records::{GUEST, ROOT, User};
use super::store;
use crate::etcd::http::Request;
use crate::etcd::server::Server;

/// As lenient as Go's StdEncoding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// May this request touch that key? `key` is what follows `/v2/keys`, with a final slash if there was one.
pub async fn may_touch(server: &Server, request: &Request<'_>, key: &[u8], recursive: bool) -> bool {
    if !store::enabled(server) {
        return true;
    }
    let write = !matches!(request.method, "GET" | "HEAD");
    let Some(authorization) = authorization(request) else {
        // A guest's recursive request needs no pattern with a star: so it is in etcd.
        let open = store::role(server, GUEST).is_ok_and(|role| role.opens(key, write, false));
        if !open {
            crate::log::warning!("etcdhttp", "auth: invalid access for unauthenticated user on a key");
        }
        return open;
    };
    let Some(user) = authenticate(server, authorization).await else {
        return false;
    };
    let open = |name: &String| store::role(server, name).is_ok_and(|role| role.opens(key, write, recursive));
    let open = user.roles().iter().any(open);
    if !open {
        let name = user.user.escape_debug();
        crate::log::warning!("etcdhttp", "auth: invalid access for user {name} on a key");
    }
    open
}

/// May this request do what only root may? Reading is open.
pub async fn may_write(server: &Server, request: &Request<'_>) -> bool {
    matches!(request.method, "GET" | "HEAD") || is_root(server, request).await
}

/// Is it root's, or is there nobody to be told apart?
pub async fn is_root(server: &Server, request: &Request<'_>) -> bool {
    if !store::enabled(server) {
        return true;
    }
    let Some(authorization) = authorization(request) else {
        return false;
    };
    let Some(user) = authenticate(server, authorization).await else {
        return false;
    };
    let root = user.roles().iter().any(|role| role == ROOT);
    if !root {
        let name = user.user.escape_debug();
        crate::log::warning!("etcdhttp", "auth: user {name} does not have the root role");
    }
    root
}

fn authorization<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    // Not `Request::header`: what is no UTF-8 is bad credentials, not none.
    let header = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("Authorization"))?;
    Some(header.value).filter(|value| !value.is_empty())
}

async fn authenticate(server: &Server, authorization: &[u8]) -> Option<User> {
    let Some((name, password)) = basic(authorization) else {
        crate::log::warning!("etcdhttp", "auth: malformed basic auth encoding");
        return None;
    };
    let Ok(user) = store::user(server, &name) else {
        crate::log::warning!("etcdhttp", "auth: no such user: {}.", name.escape_debug());
        return None;
    };
    if !server.passwords.check(&name, &password, &user.password).await {
        crate::log::warning!(
            "etcdhttp",
            "auth: incorrect password for user: {}.",
            name.escape_debug()
        );
        return None;
    }
    Some(user)
}

/// User and password of the Basic scheme.
fn basic(value: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.into(), password.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, password: &str) -> Option<(String, String)> {
        Some((name.into(), password.into()))
    }

    #[test]
    fn basic_credentials_are_read_as_go_reads_them() {
        assert_eq!(basic(b"Basic cm9vdDpyb290cHc="), pair("root", "rootpw"));
        assert_eq!(basic(b"basic cm9vdDpyb290cHc="), pair("root", "rootpw"));
        assert_eq!(basic(b"Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(basic(b"Basic Og=="), pair("", ""));
        for bad in [
            "Bearer x",
            "Basic !!",
            "Basic",
            "Basic cm9vdDpyb290cHc",
            "Basic cm9vdA==",
        ] {
            assert_eq!(basic(bad.as_bytes()), None, "{bad}");
        }
    }
}
