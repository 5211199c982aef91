//! The last events of the whole store, for watchers that come late.
use std::{collections::VecDeque, sync::Arc};

use super::{
    error::{Code, Error},
    event::Event,
    path,
};

/// Every index has exactly one event, so an index finds its event by counting.
#[derive(Clone)]
pub(super) struct History {
    events: VecDeque<Arc<Event>>,
    capacity: usize,
}

impl History {
    pub fn new(capacity: usize) -> Self {
        Self {
            events: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    pub fn add(&mut self, event: Arc<Event>) {
        if self.events.len() == self.capacity {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.iter()
    }

    /// The index of the oldest event kept, if any is.
    pub fn start(&self) -> Option<u64> {
        self.events.front().map(|event| event.index())
    }

    /// The same events under another limit.
    pub fn with_capacity_of(mut self, other: &Self) -> Self {
        self.capacity = other.capacity;
        self.events.drain(..self.events.len().saturating_sub(self.capacity));
        self
    }

    /// The events from `since` on; 401 when the oldest of them are forgotten already.
    pub fn from(&self, since: u64, index: u64) -> Result<impl Iterator<Item = &Arc<Event>>, Error> {
        let start = self.start().unwrap_or(since);
        if since < start {
            let cause = format!("the requested history has been cleared [{start}/{since}]");
            return Err(Error::new(Code::EventIndexCleared, cause, index));
        }
        let skip = usize::try_from(since - start).unwrap_or(usize::MAX);
        Ok(self.events.range(skip.min(self.events.len())..))
    }
}

/// Whether a watch of `key` finds this event in the history. Hidden keys are found, and so is the removal of any
/// directory above: a live watch is not told about either in the same way, but etcd's history scan finds both.
pub(super) fn matches(event: &Event, key: &[u8], recursive: bool) -> bool {
    let changed = &*event.node.key;
    !event.refresh
        && (changed == key
            || (recursive && path::is_below(changed, key))
            || (event.removed_dir() && path::is_below(key, changed)))
}
