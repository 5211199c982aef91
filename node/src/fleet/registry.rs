//! fleet's registry in etcd, in its own layout: followed into a mirror, and written.
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::mirror::{JobObject, Lease, MachineState, Mirror, PeerAddress, UnitBlob, UnitState};
use super::schema::{Cordon, JobState};
use crate::client::cluster::Client;
use crate::client::error::Error;
use crate::client::keys::{Change, Delete, Get, Node, Response, Set};
use crate::log;
use crate::unit::{Hash, UnitFile};

const LOG: &str = "registry";
/// Between attempts while etcd does not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// A watch that has not told of our own write for so long hangs on a dead connection and is begun anew.
const LATE: Duration = Duration::from_secs(2);

/// What machines say of their units outlives their lease: a machine that is gone is told by its own key, and the leader
/// removes what it has left. This is for what nobody removed.
pub const LASTING: Duration = Duration::from_secs(3600);

const KEY_NOT_FOUND: u64 = 100;
const COMPARE_FAILED: u64 = 101;
const NODE_EXISTS: u64 = 105;
const HISTORY_CLEARED: u64 = 401;

/// How far the mirror is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Has the registry been read at all?
    pub filled: bool,
    pub index: u64,
    /// The mirror's version: what the engine and the agent wait for.
    pub version: u64,
}

pub struct Registry {
    client: Client,
    /// Without a slash at its end.
    prefix: String,
    mirror: Mutex<Mirror>,
    progress: watch::Sender<Progress>,
    /// The last write of ours that a watch has to tell of, and when it was.
    written: Mutex<(u64, Instant)>,
    /// Requests of each outcome, for the metrics.
    pub done: AtomicU64,
    pub failed: AtomicU64,
}

pub type Outcome<T = ()> = Result<T, Error>;

/// Whether etcd says that there is no such key, rather than that it cannot tell.
pub fn is_missing(error: &Error) -> bool {
    matches!(
        error,
        Error::Etcd {
            code: KEY_NOT_FOUND,
            ..
        }
    )
}

/// Whether a condition of a write did not hold.
pub fn is_refused(error: &Error) -> bool {
    matches!(
        error,
        Error::Etcd {
            code: KEY_NOT_FOUND | COMPARE_FAILED | NODE_EXISTS,
            ..
        }
    )
}

