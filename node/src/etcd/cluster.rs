//! Who is in the cluster, read from where etcd keeps it: `/0/members`, `/0/removed_members`, `/0/version`.
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kv::{Command, Store};

/// A member as the API shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    #[serde(with = "hex_id")]
    pub id: u64,
    pub name: String,
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

impl MemberInfo {
    /// It has been started once: a member publishes its name when it runs.
    pub fn has_run(&self) -> bool {
        !self.name.is_empty() || !self.client_urls.is_empty()
    }
}

mod hex_id {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{id:x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[derive(Deserialize, Default)]
struct RaftAttributes {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
}

/// What a member tells of itself once it runs.
#[derive(Serialize, Deserialize, Default, Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    pub client_urls: Vec<String>,
}

/// The members, in the order of their peer URLs.
pub fn members(store: &Store) -> Vec<MemberInfo> {
    let mut members = Vec::new();
    let Ok(all) = store.get(b"/0/members", 0) else {
        return members;
    };
    for (name, member) in all.children() {
        let Some(id) = parse_id(name) else { continue };
        let mut info = MemberInfo {
            id,
            ..MemberInfo::default()
        };
        for (name, attributes) in member.children() {
            match name {
                b"raftAttributes" => {
                    let parsed: RaftAttributes =
                        serde_json::from_slice(attributes.value().unwrap_or_default()).unwrap_or_default();
                    info.peer_urls = parsed.peer_urls;
                }
                b"attributes" => {
                    let parsed: Attributes =
                        serde_json::from_slice(attributes.value().unwrap_or_default()).unwrap_or_default();
                    info.name = parsed.name;
                    info.client_urls = parsed.client_urls;
                }
                _ => {}
            }
        }
        members.push(info);
    }
    members.sort_by(|a, b| a.peer_urls.cmp(&b.peer_urls));
    members
}

pub fn is_removed(store: &Store, id: u64) -> bool {
    store.get(format!("/0/removed_members/{id:x}").as_bytes(), 0).is_ok()
}

/// The version the members have agreed on, None before the first one has said its.
pub fn version(store: &Store) -> Option<String> {
    let version = store.get(b"/0/version", 0).ok()?;
    Some(String::from_utf8_lossy(version.value()?).into_owned())
}

fn parse_id(name: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(name).ok()?, 16).ok()
}

/// The write by which a member publishes its name and client URLs.
pub fn publish(id: u64, attributes: &Attributes) -> Command {
    let value = serde_json::to_vec(attributes).unwrap_or_default();
    Command::Set {
        path: Bytes::from(format!("/0/members/{id:x}/attributes")),
        dir: false,
        value: value.into(),
        ttl: None,
        refresh: false,
    }
}

/// The write by which the leader sets the cluster's version.
pub fn set_version(version: &'static str) -> Command {
    Command::Set {
        path: Bytes::from_static(b"/0/version"),
        dir: false,
        value: Bytes::from_static(version.as_bytes()),
        ttl: None,
        refresh: false,
    }
}
