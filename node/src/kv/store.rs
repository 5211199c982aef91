//! The store: what each command does to the tree, the history and the watchers.
use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;

use super::{
    CLUSTER, KEYS, Shared, Time,
    command::Command,
    error::{Code, Error},
    event::{Action, Event, NodeExtern},
    expiry::Expiry,
    history::{self, History},
    hub::{Hub, Sink, WatchId},
    node::{Node, Stop},
    path,
    snapshot::Snapshot,
    stats::Stats,
    time,
    view::View,
};

pub struct Store {
    root: Arc<Node>,
    index: u64,
    history: History,
    expiry: Expiry,
    hub: Hub,
    stats: Stats,
    // Apart from the other counters: reads only borrow the store.
    gets_success: AtomicU64,
    gets_fail: AtomicU64,
}

/// What a write becomes besides its value.
#[derive(Clone, Copy)]
struct Options {
    deadline: Option<Time>,
    refresh: bool,
    now: Time,
}

impl Store {
    /// An empty store that keeps its last `history` events for watchers. The two namespaces exist from the start,
    /// without an index.
    pub fn new(history: usize) -> Self {
        let mut root = Arc::new(Node::dir(0, None));
        for namespace in [CLUSTER, KEYS] {
            // Cannot fail: there is no file on the way.
            let _ = root.dir_mut(namespace, 0);
        }
        Self {
            root,
            index: 0,
            history: History::new(history),
            expiry: Expiry::default(),
            hub: Hub::default(),
            stats: Stats::default(),
            gets_success: AtomicU64::new(0),
            gets_fail: AtomicU64::new(0),
        }
    }

    /// The index of the last write.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Executes one write at the moment `now`. Expires nothing: call [`Store::expire`] first.
    pub fn apply(&mut self, command: &Command, now: Time) -> Result<Arc<Event>, Error> {
        let result = self.execute(command, now);
        self.stats.count(command, result.is_ok());
        result
    }

    fn execute(&mut self, command: &Command, now: Time) -> Result<Arc<Event>, Error> {
        let path = path::clean(command.path());
        let options = |ttl: &Option<u64>, refresh| {
            let deadline = ttl.map(|ttl| time::deadline(now, ttl));
            Options { deadline, refresh, now }
        };
        match command {
            Command::Set {
                dir,
                value,
                ttl,
                refresh,
                ..
            } => self.set(path, *dir, value, options(ttl, *refresh)),
            Command::Create {
                dir,
                value,
                ttl,
                unique,
                ..
            } => self.create(path, *dir, value, *unique, options(ttl, false)),
            Command::Update {
                value, ttl, refresh, ..
            } => self.update(path, value, options(ttl, *refresh)),
            Command::CompareAndSwap {
                prev_value,
                prev_index,
                value,
                ttl,
                refresh,
                ..
            } => self.compare_and_swap(path, prev_value.as_ref(), *prev_index, value, options(ttl, *refresh)),
            Command::Delete { dir, recursive, .. } => self.delete(path, *dir, *recursive, now),
            Command::CompareAndDelete {
                prev_value, prev_index, ..
            } => self.compare_and_delete(path, prev_value.as_ref(), *prev_index, now),
        }
    }

    /// Replaces a file or makes a new node. The value of a directory is ignored.
    fn set(&mut self, path: Shared, dir: bool, value: &[u8], options: Options) -> Result<Arc<Event>, Error> {
        let value = if options.refresh {
            self.find(&path)?.value().cloned().unwrap_or_default()
        } else {
            Shared::from(value)
        };
        self.guard_root(&path)?;
        let (node, previous) = self.put(&path, dir, value, true, options)?;
        let prev_node = previous.map(|previous| NodeExtern::of(&previous, path, options.now));
        Ok(self.publish(Event::new(Action::Set, node, prev_node, options.refresh)))
    }

