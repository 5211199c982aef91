//! One running member: what the server starts, talks to and stops.
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use openraft::Instant as _;
use openraft::SnapshotPolicy;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::clock::Clock;
use super::disk::{Disk, File};
use super::log::Log;
use super::machine::{Machine, Outcome, State};
use super::network::Network;
use super::propose::{self, Proposal, ProposeError};
use super::rpc::{self, Class, SnapshotPart, Transport};
use super::snapshot::{self, SnapshotFile};
use super::types::{Batch, Peer, Raft, Snapshot, StoredMembership, TypeConfig};
use super::wal::{self, Meta, OpenError};
use super::{batch, change, read};
use crate::kv::{Command, Store, Time};

/// Commands that may queue up for a batch before clients have to wait to hand theirs in.
const QUEUE: usize = 16 * 1024;

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub snap_dir: PathBuf,
    pub wal_dir: PathBuf,
    pub heartbeat: Duration,
    pub election: Duration,
    pub snapshot_count: u64,
    /// Entries kept behind a snapshot for members that lag.
    pub catch_up_entries: u64,
    pub max_snapshots: usize,
    pub max_wals: usize,
    pub history: usize,
    /// The wall clock at the start, where it is not the machine's.
    pub wall: Option<Time>,
    /// A number no other run of a member has.
    pub session: u64,
    /// Cut a log at the damage in its last segment instead of refusing it: a copy made of a log in use may end so.
    pub salvage: bool,
}

const MAX_APPEND_ENTRIES: u64 = 1024;
/// How often a member with a full disk looks for room, and for who can lead in its place.
const ROOM: Duration = Duration::from_millis(50);

