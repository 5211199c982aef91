//! The tree: nodes shared between the store, its snapshots and its readers, copied where one of them writes.
use std::{mem, num::NonZeroU64, sync::Arc};

use super::{Shared, Time, children::Children, path};

#[derive(Clone)]
pub(super) struct Node {
    pub created: u64,
    pub modified: u64,
    pub expires: Option<NonZeroU64>,
    pub kind: Kind,
}

// Both variants in 16 bytes: a million nodes feel every word.
#[derive(Clone)]
pub(super) enum Kind {
    File(Shared),
    Dir(Box<Dir>),
}

#[derive(Clone, Default)]
pub(super) struct Dir {
    children: Children,
    /// Whether a directory was ever put in here: only then can dropping this one recurse.
    has_dirs: bool,
}

impl Node {
    pub fn file(index: u64, deadline: Option<Time>, value: Shared) -> Self {
        Self {
            created: index,
            modified: index,
            expires: deadline.and_then(NonZeroU64::new),
            kind: Kind::File(value),
        }
    }

    pub fn dir(index: u64, deadline: Option<Time>) -> Self {
        let kind = Kind::Dir(Box::default());
        Self {
            created: index,
            modified: index,
            expires: deadline.and_then(NonZeroU64::new),
            kind,
        }
    }

    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir(_))
    }

    pub fn as_dir(&self) -> Option<&Dir> {
        match &self.kind {
            Kind::Dir(dir) => Some(dir),
            Kind::File(_) => None,
        }
    }

    pub fn value(&self) -> Option<&Shared> {
        match &self.kind {
            Kind::File(value) => Some(value),
            Kind::Dir(_) => None,
        }
    }

    pub fn deadline(&self) -> Option<Time> {
        self.expires.map(NonZeroU64::get)
    }

    /// Past its deadline, though its expire event may not have come yet.
    pub fn is_late(&self, now: Time) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// The descendant at the relative `path`.
    pub fn find(self: &Arc<Self>, path: &[u8]) -> Result<&Arc<Node>, Stop> {
        self.walk(path, |_| false)
    }

    /// The same for a reader: what is late is not there.
    pub fn find_live(self: &Arc<Self>, path: &[u8], now: Time) -> Result<&Arc<Node>, Stop> {
        self.walk(path, |node| node.is_late(now))
    }

    fn walk(self: &Arc<Self>, path: &[u8], gone: impl Fn(&Node) -> bool) -> Result<&Arc<Node>, Stop> {
        let (mut node, mut at) = (self, 0);
        for (name, end) in path::segments(path) {
            let Kind::Dir(dir) = &node.kind else {
                return Err(Stop::NotDir(at));
            };
            node = dir
                .children
                .get(name)
                .filter(|child| !gone(child))
                .ok_or(Stop::Missing(end))?;
            at = end;
        }
        Ok(node)
    }

    /// The directory at `path`, ready for writing. What is missing on the way is made with `index`.
    pub fn dir_mut<'a>(self: &'a mut Arc<Self>, path: &[u8], index: u64) -> Result<&'a mut Dir, Stop> {
        let Kind::Dir(dir) = &mut Arc::make_mut(self).kind else {
            return Err(Stop::NotDir(0));
        };
        let mut dir = dir;
        for (name, end) in path::segments(path) {
            if dir.children.get(name).is_none() {
                dir.insert(name, Node::dir(index, None));
            }
            let child = dir
                .children
                .get_mut(name)
                .filter(|child| child.is_dir())
                .ok_or(Stop::NotDir(end))?;
            let Kind::Dir(next) = &mut Arc::make_mut(child).kind else {
                return Err(Stop::NotDir(end));
            };
            dir = next;
        }
        Ok(dir)
    }
}

/// Why a walk ended early; the path's first so many bytes name the place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Missing(usize),
    NotDir(usize),
}

impl Dir {
    pub fn children(&self) -> &Children {
        &self.children
    }

    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Node> {
        self.children.get_mut(name).map(Arc::make_mut)
    }

    pub fn insert(&mut self, name: &[u8], node: Node) -> Option<Arc<Node>> {
        self.has_dirs |= node.is_dir();
        self.children.insert(name, Arc::new(node))
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        self.children.remove(name)
    }
}

/// With a work list instead of the compiler's recursion, which a key of 60,000 segments would drive through any
/// stack.
impl Drop for Dir {
    fn drop(&mut self) {
        if !self.has_dirs {
            return;
        }
        let mut work = vec![mem::take(&mut self.children)];
        while let Some(children) = work.pop() {
            for child in children.into_nodes() {
                // Whoever shares the child will drop it.
                if let Some(mut node) = Arc::into_inner(child)
                    && let Kind::Dir(dir) = &mut node.kind
                    && mem::take(&mut dir.has_dirs)
                {
                    work.push(mem::take(&mut dir.children));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Arc<Node> {
        Arc::new(Node::dir(0, None))
    }

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Node>(), 40);
    }

    #[test]
    fn a_walk_stops_where_the_path_leaves_the_tree() {
        let mut root = root();
        root.dir_mut(b"/a", 1)
            .unwrap()
            .insert(b"f", Node::file(1, None, Shared::from(*b"v")));
        assert!(root.find(b"/a/f").is_ok());
        assert_eq!(root.find(b"/a/x/y").err(), Some(Stop::Missing(4)));
        assert_eq!(root.find(b"/a/f/x").err(), Some(Stop::NotDir(4)));
        assert_eq!(root.dir_mut(b"/a/f/x", 2).err().map(|_| ()), Some(()));
    }

    #[test]
    fn writing_leaves_an_older_clone_as_it_was() {
        let mut root = root();
        root.dir_mut(b"/a/b", 1).unwrap();
        let clone = root.clone();
        root.dir_mut(b"/a/b", 2)
            .unwrap()
            .insert(b"f", Node::file(2, None, Shared::from(*b"v")));
        assert!(root.find(b"/a/b/f").is_ok());
        assert!(clone.find(b"/a/b/f").is_err());
    }
}