    fn create(
        &mut self,
        path: Shared,
        dir: bool,
        value: &[u8],
        unique: bool,
        options: Options,
    ) -> Result<Arc<Event>, Error> {
        let path = if unique {
            in_order_child(&path, self.index + 1)
        } else {
            path
        };
        self.guard_root(&path)?;
        let (node, _) = self.put(&path, dir, Shared::from(value), false, options)?;
        Ok(self.publish(Event::new(Action::Create, node, None, false)))
    }

    /// Puts a new node into the tree and gives back what it replaced.
    fn put(
        &mut self,
        path: &Shared,
        dir: bool,
        value: Shared,
        replace: bool,
        options: Options,
    ) -> Result<(NodeExtern, Option<Arc<Node>>), Error> {
        let (index, next) = (self.index, self.index + 1);
        let (parent_path, name) = path::split(path);
        let parent = self
            .root
            .dir_mut(parent_path, next)
            .map_err(|stop| not_reached(stop, path, index))?;
        match parent.children().get(name) {
            Some(_) if !replace => return Err(error_at(Code::NodeExist, path, index)),
            Some(there) if there.is_dir() => return Err(error_at(Code::NotFile, path, index)),
            _ => {}
        }
        let node = if dir {
            Node::dir(next, options.deadline)
        } else {
            Node::file(next, options.deadline, value)
        };
        let shown = NodeExtern::of(&node, path.clone(), options.now);
        let previous = parent.insert(name, node);
        if options.deadline.is_some() || previous.as_ref().is_some_and(|previous| previous.expires.is_some()) {
            self.expiry.set(path, options.deadline, next);
        }
        Ok((shown, previous))
    }

    /// Writes to an existing node. A directory takes no value, and of its indexes only the event shows the new one.
    fn update(&mut self, path: Shared, value: &[u8], options: Options) -> Result<Arc<Event>, Error> {
        self.guard_root(&path)?;
        let node = self.find(&path)?;
        if node.is_dir() && !value.is_empty() {
            return Err(self.error(Code::NotFile, &path));
        }
        self.overwrite(Action::Update, path, value, options)
    }

    fn compare_and_swap(
        &mut self,
        path: Shared,
        prev_value: Option<&Bytes>,
        prev_index: u64,
        value: &[u8],
        options: Options,
    ) -> Result<Arc<Event>, Error> {
        self.guard_root(&path)?;
        self.compare(&path, prev_value, prev_index)?;
        self.overwrite(Action::CompareAndSwap, path, value, options)
    }

    /// Gives an existing node a new value and deadline; it keeps its creation.
    fn overwrite(&mut self, action: Action, path: Shared, value: &[u8], options: Options) -> Result<Arc<Event>, Error> {
        let (index, next) = (self.index, self.index + 1);
        let (parent_path, name) = path::split(&path);
        let parent = self
            .root
            .dir_mut(parent_path, next)
            .map_err(|stop| not_reached(stop, &path, index))?;
        let Some(node) = parent.get_mut(name) else {
            return Err(error_at(Code::KeyNotFound, &path, index));
        };
        let prev_node = NodeExtern::of(node, path.clone(), options.now);
        if let super::node::Kind::File(stored) = &mut node.kind {
            node.modified = next;
            if !options.refresh {
                *stored = Shared::from(value);
            }
        }
        node.expires = options.deadline.and_then(NonZeroU64::new);
        let mut shown = NodeExtern::of(node, path.clone(), options.now);
        shown.modified_index = next;
        if prev_node.expiration.is_some() || shown.expiration.is_some() {
            self.expiry.set(&path, shown.expiration, shown.created_index);
        }
        Ok(self.publish(Event::new(action, shown, Some(prev_node), options.refresh)))
    }

    fn delete(&mut self, path: Shared, dir: bool, recursive: bool, now: Time) -> Result<Arc<Event>, Error> {
        self.guard_root(&path)?;
        let node = self.find(&path)?;
        if let Some(directory) = node.as_dir() {
            if !dir && !recursive {
                return Err(self.error(Code::NotFile, &path));
            }
            if !recursive && !directory.children().is_empty() {
                return Err(self.error(Code::DirNotEmpty, &path));
            }
        }
        self.remove(Action::Delete, path, now)
    }