fn held(outcome: Outcome<u64>) -> Outcome<Option<u64>> {
    match outcome {
        Ok(index) => Ok(Some(index)),
        Err(error) if is_refused(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A key of ours, from the prefix on, has changed.
fn take(mirror: &mut Mirror, key: &str, change: &Change) {
    let gone = matches!(change.action.as_str(), "delete" | "expire" | "compareAndDelete");
    if change.node.dir && !gone {
        return;
    }
    let value = (!gone).then_some(change.node.value.as_str());
    mirror.apply(key, value, change.node.modified_index);
    let machine = key.strip_prefix("/machines/");
    if let Some(id) = machine.and_then(|rest| rest.strip_suffix("/object")) {
        match change.action.as_str() {
            "delete" => mirror.leave(id),
            "expire" => {}
            _ => mirror.hear(id, std::time::Instant::now()),
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Registry {
    pub fn new(client: Client, prefix: &str) -> Registry {
        Registry {
            client,
            prefix: format!("/{}", prefix.trim_matches('/')),
            mirror: Mutex::default(),
            progress: watch::Sender::default(),
            written: Mutex::new((0, Instant::now())),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub fn mirror(&self) -> MutexGuard<'_, Mirror> {
        // A poisoned lock still holds a whole mirror: the next reload mends what is missing.
        self.mirror.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Follows the registry for ever: read once as a whole, then change by change.
    pub async fn follow(self: Arc<Registry>) {
        loop {
            let mut index = match self.fill().await {
                Ok(index) => index,
                Err(error) => {
                    log::debug!(LOG, "cannot read {}: {error}", self.prefix);
                    sleep(PAUSE).await;
                    continue;
                }
            };
            loop {
                match self.watch(&mut index).await {
                    Error::Etcd {
                        code: HISTORY_CLEARED, ..
                    } => break,
                    error => {
                        log::debug!(LOG, "the watch of {} ended: {error}", self.prefix);
                        sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Reads everything, from a quorum: what is missing in it is missing.
    pub async fn fill(&self) -> Outcome<u64> {
        let get = Get {
            recursive: true,
            quorum: true,
            ..Get::default()
        };
        let (index, root) = match self.client.get(&self.prefix, &get).await {
            Ok(response) => (response.index, response.node),
            Err(Error::Etcd {
                code: KEY_NOT_FOUND,
                index,
                ..
            }) => (index, None),
            Err(error) => return Err(error),
        };
        let mut fresh = Mirror::default();
        let mut open: Vec<Node> = root.into_iter().collect();
        while let Some(node) = open.pop() {
            if let Some(key) = node.key.strip_prefix(&self.prefix).filter(|_| !node.dir) {
                fresh.apply(key, Some(&node.value), node.modified_index);
            }
            open.extend(node.nodes.unwrap_or_default());
        }
        {
            let mut mirror = self.mirror();
            fresh.read_at(std::time::Instant::now(), &mirror);
            *mirror = fresh;
        }
        self.tell(index);
        Ok(index)
    }

    fn tell(&self, index: u64) {
        let version = self.mirror().version;
        self.progress.send_modify(|progress| {
            *progress = Progress {
                filled: true,
                index: progress.index.max(index),
                version,
            }
        });
    }

    /// Applies what happens after `index` until something is wrong.
    async fn watch(&self, index: &mut u64) -> Error {
        let mut stream = match self.client.stream(&self.prefix, *index).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                () = self.overdue() => return Error::Other("it is silent about a write of ours".into()),
            };
            let changes = match next {
                Ok(Some(changes)) => changes,
                Ok(None) => return Error::Other("the server ended it".into()),
                Err(error) => return error,
            };
            {
                let mut mirror = self.mirror();
                for change in changes {
                    *index = change.node.modified_index;
                    if let Some(key) = change.node.key.strip_prefix(&self.prefix) {
                        take(&mut mirror, key, &change);
                    }
                }
            }
            self.tell(*index);
        }
    }

    /// Ends once a write of ours should long have come back.
    async fn overdue(&self) {
        loop {
            let (index, at) = *self.written.lock().unwrap_or_else(|broken| broken.into_inner());
            if index > self.progress.borrow().index && at.elapsed() > LATE {
                // Counted once: the next watch has the same time for it.
                self.note(index);
                return;
            }
            sleep(LATE / 4).await;
        }
    }

    fn note(&self, index: u64) {
        let mut written = self.written.lock().unwrap_or_else(|broken| broken.into_inner());
        if index >= written.0 {
            *written = (index, Instant::now());
        }
    }

    /// Waits, for a moment, until the mirror shows the write with this index. If it does not, whoever asks next sees an
    /// older state, as at any other machine.
    pub async fn caught_up(&self, index: u64) -> bool {
        let mut progress = self.progress();
        let shown = timeout(LATE / 2, progress.wait_for(|progress| progress.index >= index));
        shown.await.is_ok()
    }

    fn key(&self, rest: &str) -> String {
        format!("{}/{rest}", self.prefix)
    }

    /// A write has been answered: its index, by which the watch will tell of it.
    fn answered(&self, outcome: Outcome<Response>) -> Outcome<u64> {
        let count = match &outcome {
            Err(error) if !is_refused(error) => &self.failed,
            _ => &self.done,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let index = outcome?.node.map_or(0, |node| node.modified_index);
        self.note(index);
        Ok(index)
    }

    async fn put(&self, rest: &str, value: &str, set: Set) -> Outcome<u64> {
        self.answered(self.client.set(&self.key(rest), value, &set).await)
    }

    async fn remove(&self, rest: &str, delete: Delete) -> Outcome<u64> {
        self.answered(self.client.delete(&self.key(rest), &delete).await)
    }

    /// Stores a unit file under its hash. One that is there already is the same one; it is written again, so that who
    /// collects what nobody uses sees that somebody will.
    async fn store(&self, file: &UnitFile) -> Outcome<Hash> {
        let hash = file.hash();
        let blob = json(&UnitBlob { raw: file.text() });
        let stored = self.put(&format!("unit/{hash}"), &blob, Set::default()).await;
        stored.map(|_| hash)
    }

    /// Removes a unit file that was last written at this index; None: it has been written since.
    pub async fn collect(&self, hash: &Hash, index: u64) -> Outcome<Option<u64>> {
        let only = Delete {
            prev_index: index,
            ..Delete::default()
        };
        held(self.remove(&format!("unit/{hash}"), only).await)
    }

    /// Gives back a unit file that somebody has come to use while it was removed.
    pub async fn give_back(&self, file: &UnitFile) -> Outcome {
        self.store(file).await.map(drop)
    }

    /// Creates a unit; None if there is one of this name.
    pub async fn create_unit(&self, name: &str, file: &UnitFile, state: JobState) -> Outcome<Option<u64>> {
        let object = JobObject {
            name: name.into(),
            unit_hash: self.store(file).await?.0,
        };
        let new = Set {
            prev_exist: Some(false),
            ..Set::default()
        };
        if held(self.put(&format!("job/{name}/object"), &json(&object), new).await)?.is_none() {
            return Ok(None);
        }
        self.set_wanted(name, state).await.map(Some)
    }

    /// Gives a unit another file.
    pub async fn replace_unit(&self, name: &str, file: &UnitFile) -> Outcome<u64> {
        let object = JobObject {
            name: name.into(),
            unit_hash: self.store(file).await?.0,
        };
        self.put(&format!("job/{name}/object"), &json(&object), Set::default())
            .await
    }

    pub async fn set_wanted(&self, name: &str, state: JobState) -> Outcome<u64> {
        self.put(&format!("job/{name}/target-state"), state.name(), Set::default())
            .await
    }

    /// Forgets a unit; None if there is none.
    pub async fn destroy(&self, name: &str) -> Outcome<Option<u64>> {
        let all = Delete {
            recursive: true,
            ..Delete::default()
        };
        held(self.remove(&format!("job/{name}"), all).await)
    }

    /// None: it is scheduled already.
    pub async fn schedule(&self, name: &str, machine: &str) -> Outcome<Option<u64>> {
        let new = Set {
            prev_exist: Some(false),
            ..Set::default()
        };
        held(self.put(&format!("job/{name}/target"), machine, new).await)
    }

    /// None: it is scheduled elsewhere, or not at all.
    pub async fn unschedule(&self, name: &str, machine: &str) -> Outcome<Option<u64>> {
        let only = Delete {
            prev_value: Some(machine.into()),
            ..Delete::default()
        };
        held(self.remove(&format!("job/{name}/target"), only).await)
    }

    /// Has each machine that runs it stop and start it once.
    pub async fn restart(&self, name: &str) -> Outcome<u64> {
        self.put(&format!("job/{name}/restart"), "1", Set::default()).await
    }

    /// Keeps a unit away from a machine on which it fails, for so many seconds.
    pub async fn failed_on(&self, name: &str, machine: &str, ttl: u64) -> Outcome {
        let lasting = Set { ttl, ..Set::default() };
        let key = format!("job/{name}/failed-on/{machine}");
        self.put(&key, "failed", lasting).await.map(drop)
    }

    pub async fn heartbeat(&self, name: &str, machine: &str) -> Outcome<u64> {
        let ttl = LASTING.as_secs();
        let lasting = Set { ttl, ..Set::default() };
        self.put(&format!("job/{name}/job-state"), machine, lasting).await
    }

    /// Takes our heartbeat back, never that of the machine which has the unit now.
    pub async fn clear_heartbeat(&self, name: &str, machine: &str) -> Outcome {
        let only = Delete {
            prev_value: Some(machine.into()),
            ..Delete::default()
        };
        held(self.remove(&format!("job/{name}/job-state"), only).await).map(drop)
    }

    pub async fn save_state(&self, name: &str, state: &UnitState) -> Outcome<u64> {
        let (value, ttl) = (json(state), LASTING.as_secs());
        let lasting = || Set { ttl, ..Set::default() };
        // Clients before states/ read state/NAME.
        self.put(&format!("state/{name}"), &value, lasting()).await?;
        let key = format!("states/{name}/{}", state.machine_state.id);
        self.put(&key, &value, lasting()).await
    }

    pub async fn remove_state(&self, name: &str, machine: &str) -> Outcome {
        held(
            self.remove(&format!("states/{name}/{machine}"), Delete::default())
                .await,
        )?;
        if !self.mirror().states.keys().any(|(of, by)| of == name && by != machine) {
            held(self.remove(&format!("state/{name}"), Delete::default()).await)?;
        }
        Ok(())
    }

    /// Says that this machine is there for so many seconds more. `first`: only if nobody else says so under its id.
    pub async fn register(&self, state: &MachineState, ttl: u64, first: bool) -> Outcome<Option<u64>> {
        let set = Set {
            ttl,
            prev_exist: first.then_some(false),
            ..Set::default()
        };
        let key = format!("machines/{}/object", state.id);
        held(self.put(&key, &json(state), set).await)
    }

    pub async fn registered(&self, id: &str) -> Outcome<Option<MachineState>> {
        let get = Get {
            quorum: true,
            ..Get::default()
        };
        match self.client.get(&self.key(&format!("machines/{id}/object")), &get).await {
            Ok(response) => Ok(response.node.and_then(|node| serde_json::from_str(&node.value).ok())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn unregister(&self, id: &str) -> Outcome {
        held(self.remove(&format!("machines/{id}/object"), Delete::default()).await).map(drop)
    }

    /// Whether a machine is gone, and whom it asked before it went on without etcd: from a quorum.
    pub async fn machine_gone(&self, id: &str) -> Outcome<(bool, Option<BTreeSet<String>>)> {
        let get = Get {
            quorum: true,
            recursive: true,
            ..Get::default()
        };
        let nodes = match self.client.get(&self.key(&format!("machines/{id}")), &get).await {
            Ok(response) => response.node.and_then(|node| node.nodes).unwrap_or_default(),
            Err(error) if is_missing(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let find = |name: &str| nodes.iter().find(|node| node.key.ends_with(&format!("/{name}")));
        let asks = find("asks").and_then(|node| serde_json::from_str(&node.value).ok());
        Ok((find("object").is_none(), asks))
    }

    pub async fn set_asks(&self, id: &str, asks: &BTreeSet<String>) -> Outcome {
        self.put(&format!("machines/{id}/asks"), &json(asks), Set::default())
            .await
            .map(drop)
    }

    pub async fn set_peer(&self, id: &str, peer: &PeerAddress) -> Outcome {
        self.put(&format!("machines/{id}/peer"), &json(peer), Set::default())
            .await
            .map(drop)
    }

    pub async fn set_cordon(&self, id: &str, cordon: Cordon) -> Outcome<u64> {
        let key = format!("machines/{id}/cordon");
        let done = match cordon {
            Cordon::None => held(self.remove(&key, Delete::default()).await)?,
            cordon => held(self.put(&key, cordon.name(), Set::default()).await)?,
        };
        Ok(done.unwrap_or(0))
    }

    pub async fn set_metadata(&self, id: &str, key: &str, value: &str) -> Outcome<u64> {
        self.put(&format!("machines/{id}/metadata/{key}"), value, Set::default())
            .await
    }

    /// Takes the lease where there is none, or renews the one with this index; the index of what is held then.
    pub async fn lease(&self, lease: &Lease, ttl: u64, renewed: Option<u64>) -> Outcome<Option<u64>> {
        let set = Set {
            ttl,
            prev_exist: renewed.is_none().then_some(false),
            prev_index: renewed.unwrap_or(0),
            ..Set::default()
        };
        held(self.put("lease/engine-leader", &json(lease), set).await)
    }

    pub async fn release_lease(&self, index: u64) -> Outcome {
        let ours = Delete {
            prev_index: index,
            ..Delete::default()
        };
        held(self.remove("lease/engine-leader", ours).await).map(drop)
    }

    pub async fn set_engine_version(&self, version: u64) -> Outcome {
        self.put("engine/version", &version.to_string(), Set::default())
            .await
            .map(drop)
    }
}
