//! import: writes the keys of an etcd 0.4 snapshot into the cluster.
//!
//! ```text
//! file     crc32 (IEEE) of the rest as 8 hexadecimal digits | newline | {"state": base64(state), ...}
//! state    {"Root": node, ...}
//! node     {"Path", "Value", "ExpireTime": RFC 3339, "Children": {name: node} or null}
//! ```
use std::collections::BTreeMap;

use base64::Engine;
use serde::Deserialize;

use super::{Context, Failure};
use crate::client::error::Error;
use crate::client::keys::Set;
use crate::sys::print;

/// The time of what does not expire.
const NEVER: &str = "0001-01-01";
/// 0.4 kept its own machines below this.
const OWN: &str = "/_etcd";

#[derive(Deserialize)]
struct File {
    state: String,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "Root")]
    root: Node,
}

#[derive(Deserialize)]
struct Node {
    #[serde(rename = "Path")]
    path: String,
    #[serde(rename = "Value", default)]
    value: String,
    #[serde(rename = "ExpireTime", default)]
    expire_time: String,
    #[serde(rename = "Children", default)]
    children: Option<BTreeMap<String, Node>>,
}

pub async fn run(context: &Context) -> Result<(), Failure> {
    let Some(path) = context.command.text("snap") else {
        print("no snapshot file provided (use --snap)\n", "");
        return Err(Failure(1, String::new()));
    };
    let bytes = std::fs::read(path).map_err(|error| Failure::usage(&format!("cannot read {path}: {error}")))?;
    let root = parse(&bytes).map_err(|what| Failure::usage(&format!("{path} is no snapshot of etcd 0.4: {what}")))?;
    let mut keys = Vec::new();
    collect(&root, &mut keys);
    let client = context.client().await?;
    let (mut written, mut kept) = (0, 0);
    for (key, value, dir) in keys {
        let set = Set {
            dir,
            prev_exist: Some(false),
            ..Set::default()
        };
        match context.within(client.set(&key, &value, &set)).await {
            Ok(_) => written += 1,
            // What the cluster has already is newer.
            Err(Error::Etcd { code: 105, .. }) => kept += 1,
            Err(error) => return Err(Failure::key(4, &error)),
        }
    }
    print(
        &format!("wrote {written} keys; {kept} were there already and are left as they are\n"),
        "",
    );
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<Node, String> {
    let (crc, json) = bytes.split_at_checked(9).ok_or("it is too short")?;
    let crc = std::str::from_utf8(&crc[..8])
        .ok()
        .and_then(|crc| u32::from_str_radix(crc, 16).ok());
    match crc {
        Some(crc) if crc == crc32fast::hash(json) => {}
        Some(_) => return Err("it does not match its checksum".into()),
        None => return Err("it does not begin with a checksum".into()),
    }
    let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let state = base64::engine::general_purpose::STANDARD.decode(file.state);
    let state = state.map_err(|error| format!("its state is unreadable: {error}"))?;
    let state: State = serde_json::from_slice(&state).map_err(|error| format!("its state is unreadable: {error}"))?;
    Ok(state.root)
}

/// Keys before what is below them, without 0.4's own. Keys with a time to live are left out: their time is over.
fn collect(node: &Node, keys: &mut Vec<(String, String, bool)>) {
    let expires = !node.expire_time.is_empty() && !node.expire_time.starts_with(NEVER);
    if node.path == OWN || expires {
        return;
    }
    if node.path != "/" {
        let dir = node.children.is_some();
        keys.push((node.path.clone(), node.value.clone(), dir));
    }
    node.children
        .iter()
        .flatten()
        .for_each(|(_, child)| collect(child, keys));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(state: &str) -> Vec<u8> {
        let state = base64::engine::general_purpose::STANDARD.encode(state);
        let json = format!("{{\"lastIndex\":7,\"state\":\"{state}\"}}");
        format!("{:08x}\n{json}", crc32fast::hash(json.as_bytes())).into_bytes()
    }

    #[test]
    fn the_keys_of_a_snapshot_are_found() {
        let state = r#"{"Root":{"Path":"/","Children":{"_etcd":{"Path":"/_etcd","Children":{"x":{"Path":"/_etcd/x","Value":"1"}}},
            "a":{"Path":"/a","Children":{"b":{"Path":"/a/b","Value":"v"}}}}}}"#;
        let mut keys = Vec::new();
        collect(&parse(&snapshot(state)).expect("a snapshot"), &mut keys);
        assert_eq!(
            keys,
            [("/a".into(), String::new(), true), ("/a/b".into(), "v".into(), false)]
        );
    }

    #[test]
    fn damage_is_named() {
        let mut bytes = snapshot("{}");
        assert!(parse(&bytes).is_err_and(|what| what.contains("Root")));
        bytes[12] ^= 1;
        assert!(parse(&bytes).is_err_and(|what| what.contains("checksum")));
        assert!(parse(b"").is_err());
    }
}
