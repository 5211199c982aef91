//! The one place that writes the log: takes what has queued up, makes one frame of it, one write and one sync.
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::format::{self, FRAME_HEADER, Head, Meta};
use super::index::{Index, Location, SharedFile};
use crate::raft::disk::{Disk, File};
use crate::raft::types::{Entry, IoFlushed, LogId, Vote};

pub enum Request {
    Append(Vec<Entry>, IoFlushed),
    Vote(Vote, oneshot::Sender<io::Result<()>>),
    Truncate(Option<u64>, oneshot::Sender<io::Result<()>>),
    Purge(LogId, oneshot::Sender<io::Result<()>>),
    /// Answered when all before it is on disk.
    Flush(oneshot::Sender<io::Result<()>>),
}

/// What the rest of the node may know of the writer.
#[derive(Default)]
pub struct Status {
    /// The disk has no room: nothing new is accepted until a write goes through again.
    full: AtomicBool,
    /// Told when it has become so.
    pub filled: Notify,
    pub last_index_saved: AtomicU64,
    /// Requests on their way through the writer's thread.
    pub queued: AtomicU64,
    /// What a sync takes of late, in microseconds.
    pub sync_micros: AtomicU64,
    pub syncs: Mutex<SyncTimes>,
}

impl Status {
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn synced(&self, took: Duration) {
        let (before, now) = (self.sync_micros.load(Ordering::Relaxed), took.as_micros() as u64);
        self.sync_micros.store(
            if before == 0 { now } else { (before * 7 + now) / 8 },
            Ordering::Relaxed,
        );
        self.syncs.lock().unwrap().add(took.as_secs_f64());
    }
}

/// How long the syncs took, for /metrics: count, sum in seconds, and the newest samples.
#[derive(Default)]
pub struct SyncTimes {
    pub count: u64,
    pub sum: f64,
    pub recent: std::collections::VecDeque<f64>,
}

/// The writer, for its thread and for the short writes that go around it.
pub type SharedWriter = Arc<Mutex<Writer>>;

pub struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) meta: Meta,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) status: Arc<Status>,
    pub(super) segment: Segment,
    pub(super) max_wals: usize,
    pub(super) buffer: Vec<u8>,
    pub(super) committed: Option<LogId>,
}

pub(super) struct Segment {
    pub number: u64,
    pub file: SharedFile,
    pub offset: u64,
    pub frames: u32,
}

const SEGMENT_BYTES: u64 = 64 << 20;
const SMALLEST_SEGMENT_BYTES: u64 = 256 << 10;

impl Writer {
    /// How long to wait for room on a full disk before the next try.
    pub const RETRY: Duration = Duration::from_millis(100);

    /// Makes the requests durable and answers them. False: the disk is full, nothing was answered, try again.
    pub fn write(&mut self, requests: &mut Vec<Request>) -> bool {
        match self.try_write(requests) {
            Ok(()) => {
                self.status.full.store(false, Ordering::Relaxed);
                self.finish(requests.drain(..), None);
                true
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                if !self.status.full.swap(true, Ordering::Relaxed) {
                    self.status.filled.notify_one();
                    crate::log::error!(
                        "wal",
                        "no space left for {}: writes are refused until there is room again",
                        self.dir.display()
                    );
                }
                false
            }
            Err(error) => {
                crate::log::error!("wal", "cannot write {}: {error}", self.dir.display());
                self.finish(requests.drain(..), Some(error));
                true
            }
        }
    }

    /// `write` for requests that came through the queue.
    pub fn write_queued(&mut self, requests: &mut Vec<Request>) -> bool {
        let count = requests.len() as u64;
        let written = self.write(requests);
        if written {
            self.status.queued.fetch_sub(count, Ordering::Relaxed);
        }
        written
    }

    /// `write` for who is told of an error by its return.
    pub(super) fn try_write(&mut self, requests: &[Request]) -> io::Result<()> {
        let mut last_index = None;
        let mut places = Vec::new();
        format::begin_frame(&mut self.buffer);
        for request in requests {
            match request {
                Request::Append(entries, _) => {
                    for entry in entries {
                        let (start, len) = format::put_entry(&mut self.buffer, entry);
                        places.push((entry.log_id, start, len));
                        last_index = Some(entry.log_id.index);
                    }
                }
                Request::Vote(vote, _) => format::put_vote(&mut self.buffer, vote),
                Request::Truncate(after, _) => {
                    format::put_truncate(&mut self.buffer, after.map_or(u64::MAX, |index| index))
                }
                Request::Purge(upto, _) => format::put_purge(&mut self.buffer, upto),
                Request::Flush(_) => {}
            }
        }
        // What is committed needs no sync of its own: it rides along.
        let committed = self.index.lock().unwrap().committed;
        if committed != self.committed
            && let Some(id) = &committed
        {
            format::put_committed(&mut self.buffer, id);
        }
        if self.buffer.len() == FRAME_HEADER {
            return Ok(());
        }
        let len = self.buffer.len() as u64;
        let mut file = self.segment.file.clone();
        if self.segment.offset + len > SEGMENT_BYTES && self.segment.frames > 1 {
            self.rotate(requests)?;
            file = self.segment.file.clone();
        }
        format::end_frame(&mut self.buffer, self.segment.frames);
        file.write_at(&self.buffer, self.segment.offset)?;
        let start = Instant::now();
        file.sync()?;
        self.status.synced(start.elapsed());
        self.committed = committed;
        {
            let mut index = self.index.lock().unwrap();
            for (id, start, len) in places {
                let bytes = &self.buffer[start..start + len];
                let offset = self.segment.offset + start as u64;
                index.place(
                    &id,
                    Location {
                        segment: self.segment.number,
                        offset,
                        len: len as u32,
                        crc: crc32fast::hash(bytes),
                    },
                );
            }
            index.evict();
        }
        self.segment.offset += self.buffer.len() as u64;
        self.segment.frames += 1;
        if let Some(last) = last_index {
            self.status.last_index_saved.store(last, Ordering::Relaxed);
        }
        Ok(())
    }

