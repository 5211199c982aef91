//! The cluster's scheduler where it leads: one machine holds the lease, and puts units where the plan has them.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::collect::Collector;
use super::mirror::Lease;
use super::monitor::Monitor;
use super::promise::Promises;
use super::registry::{Outcome, Registry};
use super::scheduler::{self, Decision};
use crate::log;

const LOG: &str = "engine";
/// The version of this engine in the registry: one with a higher version leads in its place.
const VERSION: u64 = 1;
/// The lease is short where etcd is quick, so that a leader that dies is replaced within a second, and longer where it is
/// slow. A leader that loses it does no harm: whoever leads decides the same, by writes that are made only if nothing
/// has changed.
const SHORTEST: u64 = 1;
const LONGEST: u64 = 10;
/// The lease is to last for so many renewals that take as long as the last one.
const ROOM: f64 = 5.0;
const RENEW: Duration = Duration::from_millis(250);
/// Changes that come together are planned together.
const GATHER: Duration = Duration::from_millis(20);

/// So many decisions are written at the same time.
const AT_ONCE: usize = 128;
/// A unit that a drained machine has given away has this long to be well elsewhere before the next one goes.
const SETTLE: Duration = Duration::from_secs(30);

/// What the engine has done, for the metrics.
#[derive(Default)]
pub struct Counts {
    pub reconciled: AtomicU64,
    pub failed: AtomicU64,
    pub scheduled: AtomicU64,
    pub unscheduled: AtomicU64,
    /// The seconds since 1970 when it began to lead; 0 while it does not.
    pub leads_since: AtomicU64,
}

pub struct Engine {
    id: String,
    registry: Arc<Registry>,
    monitor: Arc<Monitor>,
    promises: Arc<Promises>,
    interval: Duration,
    counts: Arc<Counts>,
    /// Since when machines have been missing.
    missing: HashMap<String, Instant>,
    /// Those of them of which the log has said why their units stay.
    explained: BTreeSet<String>,
    /// The unit that last left a drained machine, and when.
    drained: Option<(String, Instant)>,
    collector: Collector,
    /// The lease as it was last taken or renewed, and until when that holds for sure.
    held: Option<(u64, Instant)>,
    /// When it was last taken or renewed, and for how many seconds it is next time.
    sent: Instant,
    lasting: u64,
    /// The log says already that it cannot be renewed.
    told: bool,
}

impl Engine {
    pub fn new(
        id: &str,
        registry: Arc<Registry>,
        monitor: Arc<Monitor>,
        promises: Arc<Promises>,
        interval: Duration,
        counts: Arc<Counts>,
    ) -> Engine {
        Engine {
            id: id.into(),
            collector: Collector::new(registry.clone(), monitor.limit()),
            registry,
            monitor,
            promises,
            interval,
            counts,
            explained: BTreeSet::new(),
            missing: HashMap::new(),
            drained: None,
            held: None,
            sent: Instant::now(),
            lasting: SHORTEST,
            told: false,
        }
    }

    /// Leads whenever nobody else does, until it is dropped.
    pub async fn run(&mut self) {
        let mut progress = self.registry.progress();
        let mut tick = interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew = interval(RENEW);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut planned = 0;
        loop {
            let ticked = tokio::select! {
                _ = tick.tick() => true,
                _ = renew.tick() => false,
                changed = progress.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
            };
            let now = *progress.borrow_and_update();
            if !now.filled {
                continue;
            }
            let led = self.leads();
            self.renew().await;
            if !ticked && now.version == planned && led {
                continue;
            }
            if !self.leads() {
                self.counts.leads_since.store(0, Ordering::Relaxed);
                continue;
            }
            if self.counts.leads_since.load(Ordering::Relaxed) == 0 {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let now = now.map_or(1, |since| since.as_secs());
                self.counts.leads_since.store(now, Ordering::Relaxed);
            }
            if !ticked {
                sleep(GATHER).await;
            }
            match self.reconcile().await {
                Some(version) => planned = version,
                None => drop(self.counts.failed.fetch_add(1, Ordering::Relaxed)),
            }
            self.counts.reconciled.fetch_add(1, Ordering::Relaxed);
            if ticked {
                self.collector.step().await;
            }
        }
    }

