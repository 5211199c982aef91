//! What an agent says of its units, and what it does for those that have failed.
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep};

use super::{Agent, Held, LOG, LOOK, Manager, Told};
use crate::fleet::mirror::{MachineRef, UnitState};
use crate::fleet::registry::LASTING;
use crate::log;
use crate::unit::requirements::RestartFailed;

/// A failed unit is started again after this, then after twice as long, and so on up to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A unit that has been well for so long has a clean record again.
const WELL: Duration = Duration::from_secs(60);
/// After so many failed starts here a unit goes elsewhere, if it may.
const TRIES: u32 = 3;

impl Told {
    fn now(index: u64) -> Told {
        Told {
            at: Instant::now(),
            index,
        }
    }
}

impl<M: Manager> Agent<M> {
    /// Keeps the registry informed: at once of what changes, and again before its time is up.
    pub(super) async fn publish(&self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = self.moved.notified() => {}
            }
            if let Err(error) = self.publish_once().await {
                log::warning!(LOG, "cannot publish the state of units: {error}");
                sleep(LOOK).await;
            }
        }
    }

    async fn publish_once(&self) -> Result<(), String> {
        self.sweep().await?;
        let names: Vec<String> = self.held().keys().cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let statuses = self.manager.statuses(&names).await?;
        // Again before its time is up, and what etcd has dropped, as after it stood still for very long.
        let again =
            |told: Told, known: bool, seen: u64| told.at.elapsed() >= LASTING / 2 || !known && seen >= told.index;
        for name in names {
            let Some(held) = self.held().get(&name).cloned() else {
                continue;
            };
            let status = statuses.get(&name).cloned().unwrap_or_default();
            self.tend(&name, &held, &status.active).await;
            let state = UnitState {
                load_state: status.load,
                active_state: status.active,
                sub_state: status.sub,
                machine_state: MachineRef {
                    id: self.id.clone(),
                    ..MachineRef::default()
                },
                unit_hash: held.hash.to_string(),
            };
            let seen = self.registry.progress().borrow().index;
            let (known, scheduled_here, beats) = {
                let mirror = self.registry.mirror();
                let known = mirror.states.contains_key(&(name.clone(), self.id.clone()));
                let job = mirror.jobs.get(&name);
                let here = job.is_some_and(|job| job.target.as_deref() == Some(&self.id));
                (
                    known,
                    here,
                    job.is_some_and(|job| job.heartbeat.as_deref() == Some(&self.id)),
                )
            };
            let told = held.published.as_ref();
            if told.is_none_or(|(last, told)| *last != state || again(*told, known, seen)) {
                let saved = self.registry.save_state(&name, &state).await;
                let told = Told::now(saved.map_err(|error| error.to_string())?);
                self.note(&name, |held| held.published = Some((state, told)));
                // One that went meanwhile must not stay behind as a state.
                if !self.held().contains_key(&name) {
                    let _ = self.registry.remove_state(&name, &self.id).await;
                    continue;
                }
            }
            let still = self.held().get(&name).is_some_and(|held| held.launched);
            let beaten = held.beaten.is_none_or(|told| again(told, beats, seen));
            if still && scheduled_here && beaten && !self.busy().contains(&name) {
                let beaten = self.registry.heartbeat(&name, &self.id).await;
                let told = Told::now(beaten.map_err(|error| error.to_string())?);
                self.note(&name, |held| held.beaten = Some(told));
            }
        }
        Ok(())
    }

    /// Takes back what is said in our name of units that are not here, as an earlier run of this machine left it.
    async fn sweep(&self) -> Result<(), String> {
        let (states, heartbeats) = {
            let mirror = self.registry.mirror();
            let (held, busy) = (self.held(), self.busy());
            let foreign = |name: &String| !held.contains_key(name) && !busy.contains(name);
            let states = mirror
                .states
                .keys()
                .filter(|(name, by)| *by == self.id && foreign(name));
            let states: Vec<String> = states.map(|(name, _)| name.clone()).collect();
            let heartbeats = mirror.jobs.iter().filter(|(name, job)| {
                let runs = held.get(*name).is_some_and(|held| held.launched) || busy.contains(*name);
                job.heartbeat.as_deref() == Some(&self.id) && !runs
            });
            let heartbeats: Vec<String> = heartbeats.map(|(name, _)| name.clone()).collect();
            (states, heartbeats)
        };
        for name in states {
            let removed = self.registry.remove_state(&name, &self.id).await;
            removed.map_err(|error| error.to_string())?;
        }
        for name in heartbeats {
            let cleared = self.registry.clear_heartbeat(&name, &self.id).await;
            cleared.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Starts a unit again that has failed, if it asks for that.
    async fn tend(&self, name: &str, held: &Held, active: &str) {
        let now = Instant::now();
        let failed = active == "failed" && held.launched && !self.busy().contains(name);
        if !failed || held.restart_failed == RestartFailed::No {
            self.note(name, |held| {
                let well = held.well.filter(|_| active == "active");
                held.well = well.or((active == "active").then_some(now));
                if held.well.is_some_and(|since| since.elapsed() >= WELL) {
                    held.failures = 0;
                }
            });
            return;
        }
        let pause = FIRST_PAUSE
            .saturating_mul(1 << held.failures.min(16))
            .min(LONGEST_PAUSE);
        match held.again {
            Some(at) if at > now => {}
            _ if held.restart_failed == RestartFailed::Elsewhere && held.failures >= TRIES => {
                log::warning!(LOG, "Unit({name}) has failed {TRIES} times here: it goes elsewhere");
                let seconds = self.monitor.limit().as_secs();
                match self.registry.failed_on(name, &self.id, seconds).await {
                    Ok(()) => self.note(name, |held| held.again = Some(now + LONGEST_PAUSE)),
                    Err(error) => log::warning!(LOG, "cannot tell that Unit({name}) fails here: {error}"),
                }
            }
            None => self.note(name, |held| held.again = Some(now + pause)),
            Some(_) => {
                log::info!(LOG, "Unit({name}) has failed and is started again");
                if let Err(error) = self.manager.start(name).await {
                    log::error!(LOG, "Unit({name}): {error}");
                }
                self.note(name, |held| {
                    held.again = None;
                    held.well = None;
                    held.failures += 1;
                });
            }
        }
    }
}
