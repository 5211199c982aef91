//! Users and roles: their JSON, what a change makes of them, and which keys they open.
use std::collections::BTreeSet;

use serde::Serialize;

use super::Refusal;
use crate::etcd::api::json::{Mismatch, Value, names};

/// The role that may do everything, and the user who always has it.
pub const ROOT: &str = "root";
/// The role of requests without a user.
pub const GUEST: &str = "guest";

/// A list that was not given is `null` and another than one without elements: so clients see it.
type List = Option<Vec<String>>;

#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct User {
    pub user: String,
    /// In a request the password, in a record its hash.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    pub roles: List,
    #[serde(skip_serializing_if = "is_empty")]
    pub grant: List,
    #[serde(skip_serializing_if = "is_empty")]
    pub revoke: List,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Role {
    pub role: String,
    pub permissions: Permissions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Permissions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Permissions>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Permissions {
    pub kv: ReadWrite,
}

/// Patterns of keys: exact, or a prefix and `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReadWrite {
    pub read: List,
    pub write: List,
}

fn is_empty(list: &List) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

fn strings(list: &List) -> &[String] {
    list.as_deref().unwrap_or_default()
}

impl User {
    pub fn parse(value: &Value) -> Result<User, Mismatch> {
        let mut user = User::default();
        for (name, value) in value.fields()? {
            match name {
                name if names(name, "user") => value.into_string(&mut user.user)?,
                name if names(name, "password") => value.into_string(&mut user.password)?,
                name if names(name, "roles") => value.into_strings(&mut user.roles)?,
                name if names(name, "grant") => value.into_strings(&mut user.grant)?,
                name if names(name, "revoke") => value.into_strings(&mut user.revoke)?,
                _ => {}
            }
        }
        Ok(user)
    }

    pub fn roles(&self) -> &[String] {
        strings(&self.roles)
    }

    /// Does the request name roles to have, and roles to grant or to revoke?
    pub fn has_roles(&self) -> bool {
        !is_empty(&self.roles)
    }

    pub fn has_changes(&self) -> bool {
        !is_empty(&self.grant) || !is_empty(&self.revoke)
    }

    /// The user `root` has the role `root`, written or not.
    pub fn attach_root(mut self) -> User {
        if self.user == ROOT && !self.roles().iter().any(|role| role == ROOT) {
            self.roles.get_or_insert_default().push(ROOT.into());
        }
        self
    }

    /// This user after a change. `hash`: that of the new password, if there is one.
    pub fn merge(&self, change: &User, hash: Option<&str>) -> Result<User, Refusal> {
        let mut roles: BTreeSet<String> = self.roles().iter().cloned().collect();
        for role in strings(&change.grant) {
            if !roles.insert(role.clone()) {
                let what = format!("auth: Granting duplicate role {role} for user {}", change.user);
                return Err((409, what));
            }
        }
        for role in strings(&change.revoke) {
            if !roles.remove(role) {
                let what = format!("auth: Revoking ungranted role {role} for user {}", change.user);
                return Err((409, what));
            }
        }
        Ok(User {
            user: self.user.clone(),
            password: hash.unwrap_or(&self.password).to_string(),
            roles: Some(roles.into_iter().collect()),
            ..User::default()
        })
    }
}

impl Role {
    pub fn parse(value: &Value) -> Result<Role, Mismatch> {
        let mut role = Role::default();
        for (name, value) in value.fields()? {
            match name {
                name if names(name, "role") => value.into_string(&mut role.role)?,
                name if names(name, "permissions") => role.permissions.parse(value)?,
                name if names(name, "grant") => Permissions::parse_optional(&mut role.grant, value)?,
                name if names(name, "revoke") => Permissions::parse_optional(&mut role.revoke, value)?,
                _ => {}
            }
        }
        Ok(role)
    }

    /// A role that opens every key: `root`, and `guest` as it is made.
    pub fn all(name: &str) -> Role {
        let everything = Some(vec!["/*".to_string()]);
        Role {
            role: name.into(),
            permissions: Permissions {
                kv: ReadWrite {
                    read: everything.clone(),
                    write: everything,
                },
            },
            ..Role::default()
        }
    }

