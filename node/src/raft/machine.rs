//! The state machine: takes committed entries in order, changes the key space, tells who waits.
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::{Notify, oneshot, watch};

use super::batch;
use super::clock::Clock;
use super::disk::Disk;
use super::sessions::Sessions;
use super::snapshot::{self, Header, SnapshotFile};
use super::traffic::Traffic;
use super::types::{
    Batch, Entry, LogId, Membership, Peer, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, term_of,
};
use crate::kv::{self, Command, Event, Store, Time};

/// What became of one command.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub result: Result<Arc<Event>, kv::Error>,
    pub raft_index: u64,
    pub raft_term: u64,
}

/// How far the log has been applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub index: u64,
    pub term: u64,
}

/// The state as the rest of the node sees it.
pub struct State {
    pub store: Mutex<Store>,
    pub clock: Clock,
    /// This run of this member: its batches carry it.
    pub session: u64,
    pub waiters: Mutex<HashMap<u64, Vec<oneshot::Sender<Outcome>>>>,
    pub applied: watch::Sender<Applied>,
    /// No other member stores the log.
    pub alone: Arc<AtomicBool>,
    /// The next expiry has changed.
    pub expiry: Notify,
    /// Enough has been applied since the last snapshot for another one.
    pub snapshot_due: Notify,
    snapshot_count: u64,
    since_snapshot: Mutex<SinceSnapshot>,
    pub traffic: Mutex<Traffic>,
    /// How many snapshots were written, and how long it took in all.
    snapshot_times: Mutex<(u64, f64)>,
}

/// What has been applied since the last snapshot.
#[derive(Clone, Copy, Debug, Default)]
struct SinceSnapshot {
    commands: u64,
    bytes: u64,
    /// One is asked for or being written.
    due: bool,
    /// The size of that snapshot. A big one waits until the log has grown by a quarter of it, so that the disk is
    /// not kept busy with snapshots alone.
    snapshot_bytes: u64,
}

impl State {
    pub fn new(store: Store, clock: Clock, session: u64, snapshot_count: u64) -> State {
        State {
            store: Mutex::new(store),
            clock,
            session,
            waiters: Mutex::default(),
            applied: watch::Sender::new(Applied::default()),
            alone: Arc::default(),
            expiry: Notify::new(),
            snapshot_due: Notify::new(),
            snapshot_count,
            since_snapshot: Mutex::default(),
            traffic: Mutex::default(),
            snapshot_times: Mutex::default(),
        }
    }

    pub fn snapshot_times(&self) -> (u64, f64) {
        *self.snapshot_times.lock().unwrap()
    }

    fn count_applied(&self, commands: u64, bytes: u64) {
        let mut since = self.since_snapshot.lock().unwrap();
        since.commands += commands;
        since.bytes += bytes;
        if !since.due && since.commands >= self.snapshot_count && since.bytes >= since.snapshot_bytes / 4 {
            since.due = true;
            self.snapshot_due.notify_one();
        }
    }

    fn begin_snapshot(&self) {
        let mut since = self.since_snapshot.lock().unwrap();
        *since = SinceSnapshot {
            due: true,
            snapshot_bytes: since.snapshot_bytes,
            ..SinceSnapshot::default()
        };
    }

    fn end_snapshot(&self, bytes: u64) {
        let mut since = self.since_snapshot.lock().unwrap();
        since.due = false;
        since.snapshot_bytes = bytes;
    }

    /// Returns when the log is applied up to `index`.
    pub async fn wait_applied(&self, index: u64) {
        let _ = self
            .applied
            .subscribe()
            .wait_for(|applied| applied.index >= index)
            .await;
    }
}

pub struct Machine {
    state: Arc<State>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    history: usize,
    max_snapshots: usize,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    sessions: Sessions,
    time: Time,
    next_expiry: Option<Time>,
}

impl Machine {
    /// Begins with what the newest snapshot holds.
    pub fn new(
        state: Arc<State>,
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        history: usize,
        max_snapshots: usize,
        header: Option<Header>,
    ) -> Machine {
        let mut machine = Machine {
            state,
            disk,
            dir,
            history,
            max_snapshots,
            last_applied: None,
            membership: StoredMembership::default(),
            sessions: Sessions::default(),
            time: 0,
            next_expiry: None,
        };
        if let Some(header) = header {
            machine.adopt(header);
        }
        machine
    }