    /// Whether the lease is held for long enough to write by it.
    fn leads(&self) -> bool {
        self.held.is_some_and(|(_, until)| Instant::now() < until)
    }

    /// Takes the lease, or renews it, if that is due.
    async fn renew(&mut self) {
        let due = match self.held {
            Some(_) => self.sent.elapsed() >= RENEW,
            None => {
                let lease = self.registry.mirror().lease.clone();
                lease.is_none_or(|(lease, _)| lease.machine_id == self.id || lease.version < VERSION)
            }
        };
        if due {
            self.campaign().await;
        }
    }

    /// Takes the lease if it is free, or renews it.
    async fn campaign(&mut self) {
        let (lease, version) = {
            let mirror = self.registry.mirror();
            (mirror.lease.clone(), mirror.engine_version)
        };
        if version > VERSION {
            return;
        }
        let renewed = match &lease {
            Some((lease, index)) if lease.machine_id == self.id => Some(*index),
            Some((lease, index)) if lease.version < VERSION => Some(*index),
            Some(_) => {
                self.held = None;
                return;
            }
            None => None,
        };
        // Our own last renewal may not have come back by the watch yet.
        let renewed = match (renewed, self.held) {
            (Some(index), Some((ours, _))) => Some(index.max(ours)),
            (renewed, _) => renewed,
        };
        let ours = Lease {
            machine_id: self.id.clone(),
            version: VERSION,
        };
        let sent = Instant::now();
        let until = sent + Duration::from_secs(self.lasting) * 4 / 5;
        let renewed = self.registry.lease(&ours, self.lasting, renewed).await;
        self.lasting = match &renewed {
            Ok(_) => ((sent.elapsed().as_secs_f64() * ROOM).ceil() as u64).clamp(SHORTEST, LONGEST),
            Err(_) => LONGEST,
        };
        match renewed {
            Ok(Some(index)) => {
                self.told = false;
                self.sent = sent;
                if self.held.is_none() {
                    log::info!(LOG, "Engine leadership acquired");
                    if version < VERSION
                        && let Err(error) = self.registry.set_engine_version(VERSION).await
                    {
                        log::warning!(LOG, "cannot write the engine's version: {error}");
                    }
                }
                self.held = Some((index, until));
            }
            Ok(None) => {
                if self.held.take().is_some() {
                    log::info!(LOG, "Engine leadership lost");
                }
            }
            // The lease may still be ours; `leads` says for how long.
            Err(error) if !self.told => {
                self.told = true;
                log::warning!(LOG, "cannot renew the lease: {error}");
            }
            Err(_) => {}
        }
    }

    /// The missing machines that may be acted on; the others may well run their units, and keep them.
    async fn gone(&mut self, missing: &BTreeSet<String>) -> BTreeSet<String> {
        self.missing.retain(|id, _| missing.contains(id));
        self.explained.retain(|id| missing.contains(id));
        let mut gone = BTreeSet::new();
        for id in missing {
            let since = *self.missing.entry(id.clone()).or_insert_with(Instant::now);
            if self.registry.mirror().has_left(id) {
                gone.insert(id.clone());
                continue;
            }
            // Etcd may just have come back, and the machine is as late as we are; or we have given our word.
            if self.promises.stands(id) || self.monitor.steady() < self.monitor.ttl() {
                continue;
            }
            match self.registry.machine_gone(id).await {
                Ok((true, asks)) => {
                    let asked = asks.is_none_or(|asks| asks.contains(&self.id));
                    if asked || since.elapsed() >= self.monitor.limit() {
                        gone.insert(id.clone());
                    } else if self.explained.insert(id.clone()) {
                        log::warning!(
                            LOG,
                            "Machine({id}) went away before it knew this one: its units stay for {:?}",
                            self.monitor.limit()
                        );
                    }
                }
                Ok((false, _)) => {}
                Err(error) => log::warning!(LOG, "cannot make sure that Machine({id}) is gone: {error}"),
            }
        }
        gone
    }

    /// Whether the unit that a drained machine last gave away is well, or has had its time.
    fn may_drain(&self) -> bool {
        let Some((unit, when)) = &self.drained else { return true };
        self.registry.mirror().settled(unit) || when.elapsed() > SETTLE
    }

