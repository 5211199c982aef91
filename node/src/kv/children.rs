//! The children of one directory, sorted by name and cheap to clone.
//!
//! A leaf of `imbl::OrdMap` takes 2 KB even for one entry, and most directories are small: those are a sorted Vec.
use std::{borrow::Borrow, cmp::Ordering, sync::Arc};

use imbl::{OrdMap, ordmap, shared_ptr::DefaultSharedPtr};

use super::node::Node;

/// Cloning a directory of up to this many children copies them; a bigger one shares them.
const SMALL: usize = 16;

/// A name of one segment. Short ones live in the map itself: no allocation, no cache miss in a search.
#[derive(Clone)]
pub(super) enum Name {
    Short(u8, [u8; Name::SHORT]),
    Long(Arc<[u8]>),
}

impl Name {
    const SHORT: usize = 22;

    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() > Self::SHORT {
            return Name::Long(Arc::from(bytes));
        }
        let mut short = [0; Self::SHORT];
        short[..bytes.len()].copy_from_slice(bytes);
        Name::Short(bytes.len() as u8, short)
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Name::Short(len, bytes) => &bytes[..usize::from(*len)],
            Name::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

#[derive(Clone)]
pub(super) enum Children {
    Small(Vec<(Name, Arc<Node>)>),
    Big(OrdMap<Name, Arc<Node>>),
}

impl Default for Children {
    fn default() -> Self {
        Children::Small(Vec::new())
    }
}

impl Children {
    pub fn is_empty(&self) -> bool {
        match self {
            Children::Small(list) => list.is_empty(),
            Children::Big(map) => map.is_empty(),
        }
    }

    pub fn get(&self, name: &[u8]) -> Option<&Arc<Node>> {
        match self {
            Children::Small(list) => search(list, name).ok().map(|at| &list[at].1),
            Children::Big(map) => map.get(name),
        }
    }

    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Arc<Node>> {
        match self {
            Children::Small(list) => search(list, name).ok().map(|at| &mut list[at].1),
            Children::Big(map) => map.get_mut(name),
        }
    }

    pub fn insert(&mut self, name: &[u8], node: Arc<Node>) -> Option<Arc<Node>> {
        match self {
            Children::Small(list) => match search(list, name) {
                Ok(at) => Some(std::mem::replace(&mut list[at].1, node)),
                Err(at) if list.len() < SMALL => {
                    list.insert(at, (Name::new(name), node));
                    None
                }
                Err(_) => {
                    let mut map: OrdMap<_, _> = list.drain(..).collect();
                    map.insert(Name::new(name), node);
                    *self = Children::Big(map);
                    None
                }
            },
            Children::Big(map) => map.insert(Name::new(name), node),
        }
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        match self {
            Children::Small(list) => search(list, name).ok().map(|at| list.remove(at).1),
            Children::Big(map) => {
                let removed = map.remove(name);
                if map.is_empty() {
                    *self = Children::default();
                }
                removed
            }
        }
    }

    pub fn iter(&self) -> Iter<'_> {
        match self {
            Children::Small(list) => Iter::Small(list.iter()),
            Children::Big(map) => Iter::Big(Box::new(map.iter())),
        }
    }

    /// Hands out the nodes themselves, wherever nobody else shares them.
    pub fn into_nodes(self) -> Box<dyn Iterator<Item = Arc<Node>>> {
        match self {
            Children::Small(list) => Box::new(list.into_iter().map(|(_, node)| node)),
            Children::Big(map) => Box::new(map.into_iter().map(|(_, node)| node)),
        }
    }
}

fn search(list: &[(Name, Arc<Node>)], name: &[u8]) -> Result<usize, usize> {
    list.binary_search_by(|(other, _)| other.as_bytes().cmp(name))
}

/// Children in order of their names.
pub(super) enum Iter<'a> {
    Small(std::slice::Iter<'a, (Name, Arc<Node>)>),
    /// Boxed: its cursors are ten times as big, and deep walks keep one iterator per level.
    Big(Box<ordmap::Iter<'a, Name, Arc<Node>, DefaultSharedPtr>>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a Arc<Node>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Small(list) => list.next().map(|(name, node)| (name.as_bytes(), node)),
            Iter::Big(map) => map.next().map(|(name, node)| (name.as_bytes(), node)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(children: &Children) -> Vec<&[u8]> {
        children.iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn names_come_sorted_in_small_and_big_directories() {
        for count in [SMALL, SMALL + 1, 1000] {
            let mut children = Children::default();
            let mut expected: Vec<String> = (0..count).map(|n| format!("{}", n * 7919 % 1009)).collect();
            for name in &expected {
                children.insert(name.as_bytes(), Arc::new(Node::file(1, None, Arc::from([]))));
            }
            expected.sort();
            assert_eq!(
                names(&children),
                expected.iter().map(|name| name.as_bytes()).collect::<Vec<_>>()
            );
            for name in &expected {
                assert!(children.remove(name.as_bytes()).is_some());
            }
            assert!(matches!(&children, Children::Small(list) if list.is_empty()));
        }
    }

    #[test]
    fn a_name_sorts_by_its_bytes_whether_short_or_long() {
        let long = Name::new(&[b'a'; 40]);
        assert!(Name::new(b"a") < long && long < Name::new(b"b"));
        assert_eq!(size_of::<Name>(), 24);
    }
}