    fn adopt(&mut self, header: Header) {
        self.last_applied = header.meta.last_log_id;
        self.follow(header.meta.last_membership);
        self.sessions = header.sessions;
        self.time = header.time;
        self.state.clock.not_before(header.time);
        if let Some(id) = &self.last_applied {
            self.state.applied.send_replace(Applied {
                index: id.index,
                term: term_of(id),
            });
        }
        self.next_expiry = self.state.store.lock().unwrap().next_expiry();
        self.state.expiry.notify_one();
    }

    pub(super) fn apply_entry(&mut self, entry: Entry) {
        let id = entry.log_id;
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(batch) => self.apply_batch(batch, &id),
            EntryPayload::Membership(membership) => {
                apply_membership(&mut self.state.store.lock().unwrap(), membership, self.time);
                self.follow(StoredMembership::new(Some(id), membership.clone()));
            }
        }
        self.last_applied = Some(id);
    }

    fn follow(&mut self, membership: StoredMembership) {
        let alone = membership.membership().nodes().count() == 1;
        self.state.alone.store(alone, Ordering::Relaxed);
        self.membership = membership;
    }

    fn apply_batch(&mut self, batch: &Batch, id: &LogId) {
        let Some(header) = batch::header(&batch.0) else {
            // Checked where it entered the cluster; the log's checksums hold since.
            crate::log::error!("raft", "entry {} is not a batch this version knows", id.index);
            return;
        };
        self.time = self.time.max(header.time);
        self.state.clock.not_before(self.time);
        let first_time = self.sessions.admit(&header, id.index);
        let mut outcomes = Vec::new();
        let mine = header.session == self.state.session;
        {
            let mut store = self.state.store.lock().unwrap();
            store.expire(self.time);
            if first_time {
                outcomes.reserve(if mine { header.count as usize } else { 0 });
                for command in batch::commands(batch) {
                    let result = store.apply(&command, self.time);
                    if mine {
                        outcomes.push(Outcome {
                            result,
                            raft_index: id.index,
                            raft_term: term_of(id),
                        });
                    }
                }
            }
            let next_expiry = store.next_expiry();
            if next_expiry != self.next_expiry {
                self.next_expiry = next_expiry;
                self.state.expiry.notify_one();
            }
        }
        self.state.count_applied(u64::from(header.count), batch.0.len() as u64);
        if mine && first_time {
            let waiters = self.state.waiters.lock().unwrap().remove(&header.number);
            for (waiter, outcome) in waiters.into_iter().flatten().zip(outcomes) {
                let _ = waiter.send(outcome);
            }
        }
    }

    /// No other members from here on.
    pub(super) fn reduce_to(&mut self, membership: Membership) {
        apply_membership(&mut self.state.store.lock().unwrap(), &membership, self.time);
        self.follow(StoredMembership::new(self.last_applied, membership));
    }

    /// All of the state; it shares its parts with the live one.
    pub(super) fn copy(&self) -> (Header, kv::Snapshot) {
        (self.header(), self.state.store.lock().unwrap().snapshot())
    }

    pub(super) fn header(&self) -> Header {
        let meta = SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
        };
        Header {
            meta,
            time: self.time,
            sessions: self.sessions.clone(),
        }
    }
}

