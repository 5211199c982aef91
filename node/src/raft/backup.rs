//! Going on alone with what one disk holds: `--force-new-cluster`, and copies that can be started elsewhere.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock::Clock;
use super::disk::{Disk, OsDisk};
use super::machine::{Machine, State};
use super::member::{self, Opened, Options};
use super::snapshot::{self, Header};
use super::types::{LogId, Membership, Peer};
use super::wal::{self, Index, Meta, OpenError};
use crate::kv::Store;

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
    (member, peer): (u64, Peer),
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
    let members = BTreeMap::from([(member, peer)]);
    let membership = Membership::new(vec![BTreeSet::from([member])], members).map_err(io::Error::other)?;
    machine.reduce_to(membership);
    let header = machine.header();
    let nothing = "nothing was ever written here: there is no cluster to go on with";
    let last = header.meta.last_log_id;
    let last = last.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, nothing))?;
    let store = std::mem::replace(&mut *state.store.lock().unwrap(), Store::new(options.history));
    Ok((header, store, last))
}

/// Where a copy comes from and goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupPaths {
    pub data_dir: PathBuf,
    pub wal_dir: Option<PathBuf>,
    pub backup_dir: PathBuf,
    pub backup_wal_dir: Option<PathBuf>,
}

/// Copies a data directory, also one in use: what is acknowledged when this is called is in the copy. The copy is a
/// member of its own, alone in a new cluster, so that it can never be taken for the one it was made of.
pub fn backup(paths: &BackupPaths) -> io::Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let from_snap = paths.data_dir.join("member/snap");
    let from_wal = paths
        .wal_dir
        .clone()
        .unwrap_or_else(|| paths.data_dir.join("member/wal"));
    let to = options_for(paths.backup_dir.clone(), paths.backup_wal_dir.clone());
    must_be_empty(&to.snap_dir)?;
    must_be_empty(&to.wal_dir)?;
    let scratch = tempfile_beside(&paths.backup_dir)?;
    let result = (|| {
        let copied = options_for(scratch.join("copy"), None);
        copy_until_whole(&from_snap, &from_wal, &copied)?;
        let opened = match member::open(&disk, &copied) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Err(not_found(&from_wal)),
            Err(OpenError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
        };
        let meta = Meta {
            member_id: fresh_id(),
            cluster_id: fresh_id(),
        };
        let peer = Peer {
            peer_urls: DEFAULT_PEER_URLS.map(str::to_string).to_vec(),
        };
        let Opened { wal, header, store } = opened;
        let (header, store, last) = alone(
            &disk,
            &copied,
            header,
            store,
            &wal.index.lock().unwrap(),
            (meta.member_id, peer),
        )?;
        drop(wal);
        disk.create_dir(&to.snap_dir)?;
        disk.create_dir(&to.wal_dir)?;
        snapshot::write(&disk, &to.snap_dir, &header, &store.snapshot())?;
        wal::create_after(disk.clone(), &to.wal_dir, meta, last)
    })();
    let removed = std::fs::remove_dir_all(&scratch);
    result.and(removed)
}

fn options_for(data_dir: PathBuf, wal_dir: Option<PathBuf>) -> Options {
    let member = data_dir.join("member");
    Options {
        wal_dir: wal_dir.unwrap_or_else(|| member.join("wal")),
        snap_dir: member.join("snap"),
        salvage: true,
        history: HISTORY,
        ..Options::default()
    }
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

fn tempfile_beside(dir: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let scratch = dir.join(format!(".backup-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&scratch)?;
    Ok(scratch)
}

/// The running member may remove old files between the listing and the copy: then once more.
fn copy_until_whole(from_snap: &Path, from_wal: &Path, to: &Options) -> io::Result<()> {
    for _ in 1..TRIES {
        match copy(from_snap, from_wal, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && from_wal.is_dir() => continue,
            other => return other,
        }
    }
    copy(from_snap, from_wal, to)
}

fn copy(from_snap: &Path, from_wal: &Path, to: &Options) -> io::Result<()> {
    for dir in [&to.snap_dir, &to.wal_dir] {
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        std::fs::create_dir_all(dir)?;
    }
    // Snapshots first: the log that is copied afterwards reaches back to them.
    for (from, to, suffix) in [(from_snap, &to.snap_dir, ".snap"), (from_wal, &to.wal_dir, ".wal")] {
        let entries = match std::fs::read_dir(from) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found(from)),
            Err(error) => return Err(error),
        };
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