    /// Carries a plan out; the version of what it was made from, None where it could not be carried out.
    async fn reconcile(&mut self) -> Option<u64> {
        let missing = self.registry.mirror().missing();
        let gone = self.gone(&missing).await;
        let (version, units, mut machines) = {
            let mirror = self.registry.mirror();
            let (units, machines) = mirror.scheduled();
            (mirror.version, units, machines)
        };
        let away = missing
            .difference(&gone)
            .filter(|id| !machines.iter().any(|there| there.id == **id));
        let away: Vec<_> = away.map(|id| scheduler::Machine::away(id)).collect();
        machines.extend(away);
        let decisions = scheduler::plan(&units, &machines, self.may_drain());
        let mut last = 0;
        let kind = |decision: &Decision| matches!(decision, Decision::Schedule { .. });
        // Decisions of one kind do not depend on each other; of two kinds the later one may need the earlier.
        for alike in decisions.chunk_by(|a, b| kind(a) == kind(b)) {
            for some in alike.chunks(AT_ONCE) {
                self.renew().await;
                if !self.leads() {
                    return None;
                }
                for done in join_all(some.iter().map(|decision| self.carry_out(decision))).await {
                    match done {
                        Ok(index) => last = last.max(index.unwrap_or(0)),
                        Err(error) => {
                            log::warning!(LOG, "cannot carry a decision out: {error}");
                            return None;
                        }
                    }
                }
            }
        }
        let draining = decisions.iter().find_map(|decision| match decision {
            Decision::Unschedule { unit, reason, .. } if *reason == scheduler::Reason::Draining => Some(unit),
            _ => None,
        });
        if let Some(unit) = draining {
            self.drained = Some((unit.clone(), Instant::now()));
        }
        if let Err(error) = self.clean_up(&gone).await {
            log::warning!(LOG, "cannot remove what machines have left that are gone: {error}");
        }
        // The next plan is made from what this one has changed.
        if !self.registry.caught_up(last).await {
            log::warning!(
                LOG,
                "etcd's watch is late: the next plan may repeat a decision, which is then refused"
            );
        }
        Some(version)
    }

    async fn carry_out(&self, decision: &Decision) -> Outcome<Option<u64>> {
        match decision {
            Decision::Unschedule { unit, machine, reason } => {
                log::info!(LOG, "Unscheduling Unit({unit}) from Machine({machine}): {reason}");
                self.counts.unscheduled.fetch_add(1, Ordering::Relaxed);
                self.registry.unschedule(unit, machine).await
            }
            Decision::Schedule { unit, machine } => {
                log::info!(LOG, "Scheduling Unit({unit}) to Machine({machine})");
                self.counts.scheduled.fetch_add(1, Ordering::Relaxed);
                self.registry.schedule(unit, machine).await
            }
        }
    }

    /// Removes what machines said of their units that are gone.
    async fn clean_up(&mut self, gone: &BTreeSet<String>) -> Outcome {
        if gone.is_empty() {
            return Ok(());
        }
        let (states, heartbeats) = {
            let mirror = self.registry.mirror();
            let states = mirror.states.keys().filter(|(_, machine)| gone.contains(machine));
            let states: Vec<(String, String)> = states.cloned().collect();
            let heartbeats = mirror.jobs.iter().filter_map(|(name, job)| {
                let machine = job.heartbeat.clone().filter(|machine| gone.contains(machine))?;
                Some((name.clone(), machine))
            });
            (states, heartbeats.collect::<Vec<_>>())
        };
        for some in states.chunks(AT_ONCE) {
            self.renew().await;
            let removed = some
                .iter()
                .map(|(name, machine)| self.registry.remove_state(name, machine));
            join_all(removed).await.into_iter().collect::<Outcome>()?;
        }
        for some in heartbeats.chunks(AT_ONCE) {
            self.renew().await;
            let cleared = some
                .iter()
                .map(|(name, machine)| self.registry.clear_heartbeat(name, machine));
            join_all(cleared).await.into_iter().collect::<Outcome>()?;
        }
        Ok(())
    }

    /// Lets another machine lead at once.
    pub async fn leave(&mut self) {
        if let Some((index, _)) = self.held.take()
            && let Err(error) = self.registry.release_lease(index).await
        {
            log::warning!(LOG, "cannot give the lease back, it ends by itself: {error}");
        }
    }
}