    pub fn has_changes(&self) -> bool {
        let given = |permissions: &Option<Permissions>| permissions.as_ref().is_some_and(|given| !given.is_empty());
        given(&self.grant) || given(&self.revoke)
    }

    /// This role after a change.
    pub fn merge(&self, change: &Role) -> Result<Role, Refusal> {
        let mut kv = self.permissions.kv.clone();
        if let Some(grant) = &change.grant {
            kv.read = granted(&kv.read, &grant.kv.read, "read")?;
            kv.write = granted(&kv.write, &grant.kv.write, "write")?;
        }
        if let Some(revoke) = &change.revoke {
            kv.read = revoked(&kv.read, &revoke.kv.read);
            kv.write = revoked(&kv.write, &revoke.kv.write);
        }
        Ok(Role {
            role: self.role.clone(),
            permissions: Permissions { kv },
            ..Role::default()
        })
    }

    /// Does this role open the key, for reading or for writing? A recursive request needs a pattern with `*`.
    pub fn opens(&self, key: &[u8], write: bool, recursive: bool) -> bool {
        let kv = &self.permissions.kv;
        let patterns = strings(if write { &kv.write } else { &kv.read });
        self.role == ROOT || patterns.iter().any(|pattern| matches(pattern, key, recursive))
    }
}

fn matches(pattern: &str, key: &[u8], recursive: bool) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix.as_bytes()),
        None => !recursive && key == pattern.as_bytes(),
    }
}

fn granted(old: &List, more: &List, kind: &str) -> Result<List, Refusal> {
    let mut all: BTreeSet<String> = strings(old).iter().cloned().collect();
    for pattern in strings(more) {
        if !all.insert(pattern.clone()) {
            return Err((409, format!("auth: Granting duplicate {kind} permission {pattern}")));
        }
    }
    Ok(Some(all.into_iter().collect()))
}

/// Revoking what was never granted is no error.
fn revoked(old: &List, less: &List) -> List {
    let mut all: BTreeSet<String> = strings(old).iter().cloned().collect();
    for pattern in strings(less) {
        all.remove(pattern);
    }
    Some(all.into_iter().collect())
}

impl Permissions {
    pub fn is_empty(&self) -> bool {
        is_empty(&self.kv.read) && is_empty(&self.kv.write)
    }

