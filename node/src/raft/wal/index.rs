//! Which entries the log holds and where: the newest in memory, the rest by their place in a segment.
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::format::{self, Head};
use crate::raft::disk::File;
use crate::raft::types::{Entry, LogId, Vote, log_id, term_of};

/// Entries kept in memory for replication and for applying; older ones are read from disk.
const CACHE_BYTES: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    pub segment: u64,
    pub offset: u64,
    pub len: u32,
    pub crc: u32,
}

struct Slot {
    term: u64,
    entry: Option<Entry>,
    at: Option<Location>,
}

/// A segment that can be read while the writer appends to it.
pub type SharedFile = Arc<dyn File>;

#[derive(Default)]
pub struct Index {
    pub purged: Option<LogId>,
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    slots: VecDeque<Slot>,
    cached: usize,
    /// Slots before this position are out of memory.
    evicted: usize,
    pub segments: BTreeMap<u64, SharedFile>,
}

/// About what an entry takes in memory and on disk.
pub fn weight(entry: &Entry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(batch) => batch.0.len(),
        _ => 64,
    }
}

impl Index {
    pub fn new(head: &Head) -> Index {
        Index {
            purged: head.previous,
            vote: head.vote,
            committed: head.committed,
            ..Index::default()
        }
    }

    pub fn first(&self) -> u64 {
        self.purged.as_ref().map_or(0, |id| id.index + 1)
    }

    pub fn next(&self) -> u64 {
        self.first() + self.slots.len() as u64
    }

    pub fn last(&self) -> Option<LogId> {
        match self.slots.back() {
            Some(slot) => Some(log_id(slot.term, self.next() - 1)),
            None => self.purged,
        }
    }

    pub fn log_id_at(&self, index: u64) -> Option<LogId> {
        if self.purged.as_ref().is_some_and(|id| id.index == index) {
            return self.purged;
        }
        let at = index.checked_sub(self.first())?;
        self.slots.get(at as usize).map(|slot| log_id(slot.term, index))
    }

    pub fn push(&mut self, entry: Entry, at: Option<Location>) {
        debug_assert_eq!(entry.log_id.index, self.next());
        self.cached += weight(&entry);
        self.slots.push_back(Slot {
            term: term_of(&entry.log_id),
            entry: Some(entry),
            at,
        });
        self.evict();
    }

    /// The writer has put the entry on disk. An entry truncated and replaced meanwhile has another term.
    pub fn place(&mut self, id: &LogId, at: Location) {
        let Some(position) = id.index.checked_sub(self.first()) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(position as usize)
            && slot.term == term_of(id)
        {
            slot.at = Some(at);
        }
    }

    pub fn evict(&mut self) {
        while self.cached > CACHE_BYTES && self.evicted < self.slots.len() {
            let slot = &mut self.slots[self.evicted];
            if slot.at.is_none() {
                break;
            }
            if let Some(entry) = slot.entry.take() {
                self.cached -= weight(&entry);
            }
            self.evicted += 1;
        }
    }

    pub fn truncate_after(&mut self, after: Option<u64>) {
        let keep = after.map_or(0, |index| (index + 1).saturating_sub(self.first())) as usize;
        while self.slots.len() > keep {
            if let Some(Slot { entry: Some(entry), .. }) = self.slots.pop_back() {
                self.cached -= weight(&entry);
            }
        }
        self.evicted = self.evicted.min(self.slots.len());
    }

    pub fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| purged >= upto) {
            return;
        }
        for _ in self.first()..=upto.index {
            match self.slots.pop_front() {
                Some(slot) => {
                    if let Some(entry) = slot.entry {
                        self.cached -= weight(&entry);
                    }
                    self.evicted = self.evicted.saturating_sub(1);
                }
                None => break,
            }
        }
        self.purged = Some(upto);
    }

    /// The entries of a range, as far as they fit `max_bytes` (always at least one).
    pub fn read(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (start, end) = (start.max(self.first()), end.min(self.next()));
        let mut entries = Vec::with_capacity(end.saturating_sub(start) as usize);
        let mut size = 0;
        for index in start..end {
            let slot = &self.slots[(index - self.first()) as usize];
            let entry = match &slot.entry {
                Some(entry) => entry.clone(),
                None => self.load(slot, index)?,
            };
            size += weight(&entry);
            if size > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn load(&self, slot: &Slot, index: u64) -> io::Result<Entry> {
        let at = slot
            .at
            .ok_or_else(|| io::Error::other(format!("entry {index} is neither in memory nor on disk")))?;
        let file = self
            .segments
            .get(&at.segment)
            .ok_or_else(|| io::Error::other(format!("segment {:016x} of entry {index} is gone", at.segment)))?;
        let mut bytes = vec![0; at.len as usize];
        file.read_at(&mut bytes, at.offset)?;
        if crc32fast::hash(&bytes) != at.crc {
            return Err(io::Error::other(format!(
                "entry {index} at offset {} of segment {:016x} has changed on disk",
                at.offset, at.segment
            )));
        }
        format::parse_payload(log_id(slot.term, index), Bytes::from(bytes))
            .ok_or_else(|| io::Error::other(format!("entry {index} is unreadable")))
    }
}