    fn compare_and_delete(
        &mut self,
        path: Shared,
        prev_value: Option<&Bytes>,
        prev_index: u64,
        now: Time,
    ) -> Result<Arc<Event>, Error> {
        // No guard of the root: etcd answers here that it is not a file.
        self.compare(&path, prev_value, prev_index)?;
        self.remove(Action::CompareAndDelete, path, now)
    }

    /// Takes a node out of the tree with all that is below it, in one event.
    fn remove(&mut self, action: Action, path: Shared, now: Time) -> Result<Arc<Event>, Error> {
        let (index, next) = (self.index, self.index + 1);
        let (parent_path, name) = path::split(&path);
        let parent = self
            .root
            .dir_mut(parent_path, next)
            .map_err(|stop| not_reached(stop, &path, index))?;
        let Some(gone) = parent.remove(name) else {
            return Err(error_at(Code::KeyNotFound, &path, index));
        };
        if gone.expires.is_some() {
            self.expiry.remove(&path);
        }
        if gone.is_dir() {
            self.expiry.remove_below(&path);
        }
        let prev_node = NodeExtern::of(&gone, path.clone(), now);
        let node = NodeExtern {
            value: None,
            // etcd's expire events do not say that it was a directory.
            dir: prev_node.dir && action != Action::Expire,
            expiration: None,
            ttl: 0,
            modified_index: next,
            ..prev_node.clone()
        };
        let event = Event::new(action, node, Some(prev_node), false);
        if gone.is_dir() {
            self.hub
                .notify_below(&event, |watched| gone.find(&watched[path.len()..]).is_ok());
        }
        Ok(self.publish(event))
    }

    /// Removes everything due at `now` in order of deadline, then creation, each in an event of its own. Returns how
    /// many.
    pub fn expire(&mut self, now: Time) -> usize {
        let mut count = 0;
        while let Some(path) = self.expiry.due(now) {
            if self.remove(Action::Expire, path.clone(), now).is_ok() {
                self.stats.expire_count += 1;
                count += 1;
            } else {
                debug_assert!(false, "a deadline without a node");
                self.expiry.remove(&path);
            }
        }
        count
    }

    /// When [`Store::expire`] will have something to do.
    pub fn next_expiry(&self) -> Option<Time> {
        self.expiry.next()
    }

    /// Reads. What is past its deadline is not there, though its expire event may not have come yet.
    pub fn get(&self, path: &[u8], now: Time) -> Result<View, Error> {
        let path = path::clean(path);
        match self.root.find_live(&path, now) {
            Ok(node) => {
                self.gets_success.fetch_add(1, Relaxed);
                Ok(View::new(node.clone(), path, now))
            }
            Err(stop) => {
                self.gets_fail.fetch_add(1, Relaxed);
                Err(not_reached(stop, &path, self.index))
            }
        }
    }

    /// Watches `path` for events from index `since` on, which may lie in the past (the history is searched) or in
    /// the future; 0 means from now. Without `stream`, an event found in the history is the whole watch. With it,
    /// all that are found are sent and the watch goes on, with no gap and no doubles; etcd fell silent there.
    /// Returns None when nothing remains to be watched.
    pub fn watch(
        &mut self,
        path: &[u8],
        recursive: bool,
        stream: bool,
        since: u64,
        mut sink: Box<dyn Sink>,
    ) -> Result<Option<WatchId>, Error> {
        let path = path::clean(path);
        let since = if since == 0 { self.index + 1 } else { since };
        let found = self.history.from(since, self.index)?;
        for event in found.filter(|event| history::matches(event, &path, recursive)) {
            if !sink.send(event) || !stream {
                return Ok(None);
            }
        }
        Ok(Some(self.hub.add(path, recursive, stream, since, sink)))
    }

    pub fn unwatch(&mut self, id: WatchId) {
        self.hub.remove(id);
    }

    pub fn stats(&self) -> Stats {
        Stats {
            gets_success: self.gets_success.load(Relaxed),
            gets_fail: self.gets_fail.load(Relaxed),
            watchers: self.hub.len() as u64,
            ..self.stats.clone()
        }
    }

