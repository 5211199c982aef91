//! The write-ahead log: entries, the vote, and what is purged, in segments under `member/wal`.
//!
//! `format` is the bytes, `index` what is in the log and where, `writer` the only one that writes,
//! `recovery` reads it all back.
pub mod format;
mod index;
mod recovery;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};

pub use format::{Head, Meta};
pub use index::{Index, weight};
pub use recovery::OpenError;
pub use writer::{Request, SharedWriter, Status, SyncTimes, Writer};

use super::disk::Disk;
use super::types::{Entry, IoFlushed, LogId, Vote, vote_after};

pub struct Opened {
    pub meta: Meta,
    pub index: Arc<Mutex<Index>>,
    pub status: Arc<Status>,
    pub writer: SharedWriter,
}

impl Opened {
    /// Writes entries. For a log that nothing else uses yet.
    pub fn append(&self, entries: Vec<Entry>) -> std::io::Result<()> {
        for entry in &entries {
            self.index.lock().unwrap().push(entry.clone(), None);
        }
        self.write_now(Request::Append(entries, IoFlushed::noop()))
    }

    /// Everything up to here is in a snapshot, and is all there is. For a log that nothing else uses yet.
    pub fn drop_entries(&self, last: LogId) -> std::io::Result<()> {
        self.index.lock().unwrap().purge(last);
        let (done, _) = tokio::sync::oneshot::channel();
        self.write_now(Request::Purge(last, done))
    }

    /// Writes a vote. For a log that nothing else uses yet.
    pub fn vote(&self, vote: Vote) -> std::io::Result<()> {
        self.index.lock().unwrap().vote = Some(vote);
        let (done, _) = tokio::sync::oneshot::channel();
        self.write_now(Request::Vote(vote, done))
    }

    fn write_now(&self, request: Request) -> std::io::Result<()> {
        let mut writer = self.writer.lock().unwrap();
        writer.try_write(&[request])
    }
}

/// Begins the log of a new member.
pub fn create(disk: Arc<dyn Disk>, dir: &Path, meta: Meta, max_wals: usize) -> std::io::Result<Opened> {
    disk.create_dir(dir)?;
    let head = Head {
        meta,
        ..Head::default()
    };
    let segment = writer::create_segment(disk.as_ref(), dir, 0, 0, &head)?;
    let mut index = Index::default();
    index.segments.insert(0, segment.file.clone());
    Ok(opened(disk, dir, meta, index, segment, max_wals))
}

/// Begins the log of a member that has a snapshot at `last`.
pub fn create_after(disk: Arc<dyn Disk>, dir: &Path, meta: Meta, last: LogId) -> std::io::Result<()> {
    let head = Head {
        meta,
        previous: Some(last),
        vote: Some(vote_after(last, meta.member_id)),
        ..Head::default()
    };
    writer::create_segment(disk.as_ref(), dir, 0, last.index + 1, &head).map(drop)
}

/// Opens an existing log on top of a snapshot. None: there is none.
pub fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    snapshot: Option<LogId>,
    max_wals: usize,
    salvage: bool,
) -> Result<Option<Opened>, OpenError> {
    let Some(recovered) = recovery::recover(disk.as_ref(), dir, snapshot, salvage)? else {
        return Ok(None);
    };
    Ok(Some(opened(
        disk,
        dir,
        recovered.head.meta,
        recovered.index,
        recovered.last,
        max_wals,
    )))
}

fn opened(
    disk: Arc<dyn Disk>,
    dir: &Path,
    meta: Meta,
    index: Index,
    segment: writer::Segment,
    max_wals: usize,
) -> Opened {
    let index = Arc::new(Mutex::new(index));
    let status = Arc::new(Status::default());
    let last = index.lock().unwrap().last().map_or(0, |id| id.index);
    status
        .last_index_saved
        .store(last, std::sync::atomic::Ordering::Relaxed);
    let writer = Arc::new(Mutex::new(Writer {
        disk,
        dir: dir.to_path_buf(),
        meta,
        index: index.clone(),
        status: status.clone(),
        segment,
        max_wals,
        buffer: Vec::new(),
        committed: None,
    }));
    Opened {
        meta,
        index,
        status,
        writer,
    }
}
