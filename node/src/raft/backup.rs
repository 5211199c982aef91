//! Going on alone with what one disk holds: `--force-new-cluster`, and copies that can be started elsewhere.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use openraft::EntryPayload;
use tokio::sync::oneshot;

use super::clock::Clock;
use super::disk::{Disk, File, OsDisk};
use super::machine::{Machine, State};
use super::member::{self, Member, Opened, Options};
use super::snapshot::{self, Header};
use super::types::{Entry, LogId, Membership, Peer, log_id, term_of, vote_after};
use super::wal::{self, Index, Meta, OpenError};
use crate::kv::{self, Store};

/// What a member that goes on alone is reached at until somebody says otherwise, as etcd has it.
const DEFAULT_PEER_URLS: [&str; 2] = ["http://localhost:2380", "http://localhost:7001"];
/// Entries read from the log at a time.
const READ_BYTES: usize = 4 << 20;
/// Events that a copy remembers for watchers who ask for the past.
const HISTORY: usize = 1000;
/// How often a copy is begun again because files were removed meanwhile.
const TRIES: usize = 10;

/// Makes a member the only one of its cluster. Everything in its log counts: whatever was acknowledged with its help
/// is in there.
pub fn go_alone(opened: Opened, options: &Options, disk: &Arc<dyn Disk>, peer: Peer) -> io::Result<Opened> {
    let member = opened.meta().member_id;
    let Opened { wal, header, store } = opened;
    let (header, store, last) = alone(disk, options, header, store, &wal.index.lock().unwrap(), (member, peer))?;
    snapshot::write(disk, &options.snap_dir, &header, &store.snapshot())?;
    wal.drop_entries(last)?;
    crate::log::warning!(
        "etcdserver",
        "forced a new cluster: member {member:x} goes on alone with everything up to index {}",
        last.index
    );
    Ok(Opened {
        wal,
        header: Some(header),
        store,
    })
}

/// The state after the whole log, with one member.
fn alone(
    disk: &Arc<dyn Disk>,
    options: &Options,
    header: Option<Header>,
    store: Store,
    index: &Index,
    member: (u64, Peer),
) -> io::Result<(Header, Store, LogId)> {
    let clock = Clock::new(options.wall);
    let state = Arc::new(State::new(store, clock, options.session, u64::MAX));
    let mut next = header
        .as_ref()
        .and_then(|header| header.meta.last_log_id)
        .map_or(0, |id| id.index + 1);
    let mut machine = Machine::new(
        state.clone(),
        disk.clone(),
        options.snap_dir.clone(),
        options.history,
        options.max_snapshots,
        header,
    );
    loop {
        let entries = index.read(next, u64::MAX, READ_BYTES)?;
        let Some(last) = entries.last() else { break };
        next = last.log_id.index + 1;
        entries.into_iter().for_each(|entry| machine.apply_entry(entry));
    }
    machine.reduce_to(only(member)?);
    let header = machine.header();
    let last = header.meta.last_log_id.ok_or_else(nothing_there)?;
    let store = std::mem::replace(&mut *state.store.lock().unwrap(), Store::new(options.history));
    Ok((header, store, last))
}

impl Member {
    /// A copy of everything that was acknowledged so far, in a file that has no name any more.
    pub async fn backup(&self) -> io::Result<Arc<dyn File>> {
        self.read_index()
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no leader has confirmed what is acknowledged"))?;
        let (header, contents) = self.raft.with_state_machine(copy_of).await.map_err(io::Error::other)?;
        let (result, wait) = oneshot::channel();
        let (disk, path) = (
            self.disk.clone(),
            self.options
                .snap_dir
                .join(format!("backup-{:016x}.tmp", rand::random::<u64>())),
        );
        let work = move || {
            let made = snapshot::write_to(disk.as_ref(), &path, &header, &contents).and_then(|()| disk.open(&path));
            let removed = disk.remove(&path);
            let _ = result.send(made.and_then(|file| removed.map(|()| file)));
        };
        self.disk.blocking(Box::new(work)).await;
        wait.await.map_err(io::Error::other)?
    }
}

fn copy_of(machine: &mut Machine) -> Pin<Box<dyn Future<Output = (Header, kv::Snapshot)> + Send + '_>> {
    Box::pin(async move { machine.copy() })
}

/// A data directory, and its log where that has one of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataDir {
    pub data_dir: PathBuf,
    pub wal_dir: Option<PathBuf>,
}

impl DataDir {
    pub fn snap(&self) -> PathBuf {
        self.data_dir.join("member/snap")
    }

    pub fn wal(&self) -> PathBuf {
        self.wal_dir.clone().unwrap_or_else(|| self.data_dir.join("member/wal"))
    }

    /// To read what may be a copy of files in use.
    fn options(&self) -> Options {
        Options {
            snap_dir: self.snap(),
            wal_dir: self.wal(),
            salvage: true,
            history: HISTORY,
            ..Options::default()
        }
    }
}

