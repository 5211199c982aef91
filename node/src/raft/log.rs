//! The log as openraft sees it: an index in memory, and requests to the writer of `wal`.
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use openraft::storage::{LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::{mpsc, oneshot};

use super::types::{Entry, IoFlushed, LogId, TypeConfig, Vote};
use super::wal::{Index, Opened, Request, SharedWriter, Status};

/// What one read hands to replication at most.
const READ_BYTES: usize = 4 << 20;

#[derive(Clone)]
pub struct Log {
    index: Arc<Mutex<Index>>,
    queue: mpsc::UnboundedSender<Request>,
    writer: SharedWriter,
    status: Arc<Status>,
    inline: bool,
    member: u64,
    /// No other member stores this log.
    alone: Arc<AtomicBool>,
    /// Small appends in a row.
    small_run: u32,
}

/// Short appends on a disk that syncs this fast are written where they arise.
const INLINE_BYTES: usize = 1024;
const INLINE_MICROS: u64 = 400;
const INLINE_RUN: u32 = 8;

impl Log {
    pub fn new(opened: Opened, queue: mpsc::UnboundedSender<Request>, inline: bool, alone: Arc<AtomicBool>) -> Log {
        Log {
            member: opened.meta.member_id,
            alone,
            index: opened.index,
            queue,
            writer: opened.writer,
            status: opened.status,
            inline,
            small_run: 0,
        }
    }

    pub fn index(&self) -> &Arc<Mutex<Index>> {
        &self.index
    }

    /// Returns when everything handed to the log so far is on disk.
    pub async fn flush(&self) -> io::Result<()> {
        self.request(Request::Flush).await
    }

    async fn request(&self, make: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Request) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(make(done))?;
        wait.await.map_err(|_| stopped())?
    }

    fn send(&self, request: Request) -> io::Result<()> {
        self.status.queued.fetch_add(1, Ordering::Relaxed);
        self.queue.send(request).map_err(|_| stopped())
    }

    /// Is it quicker to write this here than to hand it to another thread and wait for its word?
    ///
    /// Only while one small append follows another: under load the thread's overlap is worth more. Never where
    /// others store what this member leads: they get it first, and all disks sync at the same time.
    fn is_quick(&mut self, entries: &[Entry]) -> bool {
        let small = entries.iter().map(super::wal::weight).sum::<usize>() <= INLINE_BYTES;
        self.small_run = if small { self.small_run.saturating_add(1) } else { 0 };
        let sync = self.status.sync_micros.load(Ordering::Relaxed);
        self.inline
            && (self.alone.load(Ordering::Relaxed) || !self.leads())
            && self.small_run > INLINE_RUN
            && (1..INLINE_MICROS).contains(&sync)
            && self.status.queued.load(Ordering::Relaxed) == 0
    }

    fn leads(&self) -> bool {
        let vote = self.index.lock().unwrap().vote;
        vote.is_some_and(|vote| vote.leader_id.voted_for == self.member)
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log's writer has stopped")
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.index.lock().unwrap().read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.index.lock().unwrap().read(start, end, READ_BYTES)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.index.lock().unwrap().vote)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let index = self.index.lock().unwrap();
        Ok(LogState {
            last_purged_log_id: index.purged,
            last_log_id: index.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.index.lock().unwrap().vote = Some(*vote);
        let vote = *vote;
        self.request(|done| Request::Vote(vote, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(id) = committed {
            self.index.lock().unwrap().committed = Some(id);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let index = self.index.lock().unwrap();
        // The record is not synced: it may be ahead of a log whose end was torn.
        Ok(index.committed.min(index.last()))
    }

    async fn append<I>(&mut self, entries: I, callback: IoFlushed) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut index = self.index.lock().unwrap();
            for entry in &entries {
                index.push(entry.clone(), None);
            }
        }
        let quick = self.is_quick(&entries);
        let request = Request::Append(entries, callback);
        if quick {
            let mut requests = vec![request];
            if let Ok(mut writer) = self.writer.try_lock()
                && writer.write(&mut requests)
            {
                return Ok(());
            }
            // No room on the disk: its thread keeps trying.
            return requests.pop().map_or(Ok(()), |request| self.send(request));
        }
        self.send(request)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let after = last_log_id.map(|id| id.index);
        self.index.lock().unwrap().truncate_after(after);
        self.request(|done| Request::Truncate(after, done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.index.lock().unwrap().purge(log_id);
        self.request(|done| Request::Purge(log_id, done)).await
    }
}
