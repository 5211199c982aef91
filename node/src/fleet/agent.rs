//! What a machine does for its units: has systemd load, start, stop and forget them, and says how they are.
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::mirror::UnitState;
use super::monitor::Monitor;
use super::registry::Registry;
use super::schema::JobState;
use crate::log;
use crate::unit::requirements::{OnDisconnect, RestartFailed};
use crate::unit::{Hash, Requirements, UnitFile};

const LOG: &str = "agent";
/// How often units are looked at for changes that systemd makes by itself.
const LOOK: Duration = Duration::from_millis(500);
/// What failed is tried again after this, and what has changed behind our back is found by then.
const AGAIN: Duration = Duration::from_secs(5);
/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(5);
/// How long a machine that leaves waits for its units to stop.
const LEAVING: Duration = Duration::from_secs(80);

/// How systemd sees a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub load: String,
    pub active: String,
    pub sub: String,
}

/// A machine's systemd, or what stands in for it.
pub trait Manager: Send + Sync + 'static {
    /// The units that are on this machine, with their texts.
    fn units(&self) -> impl Future<Output = Result<BTreeMap<String, String>, String>> + Send;
    /// Writes the unit's file and lets systemd know it.
    fn load(&self, name: &str, file: &UnitFile) -> impl Future<Output = Result<(), String>> + Send;
    /// Starts it; that it has begun to start is enough.
    fn start(&self, name: &str) -> impl Future<Output = Result<(), String>> + Send;
    /// Stops it and waits until it has stopped.
    fn stop(&self, name: &str) -> impl Future<Output = Result<(), String>> + Send;
    /// Removes the file of a unit that has stopped.
    fn unload(&self, name: &str) -> impl Future<Output = Result<(), String>> + Send;
    fn statuses(&self, names: &[String]) -> impl Future<Output = Result<HashMap<String, Status>, String>> + Send;
}

/// A unit as this machine shall have it.
#[derive(Clone)]
struct Wanted {
    file: Arc<UnitFile>,
    hash: Hash,
    state: JobState,
    /// The index of the last request to restart it.
    restart: u64,
    /// Another machine that is there still has it running.
    elsewhere: bool,
}

/// A unit as this machine has it.
#[derive(Clone, Debug)]
struct Held {
    hash: Hash,
    /// Has it been started by us and not been stopped since?
    launched: bool,
    /// The last request to restart it that is done; None: not known yet, as after a start of fleetd.
    restarted: Option<u64>,
    restart_failed: RestartFailed,
    /// How often it was started again in vain, when that is due next, and since when it has been well.
    failures: u32,
    again: Option<Instant>,
    well: Option<Instant>,
    /// Its state as it was last published.
    published: Option<(UnitState, Told)>,
    /// Its last heartbeat.
    beaten: Option<Told>,
}

impl Held {
    fn new(hash: Hash) -> Held {
        Held {
            hash,
            launched: false,
            restarted: None,
            restart_failed: RestartFailed::No,
            failures: 0,
            again: None,
            well: None,
            published: None,
            beaten: None,
        }
    }
}

/// When something was told to etcd, and with which index it comes back by the watch.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant,
    index: u64,
}

pub struct Agent<M> {
    id: String,
    registry: Arc<Registry>,
    monitor: Arc<Monitor>,
    manager: M,
    /// Whether units are stopped here once others may run them, where a unit does not say.
    stop_when_lost: bool,
    held: Mutex<BTreeMap<String, Held>>,
    /// Units that a task works on. Each has its own: one that hangs or fails keeps no other waiting.
    busy: Mutex<BTreeSet<String>>,
    /// Not before this time is a unit tried again that has failed.
    failed: Mutex<HashMap<String, Instant>>,
    /// A task has ended: there may be more to do, and there is something to tell.
    freed: Notify,
    moved: Notify,
}