/// Copies a data directory, also one in use: what is acknowledged when this is called is in the copy. The copy is a
/// member of its own, alone in a new cluster, so that it can never be taken for the one it was made of.
pub fn backup(from: &DataDir, to: &DataDir) -> io::Result<()> {
    let scratch = Scratch::new(to)?;
    let copied = DataDir {
        data_dir: scratch.0.clone(),
        wal_dir: None,
    };
    copy_until_whole(from, &copied)?;
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    match member::open(&disk, &copied.options()) {
        Ok(Some(opened)) => {
            let index = opened.wal.index.lock().unwrap();
            begin(to, opened.header, opened.store, &index)
        }
        Ok(None) => Err(not_found(&from.wal())),
        Err(OpenError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
    }
}

/// Makes a data directory of what a running member sends at /v2/backup. `fetch` writes that to the path it is given.
pub async fn backup_online(to: &DataDir, fetch: impl AsyncFnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let scratch = Scratch::new(to)?;
    let file = scratch.0.join("fetched");
    fetch(&file).await?;
    let (header, contents) = snapshot::read(&OsDisk, &file, HISTORY)?;
    let mut store = Store::new(HISTORY);
    store.restore(contents);
    begin(to, Some(header), store, &Index::default())
}

/// A directory inside the target that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(to: &DataDir) -> io::Result<Scratch> {
        must_be_empty(&to.snap())?;
        must_be_empty(&to.wal())?;
        std::fs::create_dir_all(&to.data_dir)?;
        let path = to.data_dir.join(format!(".backup-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes the disk of a new member that is alone with this state: a snapshot of it, or where there has been none yet
/// the log as it is.
fn begin(to: &DataDir, header: Option<Header>, store: Store, index: &Index) -> io::Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let meta = Meta {
        member_id: fresh_id(),
        cluster_id: fresh_id(),
    };
    let peer = Peer {
        peer_urls: DEFAULT_PEER_URLS.map(str::to_string).to_vec(),
    };
    disk.create_dir(&to.snap())?;
    disk.create_dir(&to.wal())?;
    if header.is_none() {
        let log = wal::create(disk, &to.wal(), meta, 0)?;
        return copy_entries(index, &log, (meta.member_id, peer));
    }
    let (header, store, last) = alone(&disk, &to.options(), header, store, index, (meta.member_id, peer))?;
    snapshot::write(&disk, &to.snap(), &header, &store.snapshot())?;
    wal::create_after(disk, &to.wal(), meta, last)
}

/// Copies a log, and ends it with this member as the only one.
fn copy_entries(from: &Index, to: &wal::Opened, member: (u64, Peer)) -> io::Result<()> {
    let mut last = None;
    loop {
        let next = last.map_or(0, |id: LogId| id.index + 1);
        let entries = from.read(next, u64::MAX, READ_BYTES)?;
        let Some(entry) = entries.last() else { break };
        last = Some(entry.log_id);
        to.append(entries)?;
    }
    let last = last.ok_or_else(nothing_there)?;
    to.vote(vote_after(last, member.0))?;
    to.append(vec![Entry {
        log_id: log_id(term_of(&last), last.index + 1),
        payload: EntryPayload::Membership(only(member)?),
    }])
}

fn only((member, peer): (u64, Peer)) -> io::Result<Membership> {
    let nodes = BTreeMap::from([(member, peer)]);
    Membership::new(vec![BTreeSet::from([member])], nodes).map_err(io::Error::other)
}

fn nothing_there() -> io::Error {
    let what = "nothing was ever written here: there is no cluster to go on with";
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn must_be_empty(dir: &Path) -> io::Result<()> {
    let what = format!(
        "{} is not empty: give a directory that does not exist yet",
        dir.display()
    );
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(io::Error::new(io::ErrorKind::AlreadyExists, what)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The running member may remove old files between the listing and the copy: then once more.
fn copy_until_whole(from: &DataDir, to: &DataDir) -> io::Result<()> {
    for _ in 1..TRIES {
        match copy(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && from.wal().is_dir() => continue,
            other => return other,
        }
    }
    copy(from, to)
}

fn copy(from: &DataDir, to: &DataDir) -> io::Result<()> {
    // Snapshots first: the log that is copied afterwards reaches back to them.
    for (from, to, suffix) in [(from.snap(), to.snap(), ".snap"), (from.wal(), to.wal(), ".wal")] {
        let entries = std::fs::read_dir(&from).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_found(&from),
            _ => error,
        })?;
        if to.exists() {
            std::fs::remove_dir_all(&to)?;
        }
        std::fs::create_dir_all(&to)?;
        for entry in entries {
            let name = entry?.file_name();
            if name.to_string_lossy().ends_with(suffix) {
                std::fs::copy(from.join(&name), to.join(&name))?;
            }
        }
    }
    Ok(())
}

fn not_found(dir: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("there is no etcd data in {}", dir.display()),
    )
}

fn fresh_id() -> u64 {
    loop {
        let id = rand::random();
        if id != 0 {
            return id;
        }
    }
}