/// The members under `/0/members`, as etcd keeps them, follow the membership that consensus goes by.
fn apply_membership(store: &mut Store, membership: &Membership, now: Time) {
    let key = |id: u64, rest: &str| Bytes::from(format!("/0/members/{id:x}{rest}"));
    let wanted: BTreeMap<u64, &Peer> = membership.nodes().map(|(id, peer)| (*id, peer)).collect();
    let mut known: BTreeMap<u64, Bytes> = BTreeMap::new();
    if let Ok(members) = store.get(b"/0/members", now) {
        for (name, member) in members.children() {
            let id = std::str::from_utf8(name)
                .ok()
                .and_then(|name| u64::from_str_radix(name, 16).ok());
            let attributes = member.children().find(|(name, _)| *name == b"raftAttributes");
            if let (Some(id), Some((_, attributes))) = (id, attributes) {
                known.insert(id, Bytes::copy_from_slice(attributes.value().unwrap_or_default()));
            }
        }
    }
    for (id, peer) in &wanted {
        let value = Bytes::from(serde_json::json!({ "peerURLs": peer.peer_urls }).to_string());
        if known.get(id) != Some(&value) {
            let path = key(*id, "/raftAttributes");
            let _ = store.apply(
                &Command::Set {
                    path,
                    dir: false,
                    value,
                    ttl: None,
                    refresh: false,
                },
                now,
            );
        }
    }
    for id in known.keys().filter(|id| !wanted.contains_key(id)) {
        let _ = store.apply(
            &Command::Delete {
                path: key(*id, ""),
                dir: true,
                recursive: true,
            },
            now,
        );
        let path = Bytes::from(format!("/0/removed_members/{id:x}"));
        let _ = store.apply(
            &Command::Create {
                path,
                dir: false,
                value: Bytes::from_static(b"removed"),
                ttl: None,
                unique: false,
            },
            now,
        );
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            // A gap here would make this member differ from the others for ever: better to stop.
            let expected = self.last_applied.map_or(0, |id| id.index + 1);
            if entry.log_id.index != expected {
                let what = format!("entry {} is to be applied where {expected} is next", entry.log_id.index);
                crate::log::critical!("raft", "{what}");
                return Err(io::Error::other(what));
            }
            let applied = Applied {
                index: entry.log_id.index,
                term: term_of(&entry.log_id),
            };
            self.apply_entry(entry);
            self.state.applied.send_replace(applied);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let (header, state) = self.copy();
        self.state.begin_snapshot();
        Builder {
            state: self.state.clone(),
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            header,
            snapshot: Some(state),
            max_snapshots: self.max_snapshots,
        }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, file: SnapshotFile) -> Result<(), io::Error> {
        let (result, wait) = oneshot::channel();
        let (disk, path, history) = (self.disk.clone(), file.path.clone(), self.history);
        let work = move || {
            let _ = result.send(snapshot::read(disk.as_ref(), &path, history));
        };
        self.disk.blocking(Box::new(work)).await;
        let (header, contents) = wait.await.map_err(io::Error::other)??;
        let id = header
            .meta
            .last_log_id
            .ok_or_else(|| io::Error::other("a snapshot of nothing"))?;
        self.disk.rename(&file.path, &self.dir.join(snapshot::name(&id)))?;
        self.disk.sync_dir(&self.dir)?;
        self.state.store.lock().unwrap().restore(contents);
        self.state.begin_snapshot();
        self.state.end_snapshot(0);
        crate::log::info!(
            "etcdserver",
            "recovered store from a snapshot of the leader at index {}",
            id.index
        );
        self.adopt(header);
        snapshot::remove_old(self.disk.as_ref(), &self.dir, self.max_snapshots);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let Some(file) = snapshot::current(&self.disk, &self.dir)? else {
            return Ok(None);
        };
        let (header, _) = snapshot::read_header(self.disk.as_ref(), &file.path)?;
        Ok(Some(Snapshot {
            meta: header.meta,
            snapshot: file,
        }))
    }
}

/// Writes one snapshot while writes go on: what it writes is a clone that shares its parts with the live store.
pub struct Builder {
    state: Arc<State>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    header: Header,
    snapshot: Option<kv::Snapshot>,
    max_snapshots: usize,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let mut warned = false;
        let start = tokio::time::Instant::now();
        loop {
            let (result, wait) = oneshot::channel();
            let (disk, dir, header) = (self.disk.clone(), self.dir.clone(), self.header.clone());
            let contents = self
                .snapshot
                .take()
                .ok_or_else(|| io::Error::other("a snapshot is built once"))?;
            let work = move || {
                let outcome = snapshot::write(&disk, &dir, &header, &contents);
                let _ = result.send((outcome, contents));
            };
            self.disk.blocking(Box::new(work)).await;
            let (outcome, contents) = wait.await.map_err(io::Error::other)?;
            match outcome {
                Ok(file) => {
                    let bytes = self.disk.open(&file.path)?.size()?;
                    self.state.end_snapshot(bytes);
                    let mut times = self.state.snapshot_times.lock().unwrap();
                    *times = (times.0 + 1, times.1 + start.elapsed().as_secs_f64());
                    drop(times);
                    let index = self.header.meta.last_log_id.map_or(0, |id| id.index);
                    crate::log::info!("etcdserver", "saved snapshot at index {index}");
                    snapshot::remove_old(self.disk.as_ref(), &self.dir, self.max_snapshots);
                    return Ok(Snapshot {
                        meta: self.header.meta.clone(),
                        snapshot: file,
                    });
                }
                // The log still has everything: a snapshot can wait for room.
                Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                    if !warned {
                        crate::log::error!(
                            "snap",
                            "no space left for a snapshot in {}: trying again until there is",
                            self.dir.display()
                        );
                        warned = true;
                    }
                    self.snapshot = Some(contents);
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