pub struct Member {
    pub id: u64,
    pub raft: Raft,
    pub state: Arc<State>,
    pub log: Log,
    pub disk_status: Arc<wal::Status>,
    pub(super) options: Options,
    transport: Arc<dyn Transport>,
    pub(super) disk: Arc<dyn Disk>,
    proposals: mpsc::Sender<Proposal>,
    readers: mpsc::UnboundedSender<oneshot::Sender<()>>,
    incoming: Mutex<Option<Incoming>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// Tells of changes in who leads and who is a member.
pub struct News(openraft::alias::WatchReceiverOf<TypeConfig, openraft::metrics::RaftServerMetrics<TypeConfig>>);

impl News {
    /// False: consensus has stopped.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// A snapshot that is being received.
struct Incoming {
    file: Arc<dyn File>,
    path: PathBuf,
    offset: u64,
}

/// What is on a member's disk before it runs.
pub struct Opened {
    pub(super) wal: wal::Opened,
    pub(super) header: Option<snapshot::Header>,
    pub(super) store: Store,
}

impl Opened {
    pub fn meta(&self) -> Meta {
        self.wal.meta
    }
}

/// Reads a member's disk. None: nothing was ever written there.
pub fn open(disk: &Arc<dyn Disk>, options: &Options) -> Result<Option<Opened>, OpenError> {
    disk.create_dir(&options.snap_dir)?;
    disk.create_dir(&options.wal_dir)?;
    let snapshot = snapshot::newest(disk, &options.snap_dir, options.history)?;
    let covered = snapshot.as_ref().and_then(|(header, _)| header.meta.last_log_id);
    let Some(wal) = wal::open(
        disk.clone(),
        &options.wal_dir,
        covered,
        options.max_wals,
        options.salvage,
    )?
    else {
        return Ok(None);
    };
    let purged = wal.index.lock().unwrap().purged;
    if purged > covered {
        let (have, need) = (covered.map_or(0, |id| id.index), purged.map_or(0, |id| id.index));
        let what = format!(
            "no good snapshot covers what was purged from the log (the newest is at index {have}, the log begins after {need}): restore this member from a backup, or remove its data directory and let it join the cluster again"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
    }
    let mut store = Store::new(options.history);
    let header = snapshot.map(|(header, contents)| {
        store.restore(contents);
        header
    });
    Ok(Some(Opened { wal, header, store }))
}

/// Makes the disk of a member that never ran.
pub fn create(disk: &Arc<dyn Disk>, options: &Options, meta: Meta) -> io::Result<Opened> {
    let wal = wal::create(disk.clone(), &options.wal_dir, meta, options.max_wals)?;
    Ok(Opened {
        wal,
        header: None,
        store: Store::new(options.history),
    })
}

impl Member {
    pub async fn start(
        opened: Opened,
        options: Options,
        disk: Arc<dyn Disk>,
        transport: Arc<dyn Transport>,
    ) -> io::Result<Arc<Member>> {
        let id = opened.wal.meta.member_id;
        let state = Arc::new(State::new(
            opened.store,
            Clock::new(options.wall),
            options.session,
            options.snapshot_count,
        ));
        let machine = Machine::new(
            state.clone(),
            disk.clone(),
            options.snap_dir.clone(),
            options.history,
            options.max_snapshots,
            opened.header,
        );
        let (write, requests) = mpsc::unbounded_channel();
        let disk_status = opened.wal.status.clone();
        disk.run_writer(opened.wal.writer.clone(), requests);
        let log = Log::new(opened.wal, write, disk.serves_inline(), state.alone.clone());
        let network = Network {
            transport: transport.clone(),
            state: state.clone(),
        };
        let config = raft_config(&options).map_err(io::Error::other)?;
        let raft = Raft::new(id, Arc::new(config), network, log.clone(), machine)
            .await
            .map_err(io::Error::other)?;
        if raft.voter_ids().eq([id]) {
            // Nobody else to wait for.
            raft.trigger().elect(false).await.map_err(io::Error::other)?;
        }
        let (proposals, queue) = mpsc::channel(QUEUE);
        let (readers, reads) = mpsc::unbounded_channel();
        let member = Arc::new(Member {
            id,
            raft,
            state,
            log,
            disk_status,
            options,
            transport,
            disk,
            proposals,
            readers,
            incoming: Mutex::default(),
            tasks: Mutex::default(),
        });
        let tasks = [
            tokio::spawn(propose::run(member.clone(), queue)),
            tokio::spawn(read::run(member.clone(), reads)),
            tokio::spawn(expire(member.clone())),
            tokio::spawn(take_snapshots(member.clone())),
            tokio::spawn(change::promote_learners(member.clone())),
            tokio::spawn(make_way(member.clone())),
        ];
        *member.tasks.lock().unwrap() = tasks.iter().map(|task| task.abort_handle()).collect();
        Ok(member)
    }

    /// Begins a cluster. Every first member does it, with the same members.
    pub async fn initialize(self: &Arc<Member>, members: BTreeMap<u64, Peer>) -> io::Result<()> {
        let first = members.keys().next() == Some(&self.id);
        self.raft.initialize(members).await.map_err(io::Error::other)?;
        if first {
            let task = tokio::spawn(self.clone().campaign());
            self.tasks.lock().unwrap().push(task.abort_handle());
        }
        Ok(())
    }

    /// The members of a new cluster all begin by voting for themselves. One of them asks the others again until
    /// somebody leads, so that they need not wait for an election timeout, nor for who starts a moment later.
    async fn campaign(self: Arc<Member>) {
        let (pause, until) = (self.options.election / 20, Instant::now() + 2 * self.options.election);
        while Instant::now() < until {
            tokio::time::sleep(pause).await;
            if self.leader().is_some() || self.raft.trigger().elect(true).await.is_err() {
                return;
            }
        }
    }

    /// Has a command applied, here or at the leader, and waits until it is applied here.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        if self.disk_status.is_full() {
            return Err(ProposeError::NoSpace);
        }
        let (outcome, wait) = oneshot::channel();
        let send_and_wait = async {
            self.proposals
                .send(Proposal { command, outcome })
                .await
                .map_err(|_| ProposeError::Stopped)?;
            wait.await.map_err(|_| ProposeError::Timeout)
        };
        let result = tokio::time::timeout(self.request_timeout(), send_and_wait).await;
        match result.unwrap_or(Err(ProposeError::Timeout)) {
            Err(ProposeError::Timeout) if self.disk_status.is_full() => Err(ProposeError::NoSpace),
            other => other,
        }
    }

    /// Returns when a read here sees every write that was acknowledged before the call.
    pub async fn read_index(&self) -> Result<(), ProposeError> {
        let (reader, wait) = oneshot::channel();
        self.readers.send(reader).map_err(|_| ProposeError::Stopped)?;
        match tokio::time::timeout(self.request_timeout(), wait).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(ProposeError::Timeout),
        }
    }

    pub fn news(&self) -> News {
        News(self.raft.server_metrics())
    }

    pub fn leader(&self) -> Option<u64> {
        self.raft.server_metrics().borrow_watched().current_leader
    }

