//! A read: a node at one moment, walked and rendered outside any lock.
use std::sync::Arc;

use super::{
    Shared, Time, children, event,
    json::{self, Object},
    node::Node,
    time,
};

/// A node as it was when it was asked for. Cheap to clone; later writes do not show.
#[derive(Clone)]
pub struct View {
    node: Arc<Node>,
    path: Shared,
    now: Time,
}

impl View {
    pub(super) fn new(node: Arc<Node>, path: Shared, now: Time) -> Self {
        Self { node, path, now }
    }

    pub fn path(&self) -> &[u8] {
        &self.path
    }

    pub fn is_dir(&self) -> bool {
        self.node.is_dir()
    }

    /// A file's value; nothing for a directory.
    pub fn value(&self) -> Option<&[u8]> {
        self.node.value().map(|value| &**value)
    }

    pub fn created_index(&self) -> u64 {
        self.node.created
    }

    pub fn modified_index(&self) -> u64 {
        self.node.modified
    }

    pub fn expiration(&self) -> Option<Time> {
        self.node.deadline()
    }

    /// What a listing shows, in order of names: neither hidden nor late ones.
    pub fn children(&self) -> impl Iterator<Item = (&[u8], View)> {
        let children = self.node.as_dir().map(|dir| dir.children().iter());
        children
            .into_iter()
            .flatten()
            .filter(|(name, node)| is_listed(name, node, self.now))
            .map(|(name, node)| {
                let mut path = if &*self.path == b"/" {
                    Vec::new()
                } else {
                    self.path.to_vec()
                };
                path.push(b'/');
                path.extend_from_slice(name);
                (name, View::new(node.clone(), path.into(), self.now))
            })
    }

    /// Appends etcd's answer to a GET: the node, one level below it, and with `recursive` all the rest. The tree
    /// is sorted, so etcd's random order of `sorted=false` comes sorted too.
    pub fn write_get(&self, out: &mut Vec<u8>, strip: usize, recursive: bool, _sorted: bool, now: Time) {
        out.extend_from_slice(b"{\"action\":\"get\",\"node\":");
        self.write_node(out, strip, recursive, now);
        out.extend_from_slice(b"}\n");
    }

    /// With its own stack: trees are as deep as the longest key.
    fn write_node(&self, out: &mut Vec<u8>, strip: usize, recursive: bool, now: Time) {
        let mut key = Vec::new();
        json::escape(&mut key, &self.path[strip.min(self.path.len())..]);
        let mut levels: Vec<Level<'_>> = Vec::new();
        levels.extend(open(out, &self.node, &key, true, now));
        // Below the root of all, "/" must not be doubled.
        if &*self.path == b"/" {
            key.clear();
            levels.iter_mut().for_each(|level| level.key_len = 0);
        }
        while let Some(level) = levels.last_mut() {
            key.truncate(level.key_len);
            let Some((name, child)) = level.children.find(|(name, child)| is_listed(name, child, now)) else {
                if !level.empty {
                    out.push(b']');
                }
                close(out, level.node);
                levels.pop();
                continue;
            };
            out.extend_from_slice(if level.empty { b",\"nodes\":[" } else { b"," });
            level.empty = false;
            key.push(b'/');
            json::escape(&mut key, name);
            levels.extend(open(out, child, &key, recursive, now));
        }
    }
}

/// A directory whose children are being written.
struct Level<'a> {
    node: &'a Node,
    children: children::Iter<'a>,
    key_len: usize,
    empty: bool,
}

/// Writes the node's first fields. A directory to be listed stays open; all else is closed at once.
fn open<'a>(out: &mut Vec<u8>, node: &'a Node, key: &[u8], list: bool, now: Time) -> Option<Level<'a>> {
    let ttl = node.deadline().map_or(0, |deadline| time::ttl(deadline, now));
    let mut object = Object::open(out);
    let value = node.value().map(|value| &**value);
    event::write_head(&mut object, key, value, node.is_dir(), node.deadline(), ttl);
    match node.as_dir() {
        Some(dir) if list => Some(Level {
            node,
            children: dir.children().iter(),
            key_len: key.len(),
            empty: true,
        }),
        _ => {
            event::write_indexes(&mut object, node.modified, node.created);
            object.close();
            None
        }
    }
}

/// The rest of a directory left open. It has fields already: at least `dir`.
fn close(out: &mut Vec<u8>, dir: &Node) {
    for (name, index) in [("modifiedIndex", dir.modified), ("createdIndex", dir.created)] {
        if index != 0 {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            json::number(out, index);
        }
    }
    out.push(b'}');
}

fn is_listed(name: &[u8], node: &Node, now: Time) -> bool {
    name.first() != Some(&b'_') && !node.is_late(now)
}
