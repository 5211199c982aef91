//! The cluster's scheduler where it leads: one machine holds the lease, and puts units where the plan has them.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::mirror::Lease;
use super::registry::Registry;
use super::scheduler::{self, Decision};
use crate::log;

const LOG: &str = "engine";
/// The version of this engine in the registry: one with a higher version leads in its place.
const VERSION: u64 = 1;
/// The lease lasts for so many intervals.
const INTERVALS: u32 = 5;
/// Changes that come together are planned together.
const GATHER: Duration = Duration::from_millis(20);

pub struct Engine {
    id: String,
    registry: Arc<Registry>,
    interval: Duration,
    /// The lease as it was last taken or renewed, and when that was sent.
    held: Option<(u64, Instant)>,
}

impl Engine {
    pub fn new(id: &str, registry: Arc<Registry>, interval: Duration) -> Engine {
        Engine {
            id: id.into(),
            registry,
            interval,
            held: None,
        }
    }

    fn ttl(&self) -> Duration {
        (self.interval * INTERVALS).max(Duration::from_secs(1))
    }

    /// Leads whenever nobody else does, until it is dropped.
    pub async fn run(&mut self) {
        let mut progress = self.registry.progress();
        let mut tick = interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut planned = 0;
        loop {
            let ticked = tokio::select! {
                _ = tick.tick() => true,
                changed = progress.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
            };
            let now = *progress.borrow_and_update();
            if !now.filled || !ticked && now.version == planned && self.held.is_some() {
                continue;
            }
            if ticked || self.held.is_none() {
                self.campaign().await;
            }
            if !self.leads() {
                continue;
            }
            if !ticked {
                sleep(GATHER).await;
            }
            planned = self.reconcile().await.unwrap_or(planned);
        }
    }

    /// Whether the lease is held for long enough to write by it.
    fn leads(&self) -> bool {
        self.held.is_some_and(|(_, sent)| sent.elapsed() < self.ttl() * 4 / 5)
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
        match self.registry.lease(&ours, self.ttl().as_secs(), renewed).await {
            Ok(Some(index)) => {
                if self.held.is_none() {
                    log::info!(LOG, "Engine leadership acquired");
                    if version < VERSION
                        && let Err(error) = self.registry.set_engine_version(VERSION).await
                    {
                        log::warning!(LOG, "cannot write the engine's version: {error}");
                    }
                }
                self.held = Some((index, sent));
            }
            Ok(None) => {
                if self.held.take().is_some() {
                    log::info!(LOG, "Engine leadership lost");
                }
            }
            // The lease may still be ours; `leads` says for how long.
            Err(error) => log::warning!(LOG, "cannot renew the lease: {error}"),
        }
    }

    /// Carries a plan out; the version of what it was made from, None where it could not be carried out.
    async fn reconcile(&self) -> Option<u64> {
        let (version, units, machines) = {
            let mirror = self.registry.mirror();
            let (units, machines) = mirror.scheduled();
            (mirror.version, units, machines)
        };
        let decisions = scheduler::plan(&units, &machines);
        let mut last = 0;
        for decision in &decisions {
            if !self.leads() {
                return None;
            }
            let done = match decision {
                Decision::Unschedule { unit, machine, reason } => {
                    log::info!(LOG, "Unscheduling Unit({unit}) from Machine({machine}): {reason}");
                    self.registry.unschedule(unit, machine).await
                }
                Decision::Schedule { unit, machine } => {
                    log::info!(LOG, "Scheduling Unit({unit}) to Machine({machine})");
                    self.registry.schedule(unit, machine).await
                }
            };
            match done {
                Ok(index) => last = index.unwrap_or(last),
                Err(error) => {
                    log::warning!(LOG, "cannot carry a decision out: {error}");
                    return None;
                }
            }
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

    /// Lets another machine lead at once.
    pub async fn leave(&mut self) {
        if let Some((index, _)) = self.held.take()
            && let Err(error) = self.registry.release_lease(index).await
        {
            log::warning!(LOG, "cannot give the lease back, it ends by itself: {error}");
        }
    }
}