    /// Returns when another member leads, or none. A call to a leader that is gone may hang long after that.
    pub async fn leader_is_not(&self, leader: u64) {
        let mut news = self.raft.server_metrics();
        while news.borrow_watched().current_leader == Some(leader) {
            if news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns when there is news of a leader, or soon.
    pub async fn look_again(&self) {
        const SOON: Duration = Duration::from_millis(20);
        let change = async {
            match self.leader() {
                Some(leader) => self.leader_is_not(leader).await,
                None => {
                    let mut news = self.news();
                    while self.leader().is_none() && news.changed().await {}
                    // Consensus has stopped: there will be no news.
                    if self.leader().is_none() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        };
        let _ = tokio::time::timeout(SOON, change).await;
    }

    pub fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }

    pub fn term(&self) -> u64 {
        self.raft.server_metrics().borrow_watched().vote.leader_id.term
    }

    pub fn membership(&self) -> Arc<StoredMembership> {
        self.raft.server_metrics().borrow_watched().membership_config.clone()
    }

    /// Who can lead in this leader's place and has most of its log; nobody, where no quorum answers without it.
    pub(super) fn heir(&self) -> Option<u64> {
        let watched = self.raft.metrics();
        let metrics = watched.borrow_watched();
        let (heard, logs) = (metrics.heartbeat.as_ref()?, metrics.replication.as_ref()?);
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let answers = |id: &&u64| {
            let last = heard.get(id).copied().flatten();
            **id != self.id && last.is_some_and(|last| last.elapsed() < self.options.election)
        };
        let others: Vec<&u64> = voters.iter().filter(answers).collect();
        let enough = others.len() > voters.len() / 2;
        let heir = others.into_iter().max_by_key(|id| logs.get(id).copied().flatten());
        heir.copied().filter(|_| enough)
    }

    /// Has a quorum of the members answered this leader lately?
    pub fn reaches_quorum(&self) -> bool {
        #[allow(deprecated)]
        let silent = self.raft.metrics().borrow_watched().millis_since_quorum_ack;
        silent.is_some_and(|millis| u128::from(millis) < self.options.election.as_millis())
    }

    /// What etcd gives a request: 5 s for a disk, and two elections.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.options.election
    }

    pub async fn call(&self, to: u64, class: Class, request: Bytes) -> io::Result<Bytes> {
        let peer = self.membership().membership().get_node(&to).cloned();
        let peer = peer.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no member {to:x}")))?;
        self.transport.call(to, &peer, class, request).await
    }

    /// Answers a request of another member.
    pub async fn handle(&self, mut request: Bytes) -> Bytes {
        if request.is_empty() {
            return rpc::answer::<(), _>(Err("an empty request"));
        }
        let kind = request[0];
        let body = request.split_off(1);
        match kind {
            rpc::APPEND => match rpc::parse_append(body) {
                Ok((time, request)) => {
                    self.state.clock.hear(time);
                    self.state.traffic.lock().unwrap().appends_received += 1;
                    rpc::answer(self.raft.append_entries(request).await)
                }
                Err(error) => rpc::answer::<(), _>(Err(error)),
            },
            rpc::VOTE => match rpc::parse(&body) {
                Ok(request) => rpc::answer(self.raft.vote(request).await),
                Err(error) => rpc::answer::<(), _>(Err(error)),
            },
            rpc::PRE_VOTE => match rpc::parse(&body) {
                Ok(request) => rpc::answer(self.raft.pre_vote(request).await),
                Err(error) => rpc::answer::<(), _>(Err(error)),
            },
            rpc::TRANSFER => match rpc::parse(&body) {
                Ok(request) => rpc::answer(self.raft.handle_transfer_leader(request).await),
                Err(error) => rpc::answer::<(), _>(Err(error)),
            },
            rpc::SNAPSHOT => match rpc::parse(&body) {
                Ok(part) => rpc::answer(self.receive(part).await),
                Err(error) => rpc::answer::<(), _>(Err(error)),
            },
            rpc::FORWARD if batch::header(&body).is_some() && self.raft.is_leader() => {
                rpc::answer::<_, io::Error>(Ok(propose::accept(self, body).await))
            }
            rpc::FORWARD => rpc::answer::<_, io::Error>(Ok(rpc::Forwarded::NotLeader)),
            rpc::READ_INDEX => rpc::answer::<_, io::Error>(Ok(read::confirm(self).await)),
            rpc::CHANGE => match rpc::parse(&body) {
                Ok(change) => rpc::answer(change::make(self, change).await),
                Err(error) => rpc::answer::<(), _>(Err(error)),
            },
            _ => rpc::answer::<(), _>(Err(format!(
                "a request of kind {kind}, which this version does not know"
            ))),
        }
    }

    async fn receive(&self, part: SnapshotPart) -> io::Result<openraft::raft::SnapshotResponse<TypeConfig>> {
        let SnapshotPart {
            vote,
            meta,
            offset,
            data,
            last,
        } = part;
        let path = {
            let mut incoming = self.incoming.lock().unwrap();
            if offset == 0 {
                let path = self.options.snap_dir.join("incoming.tmp");
                let file = self.disk.open(&path)?;
                file.set_len(0)?;
                *incoming = Some(Incoming { file, path, offset: 0 });
            }
            let Some(receiving) = incoming.as_mut().filter(|receiving| receiving.offset == offset) else {
                return Err(io::Error::other("a piece of a snapshot out of order"));
            };
            receiving.file.write_at(&data, offset)?;
            receiving.offset += data.len() as u64;
            if last {
                receiving.file.sync()?;
            }
            receiving.path.clone()
        };
        if !last {
            return Ok(openraft::raft::SnapshotResponse::new(vote));
        }
        *self.incoming.lock().unwrap() = None;
        // A damaged one must not reach openraft, which takes its storage's errors for final.
        snapshot::check(&self.disk, &path).await?;
        let snapshot = Snapshot {
            meta,
            snapshot: SnapshotFile {
                disk: self.disk.clone(),
                path,
            },
        };
        self.raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(io::Error::other)
    }

    /// Stops, with everything that was accepted on disk. What waits for room on a full disk was not accepted.
    pub async fn shutdown(&self) {
        let written = async {
            let _ = self.raft.shutdown().await;
            let _ = self.log.flush().await;
        };
        let full = async {
            while !self.disk_status.is_full() {
                tokio::time::sleep(ROOM).await;
            }
        };
        tokio::select! {
            () = written => {}
            () = full => {}
        }
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
    }
}

fn raft_config(options: &Options) -> Result<openraft::Config, openraft::ConfigError> {
    let election = options.election.as_millis() as u64;
    openraft::Config {
        cluster_name: "etcd".into(),
        heartbeat_interval: options.heartbeat.as_millis() as u64,
        // openraft waits for the longer of the two, the leader's lease, and then for a time between them: a silent
        // leader is replaced after 1.5 to 2 election timeouts, within etcd's 1 to 2.
        election_timeout_min: election / 2,
        election_timeout_max: election,
        enable_pre_vote: Some(true),
        // A leader sends entries while its own disk still writes them. After a crash it may have lost some that the
        // others acknowledged; to go on in the same term would put other entries under their ids.
        enable_leader_restore: Some(false),
        max_payload_entries: MAX_APPEND_ENTRIES,
        api_channel_size: Some(1024),
        notification_channel_size: Some(1024),
        api_batch_capacity: 256,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: options.catch_up_entries,
        ..openraft::Config::default()
    }
    .validate()
}

/// The leader has overdue keys expire, at their time.
async fn expire(member: Arc<Member>) {
    /// How soon to look again at an overdue key that is another member's to expire.
    const LOOK_AGAIN: Duration = Duration::from_millis(50);
    loop {
        let next = member.state.store.lock().unwrap().next_expiry();
        let Some(next) = next else {
            member.state.expiry.notified().await;
            continue;
        };
        let now = member.state.clock.now();
        if next > now {
            let _ = tokio::time::timeout(Duration::from_nanos(next - now), member.state.expiry.notified()).await;
            continue;
        }
        let expired = member.is_leader() && {
            // An entry with nothing but the time: whatever is due by then goes.
            let bytes = batch::Builder::new(0, 0).finish(0);
            let write = member.raft.client_write(Batch(batch::stamp(bytes, now).0));
            tokio::time::timeout(member.request_timeout(), write)
                .await
                .is_ok_and(|result| result.is_ok())
        };
        if !expired {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

async fn take_snapshots(member: Arc<Member>) {
    loop {
        member.state.snapshot_due.notified().await;
        if member.raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

/// A leader whose disk is full lets another one lead: what it cannot write itself, nobody could have written.
async fn make_way(member: Arc<Member>) {
    loop {
        member.disk_status.filled.notified().await;
        let mut left = false;
        while member.disk_status.is_full() {
            if !left
                && member.is_leader()
                && let Some(heir) = member.heir()
            {
                crate::log::warning!("raft", "{:x} leaves the lead to {heir:x}", member.id);
                if member.raft.trigger().transfer_leader(heir).await.is_err() {
                    return;
                }
                left = true;
            }
            tokio::time::sleep(ROOM).await;
        }
    }
}