impl<M: Manager> Agent<M> {
    pub fn new(
        id: &str,
        registry: Arc<Registry>,
        monitor: Arc<Monitor>,
        manager: M,
        stop_when_lost: bool,
    ) -> Arc<Agent<M>> {
        Arc::new(Agent {
            id: id.into(),
            registry,
            monitor,
            manager,
            stop_when_lost,
            held: Mutex::default(),
            busy: Mutex::default(),
            failed: Mutex::default(),
            freed: Notify::new(),
            moved: Notify::new(),
        })
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.busy.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    /// Runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        while let Err(error) = self.take_over().await {
            log::error!(LOG, "cannot see the units of this machine: {error}");
            sleep(AGAIN).await;
        }
        tokio::join!(self.clone().reconcile(), self.publish());
    }

    /// Finds the units that an earlier agent left running; they go on.
    async fn take_over(&self) -> Result<(), String> {
        let units = self.manager.units().await?;
        let names: Vec<String> = units.keys().cloned().collect();
        let statuses = self.manager.statuses(&names).await?;
        let mut held = self.held();
        for (name, text) in units {
            let mut unit = Held::new(Hash::of(&text));
            let status = statuses.get(&name);
            unit.launched =
                status.is_some_and(|status| matches!(status.active.as_str(), "active" | "activating" | "reloading"));
            held.entry(name).or_insert(unit);
        }
        Ok(())
    }

    async fn reconcile(self: Arc<Self>) {
        let mut progress = self.registry.progress();
        // Often enough to notice in time that the lease is over.
        let mut again = interval((self.monitor.ttl() / 20).clamp(LOOK / 5, AGAIN));
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            // What the registry held when it was last read whole counts, however long ago: only what it says makes a
            // unit stop, never that it cannot be read.
            let now = *progress.borrow_and_update();
            if now.filled {
                seen = Some(self.registry.mirror().turn(&self.id));
                self.step();
            }
            loop {
                tokio::select! {
                    changed = progress.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        progress.borrow_and_update();
                        if seen == Some(self.registry.mirror().turn(&self.id)) {
                            continue;
                        }
                        sleep(GATHER).await;
                    }
                    _ = again.tick() => {}
                    () = self.freed.notified() => {}
                }
                break;
            }
        }
    }

    /// What is wanted here, by the registry as it was last known.
    fn wanted(&self) -> BTreeMap<String, Wanted> {
        let mirror = self.registry.mirror();
        let lost = self.monitor.lost();
        // Not known to the cluster for now: those that run are left as they are.
        let globals = mirror.globals_on(&self.id);
        let globals = globals.unwrap_or_else(|| self.held().keys().cloned().collect());
        let mut wanted = BTreeMap::new();
        let mut held = self.held();
        let keeps = |requirements: &Requirements| match requirements.on_disconnect {
            OnDisconnect::Keep => true,
            OnDisconnect::Stop => false,
            // What can only be here is nowhere else meanwhile.
            OnDisconnect::Default => requirements.global || requirements.machine_id.is_some() || !self.stop_when_lost,
        };
        for (name, unit) in held.iter_mut() {
            if let Some(job) = mirror.jobs.get(name)
                && let Some(requirements) = &job.requirements
            {
                unit.restart_failed = requirements.restart_failed;
                unit.restarted.get_or_insert(job.restart);
            }
        }
        for (name, job) in mirror.jobs_of(&self.id) {
            let Some(requirements) = &job.requirements else {
                continue;
            };
            let ours = match requirements.global {
                true => globals.contains(name),
                false => job.target.as_deref() == Some(&self.id),
            };
            if !ours || job.wanted == JobState::Inactive || lost && !keeps(requirements) {
                continue;
            }
            let Some((hash, file)) = job.hash.and_then(|hash| Some((hash, mirror.units.get(&hash)?.clone()))) else {
                continue;
            };
            let other = job
                .heartbeat
                .as_ref()
                .filter(|other| **other != self.id && !requirements.global);
            let want = Wanted {
                file,
                hash,
                state: job.wanted,
                restart: job.restart,
                elsewhere: other.is_some_and(|other| mirror.machine(other).is_some()),
            };
            wanted.insert(name.clone(), want);
        }
        // A job that is there and cannot be read says nothing: its unit stays as it is.
        for (name, unit) in held.iter() {
            let job = mirror.jobs.get(name).filter(|job| job.requirements.is_none());
            if let Some(job) = job.filter(|job| job.target.as_deref() == Some(&self.id)) {
                let want = Wanted {
                    file: Arc::new(UnitFile::default()),
                    hash: unit.hash,
                    state: if unit.launched {
                        JobState::Launched
                    } else {
                        JobState::Loaded
                    },
                    restart: job.restart,
                    elsewhere: false,
                };
                wanted.insert(name.clone(), want);
            }
        }
        wanted
    }

    /// Begins what there is to do, a task for each unit.
    fn step(self: &Arc<Self>) {
        let wanted = self.wanted();
        let held = self.held().clone();
        let now = Instant::now();
        let names: BTreeSet<&String> = wanted.keys().chain(held.keys()).collect();
        for name in names {
            let (want, have) = (wanted.get(name), held.get(name));
            let done = match (want, have) {
                (None, None) => true,
                (Some(want), Some(have)) => {
                    let launched = want.state == JobState::Launched;
                    let again = launched && have.restarted.is_some_and(|done| done < want.restart);
                    // It is started once the other machine has stopped it.
                    let waits = launched && !have.launched && want.elsewhere;
                    want.hash == have.hash && (have.launched == launched && !again || waits)
                }
                _ => false,
            };
            let failed = self
                .failed
                .lock()
                .unwrap_or_else(|broken| broken.into_inner())
                .get(name)
                .copied();
            if done || failed.is_some_and(|until| now < until) || !self.busy().insert(name.clone()) {
                continue;
            }
            let (agent, name, want, have) = (self.clone(), name.clone(), want.cloned(), have.cloned());
            tokio::spawn(async move {
                let result = agent.carry_out(&name, want, have).await;
                {
                    let mut failed = agent.failed.lock().unwrap_or_else(|broken| broken.into_inner());
                    match &result {
                        Ok(()) => drop(failed.remove(&name)),
                        Err(error) => {
                            log::error!(LOG, "Unit({name}): {error}");
                            failed.insert(name.clone(), Instant::now() + AGAIN);
                        }
                    }
                }
                agent.busy().remove(&name);
                agent.freed.notify_one();
                agent.moved.notify_one();
            });
        }
    }

    async fn carry_out(&self, name: &str, want: Option<Wanted>, have: Option<Held>) -> Result<(), String> {
        let Some(want) = want else {
            if let Some(have) = have {
                self.give_up(name, have.launched).await?;
            }
            return Ok(());
        };
        let mut launched = have.as_ref().is_some_and(|have| have.launched);
        if have.as_ref().is_none_or(|have| have.hash != want.hash) {
            if have.is_some() {
                self.give_up(name, launched).await?;
                launched = false;
            }
            self.manager.load(name, &want.file).await?;
            let mut new = Held::new(want.hash);
            new.restarted = Some(want.restart);
            self.held().insert(name.into(), new);
            log::info!(LOG, "loaded Unit({name})");
        }
        let again = have
            .as_ref()
            .and_then(|have| have.restarted)
            .is_some_and(|done| done < want.restart);
        if launched && again && want.state == JobState::Launched {
            self.manager.stop(name).await?;
            log::info!(LOG, "stopped Unit({name}) to restart it");
            self.note(name, |held| held.launched = false);
            launched = false;
        }
        match (launched, want.state == JobState::Launched) {
            (false, true) if want.elsewhere => {}
            (false, true) => {
                self.manager.start(name).await?;
                log::info!(LOG, "started Unit({name})");
                self.note(name, |held| {
                    held.launched = true;
                    held.restarted = Some(want.restart);
                });
            }
            (true, false) => {
                self.manager.stop(name).await?;
                log::info!(LOG, "stopped Unit({name})");
                self.note(name, |held| held.launched = false);
                self.clear_heartbeat(name).await;
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&self, name: &str, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.held().get_mut(name) {
            change(held);
        }
    }

    /// Stops a unit, waits, and only then removes its file: systemd has to know its ExecStop until the end.
    async fn give_up(&self, name: &str, launched: bool) -> Result<(), String> {
        // Also if we have not started it: someone else may have.
        let stopped = self.manager.stop(name).await;
        if launched {
            stopped?;
        }
        self.manager.unload(name).await?;
        log::info!(LOG, "unloaded Unit({name})");
        self.held().remove(name);
        // Not before it has stopped: another machine may wait for that to start it.
        self.clear_heartbeat(name).await;
        if let Err(error) = self.registry.remove_state(name, &self.id).await {
            log::warning!(
                LOG,
                "cannot remove the state of Unit({name}), it goes when its time is up: {error}"
            );
        }
        Ok(())
    }

    async fn clear_heartbeat(&self, name: &str) {
        self.note(name, |held| held.beaten = None);
        if let Err(error) = self.registry.clear_heartbeat(name, &self.id).await {
            log::warning!(LOG, "cannot take back the heartbeat of Unit({name}): {error}");
        }
    }

    /// Stops and removes all units: the machine leaves.
    pub async fn leave(self: &Arc<Self>) {
        let units: Vec<(String, bool)> = self
            .held()
            .iter()
            .map(|(name, held)| (name.clone(), held.launched))
            .collect();
        let mut tasks = JoinSet::new();
        for (name, launched) in units {
            let agent = self.clone();
            tasks.spawn(async move {
                if let Err(error) = agent.give_up(&name, launched).await {
                    log::error!(LOG, "Unit({name}): {error}");
                }
            });
        }
        if timeout(LEAVING, tasks.join_all()).await.is_err() {
            log::error!(LOG, "units still run after {LEAVING:?}; systemd has them");
        }
    }
}