    fn finish(&mut self, requests: impl Iterator<Item = Request>, error: Option<io::Error>) {
        let outcome = || match &error {
            None => Ok(()),
            Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        for request in requests {
            match request {
                Request::Append(_, done) => done.io_completed(outcome()),
                Request::Purge(upto, done) => {
                    self.remove_segments(upto.index);
                    let _ = done.send(outcome());
                }
                Request::Vote(_, done) | Request::Truncate(_, done) | Request::Flush(done) => {
                    let _ = done.send(outcome());
                }
            }
        }
    }

    /// Goes on in a new segment, which begins with all that must be known of the ones before.
    fn rotate(&mut self, pending: &[Request]) -> io::Result<()> {
        let first = pending
            .iter()
            .find_map(|request| match request {
                Request::Append(entries, _) => entries.first().map(|entry| entry.log_id.index),
                _ => None,
            })
            .unwrap_or_else(|| self.index.lock().unwrap().next());
        let head = {
            let index = self.index.lock().unwrap();
            let previous = first
                .checked_sub(1)
                .and_then(|last| index.log_id_at(last))
                .or(index.purged);
            Head {
                meta: self.meta,
                previous,
                vote: index.vote,
                committed: index.committed,
            }
        };
        let next = create_segment(self.disk.as_ref(), &self.dir, self.segment.number + 1, first, &head)?;
        self.index
            .lock()
            .unwrap()
            .segments
            .insert(next.number, next.file.clone());
        self.segment = next;
        Ok(())
    }

    /// Removes segments of which every entry is in a snapshot, but for the `max_wals` newest.
    fn remove_segments(&mut self, upto: u64) {
        let Ok(names) = self.disk.list(&self.dir) else { return };
        let segments: Vec<_> = names
            .iter()
            .filter_map(|name| Some((format::parse_segment_name(name)?, name)))
            .collect();
        let limit = if self.max_wals == 0 {
            0
        } else {
            segments.len().saturating_sub(self.max_wals)
        };
        for pair in segments.windows(2).take(limit) {
            let ((number, _), name) = pair[0];
            let ((_, next_first), _) = pair[1];
            if next_first > upto + 1 || number == self.segment.number {
                break;
            }
            if self.disk.remove(&self.dir.join(name)).is_ok() {
                self.index.lock().unwrap().segments.remove(&number);
                crate::log::info!("fileutil", "purged file {} successfully", self.dir.join(name).display());
            }
        }
    }
}

pub(super) fn create_segment(
    disk: &dyn Disk,
    dir: &std::path::Path,
    number: u64,
    first: u64,
    head: &Head,
) -> io::Result<Segment> {
    let path = dir.join(format::segment_name(number, first));
    let file = disk.open(&path)?;
    file.set_len(0)?;
    if let Err(error) = fill(file.as_ref(), head) {
        drop(file);
        let _ = disk.remove(&path);
        return Err(error);
    }
    let offset = {
        let mut frame = Vec::new();
        write_head(&mut frame, head);
        frame.len() as u64
    };
    disk.sync_dir(dir)?;
    Ok(Segment {
        number,
        file,
        offset,
        frames: 1,
    })
}

fn write_head(frame: &mut Vec<u8>, head: &Head) {
    format::begin_frame(frame);
    format::put_head(frame, head);
    format::end_frame(frame, 0);
}

fn fill(file: &dyn File, head: &Head) -> io::Result<()> {
    let mut size = SEGMENT_BYTES;
    // A small disk gets small segments rather than none.
    while let Err(error) = file.allocate(size) {
        if size <= SMALLEST_SEGMENT_BYTES {
            return Err(error);
        }
        size /= 2;
    }
    let mut frame = Vec::new();
    write_head(&mut frame, head);
    file.write_at(&frame, 0)?;
    file.sync()
}

impl SyncTimes {
    /// Over the newest samples.
    pub fn quantile(&self, quantile: f64) -> f64 {
        let mut samples: Vec<f64> = self.recent.iter().copied().collect();
        samples.sort_by(f64::total_cmp);
        let at = (samples.len() as f64 * quantile) as usize;
        samples
            .get(at.min(samples.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    }

    const KEPT: usize = 1024;

    fn add(&mut self, seconds: f64) {
        self.count += 1;
        self.sum += seconds;
        if self.recent.len() == Self::KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(seconds);
    }
}