    /// The store as it is now, untouched by later writes. Copies the history's pointers, but nothing
    /// of the tree.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            root: self.root.clone(),
            index: self.index,
            history: self.history.clone(),
            expiry: self.expiry.clone(),
            stats: Stats {
                watchers: 0,
                ..self.stats()
            },
        }
    }

    /// Replaces the contents. Watchers stay and are told what the new history has beyond the old index; if it does
    /// not reach back that far, all of them are dropped, so that their clients ask again.
    pub fn restore(&mut self, snapshot: Snapshot) {
        let old = self.index;
        self.root = snapshot.root;
        self.index = snapshot.index;
        self.expiry = snapshot.expiry;
        self.gets_success = AtomicU64::new(snapshot.stats.gets_success);
        self.gets_fail = AtomicU64::new(snapshot.stats.gets_fail);
        self.stats = snapshot.stats;
        self.history = snapshot.history.with_capacity_of(&self.history);
        if self.index <= old {
            return;
        }
        if self.history.start().is_none_or(|start| start > old + 1) {
            self.hub.clear();
            return;
        }
        for event in self
            .history
            .iter()
            .filter(|event| event.index() > old && !event.refresh)
        {
            if event.removed_dir() {
                // The old tree is gone; like the history, tell whoever could have been meant.
                self.hub.notify_below(event, |_| true);
            }
            self.hub.notify(event);
        }
    }

    /// Moves the index to the event's and tells everybody.
    fn publish(&mut self, event: Arc<Event>) -> Arc<Event> {
        self.index = event.index();
        self.history.add(event.clone());
        if !event.refresh {
            self.hub.notify(&event);
        }
        event
    }

    fn find(&self, path: &[u8]) -> Result<&Arc<Node>, Error> {
        self.root.find(path).map_err(|stop| not_reached(stop, path, self.index))
    }

    fn guard_root(&self, path: &[u8]) -> Result<(), Error> {
        let read_only = path == b"/" || path == CLUSTER || path == KEYS;
        if read_only {
            Err(Error::new(Code::RootROnly, "/", self.index))
        } else {
            Ok(())
        }
    }

    /// Checks the conditions of a compare-and-swap or -delete.
    fn compare(&self, path: &[u8], prev_value: Option<&Bytes>, prev_index: u64) -> Result<(), Error> {
        let node = self.find(path)?;
        let Some(value) = node.value() else {
            return Err(self.error(Code::NotFile, path));
        };
        let mut cause = Vec::new();
        if let Some(wanted) = prev_value.filter(|wanted| !wanted.is_empty() && wanted[..] != value[..]) {
            cause.extend_from_slice(&[b"[", &wanted[..], b" != ", value, b"]"].concat());
        }
        if prev_index != 0 && prev_index != node.modified {
            let separator = if cause.is_empty() { "" } else { " " };
            cause.extend_from_slice(format!("{separator}[{prev_index} != {}]", node.modified).as_bytes());
        }
        if cause.is_empty() {
            Ok(())
        } else {
            Err(Error::new(Code::TestFailed, cause, self.index))
        }
    }

    fn error(&self, code: Code, path: &[u8]) -> Error {
        error_at(code, path, self.index)
    }
}

fn error_at(code: Code, path: &[u8], index: u64) -> Error {
    Error::new(code, path.to_vec(), index)
}

fn not_reached(stop: Stop, path: &[u8], index: u64) -> Error {
    match stop {
        Stop::Missing(end) => error_at(Code::KeyNotFound, &path[..end], index),
        Stop::NotDir(end) => error_at(Code::NotDir, &path[..end], index),
    }
}

/// The name of an in-order key: 20 digits hold every index, so names sort like indexes.
fn in_order_child(dir: &[u8], index: u64) -> Shared {
    let mut path = if dir == b"/" { Vec::new() } else { dir.to_vec() };
    path.extend_from_slice(format!("/{index:020}").as_bytes());
    Shared::from(path)
}
