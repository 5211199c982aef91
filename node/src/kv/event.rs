//! What happened to one node, and how etcd prints it.
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{
    Shared, Time,
    json::{self, Object},
    node::Node,
    time,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Set,
    Update,
    Delete,
    CompareAndSwap,
    CompareAndDelete,
    Expire,
}

impl Action {
    pub(super) const ALL: [Action; 7] = [
        Action::Create,
        Action::Set,
        Action::Update,
        Action::Delete,
        Action::CompareAndSwap,
        Action::CompareAndDelete,
        Action::Expire,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Set => "set",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::CompareAndSwap => "compareAndSwap",
            Action::CompareAndDelete => "compareAndDelete",
            Action::Expire => "expire",
        }
    }
}

/// A node as events show it: without children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeExtern {
    pub key: Shared,
    pub value: Option<Shared>,
    pub dir: bool,
    pub expiration: Option<Time>,
    /// Seconds left when the event happened, rounded up; negative when late.
    pub ttl: i64,
    pub modified_index: u64,
    pub created_index: u64,
}

impl NodeExtern {
    pub(super) fn of(node: &Node, key: Shared, now: Time) -> Self {
        Self {
            key,
            value: node.value().cloned(),
            dir: node.is_dir(),
            expiration: node.deadline(),
            ttl: node.deadline().map_or(0, |deadline| time::ttl(deadline, now)),
            modified_index: node.modified,
            created_index: node.created,
        }
    }

    fn write(&self, out: &mut Vec<u8>, strip: usize) {
        let mut key = Vec::with_capacity(self.key.len());
        json::escape(&mut key, &self.key[strip.min(self.key.len())..]);
        let mut object = Object::open(out);
        write_head(
            &mut object,
            &key,
            self.value.as_deref(),
            self.dir,
            self.expiration,
            self.ttl,
        );
        write_indexes(&mut object, self.modified_index, self.created_index);
        object.close();
    }
}

/// The fields of a node that come before its children. `key` is escaped already.
pub(super) fn write_head(
    object: &mut Object<'_>,
    key: &[u8],
    value: Option<&[u8]>,
    dir: bool,
    expiration: Option<Time>,
    ttl: i64,
) {
    if !key.is_empty() {
        let out = object.field("key");
        out.push(b'"');
        out.extend_from_slice(key);
        out.push(b'"');
    }
    if let Some(value) = value {
        json::string(object.field("value"), value);
    }
    if dir {
        object.field("dir").extend_from_slice(b"true");
    }
    if let Some(expiration) = expiration {
        let out = object.field("expiration");
        out.push(b'"');
        time::write_rfc3339(out, expiration);
        out.push(b'"');
    }
    if ttl != 0 {
        json::number(object.field("ttl"), ttl);
    }
}

/// The fields that come after. Namespaces and the root have no indexes.
pub(super) fn write_indexes(object: &mut Object<'_>, modified: u64, created: u64) {
    if modified != 0 {
        json::number(object.field("modifiedIndex"), modified);
    }
    if created != 0 {
        json::number(object.field("createdIndex"), created);
    }
}

/// One write, as its author and every watcher see it.
#[derive(Debug)]
pub struct Event {
    pub action: Action,
    pub node: NodeExtern,
    pub prev_node: Option<NodeExtern>,
    /// The store's index at this event, for X-Etcd-Index.
    pub etcd_index: u64,
    /// A refresh: no watcher sees it, not even in the history.
    pub refresh: bool,
    json: OnceLock<(usize, Bytes)>,
}

impl Event {
    pub(super) fn new(action: Action, node: NodeExtern, prev_node: Option<NodeExtern>, refresh: bool) -> Arc<Self> {
        let etcd_index = node.modified_index;
        Arc::new(Self {
            action,
            node,
            prev_node,
            etcd_index,
            refresh,
            json: OnceLock::new(),
        })
    }

    pub fn index(&self) -> u64 {
        self.node.modified_index
    }

    /// Whether the answer is 201.
    pub fn is_created(&self) -> bool {
        self.action == Action::Create || (self.action == Action::Set && self.prev_node.is_none())
    }

    /// Whether it took a whole directory away.
    pub(super) fn removed_dir(&self) -> bool {
        matches!(self.action, Action::Delete | Action::Expire) && self.prev_node.as_ref().is_some_and(|node| node.dir)
    }

    /// The line that etcd prints, keys without their first `strip` bytes. Kept for the next watcher who asks.
    pub fn json(&self, strip: usize) -> Bytes {
        let (kept_strip, kept) = self.json.get_or_init(|| (strip, self.render(strip)));
        if *kept_strip == strip {
            kept.clone()
        } else {
            self.render(strip)
        }
    }

    fn render(&self, strip: usize) -> Bytes {
        let mut out = Vec::with_capacity(256);
        let mut object = Object::open(&mut out);
        json::string(object.field("action"), self.action.as_str().as_bytes());
        self.node.write(object.field("node"), strip);
        if let Some(prev_node) = &self.prev_node {
            prev_node.write(object.field("prevNode"), strip);
        }
        object.close();
        out.push(b'\n');
        out.into()
    }
}

/// The rendered text is no part of an event's identity.
impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.action, &self.node, &self.prev_node, self.etcd_index, self.refresh)
            == (
                other.action,
                &other.node,
                &other.prev_node,
                other.etcd_index,
                other.refresh,
            )
    }
}

impl Eq for Event {}
