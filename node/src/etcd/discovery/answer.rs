//! What a discovery service answers, and the members in it.
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::etcd::config::{Members, parse_members};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    pub value: String,
    pub created: u64,
}

/// etcd's answer: a node or an error.
#[derive(Deserialize)]
pub struct Body {
    pub node: Option<Node>,
    #[serde(rename = "errorCode")]
    pub code: Option<u16>,
    pub message: Option<String>,
    pub cause: Option<String>,
}

#[derive(Deserialize)]
pub struct Node {
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    pub nodes: Vec<Node>,
    #[serde(rename = "createdIndex", default)]
    pub created: u64,
}

/// Who has registered, in that order.
pub fn entries(node: Node) -> Vec<Entry> {
    let mut entries: Vec<Entry> = node
        .nodes
        .into_iter()
        .map(|node| Entry {
            id: node.key.rsplit('/').next().unwrap_or_default().to_string(),
            value: node.value,
            created: node.created,
        })
        .filter(|entry| !entry.id.starts_with('_'))
        .collect();
    entries.sort_by_key(|entry| entry.created);
    entries
}

pub fn values(entries: &[Entry]) -> String {
    let values: Vec<&str> = entries.iter().map(|entry| entry.value.as_str()).collect();
    values.join(",")
}

pub fn explain(body: &Body) -> String {
    let (code, message) = (body.code.unwrap_or(0), body.message.as_deref().unwrap_or_default());
    format!("{code}: {message} ({})", body.cause.as_deref().unwrap_or_default())
}

/// The members behind the entries of a token at `url`.
pub fn members(entries: &[Entry], url: &str) -> Result<Members, String> {
    let mut names = BTreeMap::new();
    for entry in entries {
        let name = entry.value.split('=').next().unwrap_or_default();
        if let Some(other) = names.insert(name, &entry.id) {
            return Err(format!(
                "discovery: found duplicate name {name:?}: members {other} and {} both have it at {url}; give each its own --name and get a new token",
                entry.id
            ));
        }
    }
    parse_members(&values(entries))
        .map_err(|error| format!("discovery: a member at {url} has registered with bad URLs: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_the_order_of_registering_and_without_hidden_ones() {
        let text = r#"{"action":"get","node":{"key":"/t","dir":true,"nodes":[
            {"key":"/t/b","value":"b=http://b:1","createdIndex":9},
            {"key":"/t/_config","dir":true,"createdIndex":1},
            {"key":"/t/a","value":"a=http://a:1","createdIndex":12}]}}"#;
        let body: Body = serde_json::from_str(text).unwrap();
        let list = entries(body.node.unwrap());
        assert_eq!(values(&list), "b=http://b:1,a=http://a:1");
        assert_eq!(list[0].id, "b");
    }
}
