//! Who watches what, and who is told of an event.
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use super::{Shared, event::Event, path};

/// Where a watch's events go.
pub trait Sink: Send {
    /// False: the receiver is gone or too slow; the store drops the watcher.
    fn send(&mut self, event: &Arc<Event>) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

struct Watcher {
    id: WatchId,
    recursive: bool,
    stream: bool,
    since: u64,
    sink: Box<dyn Sink>,
}

#[derive(Default)]
pub(super) struct Hub {
    /// Per path in order of their ids. Ordered by path: the watchers below a removed directory are one range.
    by_path: BTreeMap<Shared, Vec<Watcher>>,
    paths: BTreeMap<WatchId, Shared>,
    last_id: u64,
}

impl Hub {
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    pub fn add(&mut self, path: Shared, recursive: bool, stream: bool, since: u64, sink: Box<dyn Sink>) -> WatchId {
        self.last_id += 1;
        let id = WatchId(self.last_id);
        // The key that is there already saves a thousand copies of it.
        let path = self
            .by_path
            .get_key_value(&path)
            .map_or(path, |(known, _)| known.clone());
        self.paths.insert(id, path.clone());
        self.by_path.entry(path).or_default().push(Watcher {
            id,
            recursive,
            stream,
            since,
            sink,
        });
        id
    }

    pub fn remove(&mut self, id: WatchId) {
        let Some(path) = self.paths.remove(&id) else { return };
        if let Some(watchers) = self.by_path.get_mut(&path) {
            if let Ok(at) = watchers.binary_search_by_key(&id, |watcher| watcher.id) {
                watchers.remove(at);
            }
            if watchers.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }

    /// Drops every sink, so that each client asks again.
    pub fn clear(&mut self) {
        self.by_path.clear();
        self.paths.clear();
    }

    /// Tells the watchers on the event's key and on the directories above it.
    pub fn notify(&mut self, event: &Arc<Event>) {
        let key = &event.node.key;
        // Down the sorted paths from the key: the next ancestor that is watched cannot be longer than what the
        // path found last has in common with the key. So a key of many segments costs no lookup for each.
        let mut candidate = Some(&**key);
        while let Some(upper) = candidate {
            let found = self.by_path.range::<[u8], _>((Unbounded, Included(upper))).next_back();
            let Some(watched) = found.map(|(watched, _)| watched.clone()) else {
                return;
            };
            let is_ancestor = *watched == **key || path::is_below(key, &watched);
            candidate = common_ancestor(key, &watched, is_ancestor);
            if is_ancestor {
                let original = *watched == **key;
                let visible = original || !path::is_hidden(&watched, key);
                self.tell(&watched, event, |watcher| visible && (original || watcher.recursive));
            }
        }
    }

    /// Tells the watchers below a removed directory with the directory's event, each if `existed` says that its own
    /// path was there.
    pub fn notify_below(&mut self, event: &Arc<Event>, existed: impl Fn(&[u8]) -> bool) {
        if self.by_path.is_empty() {
            return;
        }
        let mut prefix = event.node.key.to_vec();
        prefix.push(b'/');
        let below = self
            .by_path
            .range::<[u8], _>((Excluded(&*prefix), Unbounded))
            .map(|(watched, _)| watched);
        let told: Vec<Shared> = below
            .take_while(|watched| watched.starts_with(&prefix))
            .filter(|watched| existed(watched))
            .cloned()
            .collect();
        for watched in told {
            self.tell(&watched, event, |_| true);
        }
    }

    fn tell(&mut self, path: &Shared, event: &Arc<Event>, interested: impl Fn(&Watcher) -> bool) {
        let Some(watchers) = self.by_path.get_mut(path) else {
            return;
        };
        watchers.retain_mut(|watcher| {
            if !interested(watcher) || event.index() < watcher.since {
                return true;
            }
            let keep = watcher.sink.send(event) && watcher.stream;
            if !keep {
                self.paths.remove(&watcher.id);
            }
            keep
        });
        if watchers.is_empty() {
            self.by_path.remove(path);
        }
    }
}

/// The longest directory above `key` that can still be above or equal to what precedes `found` in order; nothing
/// above the root.
fn common_ancestor<'a>(key: &'a [u8], found: &[u8], is_ancestor: bool) -> Option<&'a [u8]> {
    let shared = key.iter().zip(found).take_while(|(a, b)| a == b).count();
    // An ancestor was told already: go on strictly above it.
    let end = if is_ancestor { shared.checked_sub(1)? } else { shared };
    match key.get(..end + 1)?.iter().rposition(|&byte| byte == b'/')? {
        0 if key.len() > 1 && found.len() > 1 => Some(b"/"),
        0 => None,
        at => Some(&key[..at]),
    }
}