    fn parse(&mut self, value: &Value) -> Result<(), Mismatch> {
        let kv = value.fields()?.iter().filter(|(name, _)| names(name, "kv"));
        for (_, value) in kv {
            for (name, value) in value.fields()? {
                match name {
                    name if names(name, "read") => value.into_strings(&mut self.kv.read)?,
                    name if names(name, "write") => value.into_strings(&mut self.kv.write)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn parse_optional(target: &mut Option<Permissions>, value: &Value) -> Result<(), Mismatch> {
        match value {
            Value::Null => *target = None,
            value => target.get_or_insert_default().parse(value)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::api::json;

    fn role(text: &str) -> Role {
        Role::parse(&json::unmarshal(text.as_bytes()).unwrap()).unwrap()
    }

    fn user(text: &str) -> User {
        User::parse(&json::unmarshal(text.as_bytes()).unwrap()).unwrap()
    }

    fn text(value: &impl Serialize) -> String {
        String::from_utf8(json::marshal(value)).unwrap()
    }

    #[test]
    fn a_pattern_is_exact_or_a_prefix() {
        assert!(matches("/a", b"/a", false));
        assert!(!matches("/a", b"/a/", false));
        assert!(!matches("/a", b"/ab", false));
        assert!(matches("/a*", b"/ab", false));
        assert!(matches("/a/*", b"/a/", false));
        assert!(!matches("/a/*", b"/a", false));
        assert!(!matches("/*", b"", false));
        assert!(matches("*", b"", false));
        assert!(!matches("", b"/a", false));
        assert!(!matches("/*a", b"/xa", false));
    }

    #[test]
    fn a_recursive_request_needs_a_star() {
        assert!(!matches("/a", b"/a", true));
        assert!(matches("/a*", b"/a", true));
        assert!(!matches("/a/*", b"/a", true));
    }

    #[test]
    fn reading_and_writing_are_apart_and_root_may_do_both() {
        let reader = role(r#"{"role":"r","permissions":{"kv":{"read":["/a"],"write":["/b"]}}}"#);
        assert!(reader.opens(b"/a", false, false) && !reader.opens(b"/a", true, false));
        assert!(reader.opens(b"/b", true, false) && !reader.opens(b"/b", false, false));
        let root = role(r#"{"role":"root"}"#);
        assert!(root.opens(b"", true, true));
    }

    #[test]
    fn lists_that_were_not_given_stay_null() {
        let given = role(r#"{"Role":"r","permissions":{"KV":{"read":[]}}}"#);
        assert_eq!(
            text(&given),
            r#"{"role":"r","permissions":{"kv":{"read":[],"write":null}}}"#
        );
        assert_eq!(text(&user(r#"{"user":"u"}"#)), r#"{"user":"u","roles":null}"#);
        assert_eq!(
            text(&user(r#"{"user":"u","roles":[],"grant":[]}"#)),
            r#"{"user":"u","roles":[]}"#
        );
    }

    #[test]
    fn wrong_types_are_refused() {
        for text in [
            r#"{"user":1}"#,
            r#"{"user":"u","roles":"r"}"#,
            r#"{"user":"u","roles":[1]}"#,
            "[]",
        ] {
            assert!(
                User::parse(&json::unmarshal(text.as_bytes()).unwrap()).is_err(),
                "{text}"
            );
        }
        let wrong = json::unmarshal(br#"{"role":"r","permissions":[]}"#).unwrap();
        assert!(Role::parse(&wrong).is_err());
    }

    #[test]
    fn a_user_is_changed_by_grants_revocations_and_a_password() {
        let bob = user(r#"{"user":"bob","password":"old","roles":["b"]}"#);
        let changed = bob.merge(&user(r#"{"user":"bob","grant":["a"]}"#), None).ok().unwrap();
        assert_eq!(text(&changed), r#"{"user":"bob","password":"old","roles":["a","b"]}"#);
        let changed = bob
            .merge(&user(r#"{"user":"bob","revoke":["b"]}"#), Some("new"))
            .ok()
            .unwrap();
        assert_eq!(text(&changed), r#"{"user":"bob","password":"new","roles":[]}"#);
        let error = bob.merge(&user(r#"{"user":"bob","grant":["b"]}"#), None).err().unwrap();
        assert_eq!(error, (409, "auth: Granting duplicate role b for user bob".into()));
        let error = bob
            .merge(&user(r#"{"user":"bob","revoke":["c"]}"#), None)
            .err()
            .unwrap();
        assert_eq!(error, (409, "auth: Revoking ungranted role c for user bob".into()));
    }

    #[test]
    fn a_role_is_changed_by_grants_and_revocations() {
        let old = role(r#"{"role":"r","permissions":{"kv":{"read":["/a"]}}}"#);
        let more = role(r#"{"role":"r","grant":{"kv":{"read":["/0"]}}}"#);
        let new = old.merge(&more).unwrap();
        assert_eq!(
            text(&new),
            r#"{"role":"r","permissions":{"kv":{"read":["/0","/a"],"write":[]}}}"#
        );
        assert_eq!(
            new.merge(&more).unwrap_err().1,
            "auth: Granting duplicate read permission /0"
        );
        let less = role(r#"{"role":"r","revoke":{"kv":{"read":["/a","/none"]}}}"#);
        let fewer = new.merge(&less).unwrap();
        assert_eq!(
            text(&fewer),
            r#"{"role":"r","permissions":{"kv":{"read":["/0"],"write":[]}}}"#
        );
    }

    #[test]
    fn the_user_root_has_the_role_root() {
        let root = user(r#"{"user":"root"}"#).attach_root();
        assert_eq!(root.roles(), ["root"]);
        assert_eq!(root.attach_root().roles(), ["root"]);
        assert!(user(r#"{"user":"bob"}"#).attach_root().roles().is_empty());
    }
}
