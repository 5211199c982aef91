//! Which nodes have a deadline, in order of time and findable by path.
use std::ops::Bound::{Excluded, Unbounded};

use imbl::{OrdMap, OrdSet};

use super::{Shared, Time};

/// Always exact: what is not in the tree is not in here. Persistent like the tree: snapshots take a clone.
#[derive(Clone, Default)]
pub(super) struct Expiry {
    /// Deadline, then creation. The path makes it unique: a directory made on the way shares its child's index.
    by_time: OrdSet<(Time, u64, Shared)>,
    by_path: OrdMap<Shared, (Time, u64)>,
}

impl Expiry {
    /// Notes the node's deadline in place of an earlier one.
    pub fn set(&mut self, path: &Shared, deadline: Option<Time>, created: u64) {
        self.remove(path);
        if let Some(deadline) = deadline {
            self.by_time.insert((deadline, created, path.clone()));
            self.by_path.insert(path.clone(), (deadline, created));
        }
    }

    pub fn remove(&mut self, path: &Shared) {
        if let Some((deadline, created)) = self.by_path.remove(path) {
            self.by_time.remove(&(deadline, created, path.clone()));
        }
    }

    /// Forgets everything below a removed directory.
    pub fn remove_below(&mut self, dir: &Shared) {
        if self.by_path.is_empty() {
            return;
        }
        let mut prefix = dir.to_vec();
        prefix.push(b'/');
        let below = self
            .by_path
            .range::<_, [u8]>((Excluded(&*prefix), Unbounded))
            .map(|(path, _)| path);
        let gone: Vec<Shared> = below.take_while(|path| path.starts_with(&prefix)).cloned().collect();
        for path in gone {
            self.remove(&path);
        }
    }

    pub fn next(&self) -> Option<Time> {
        self.by_time.get_min().map(|(deadline, ..)| *deadline)
    }

    /// The first node due at `now`.
    pub fn due(&self, now: Time) -> Option<Shared> {
        self.by_time
            .get_min()
            .filter(|(deadline, ..)| *deadline <= now)
            .map(|(.., path)| path.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_a_directory_forgets_what_is_below_it_and_nothing_beside_it() {
        let mut expiry = Expiry::default();
        for (at, path) in ["/d", "/d/a", "/d/a/b", "/d-x", "/dd"].into_iter().enumerate() {
            expiry.set(&Shared::from(path.as_bytes()), Some(10 + at as u64), 1);
        }
        expiry.remove_below(&Shared::from(*b"/d"));
        let left: Vec<_> = expiry
            .by_path
            .keys()
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        assert_eq!(left, ["/d", "/d-x", "/dd"]);
        assert_eq!(expiry.by_time.len(), 3);
    }

    #[test]
    fn a_new_deadline_replaces_the_old_one() {
        let mut expiry = Expiry::default();
        let path = Shared::from(*b"/a");
        expiry.set(&path, Some(10), 1);
        expiry.set(&path, Some(20), 1);
        assert_eq!(expiry.due(19), None);
        assert_eq!(expiry.due(20), Some(path.clone()));
        expiry.set(&path, None, 1);
        assert_eq!(expiry.next(), None);
    }
}
