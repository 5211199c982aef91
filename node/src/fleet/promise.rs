//! Going on without etcd: a machine that hears nothing of it asks all others to leave its units alone for a TTL.
//!
//! An engine that cannot write to etcd now promises that; one that can does not, and then the machine that asks is the
//! one that is cut off. A unit moves only by an engine, so whoever has the word of every engine keeps its units:
//! * An engine that has given its word does not act on the machine before a TTL has passed. One that has begun anew, and
//!   may have forgotten its word, does not act on any machine that is gone before etcd has taken its heartbeats for a TTL.
//! * A machine keeps in the registry whom it asks (`asks`), before it counts on their word; an engine that it does not
//!   ask, as one that came later, holds still for `monitor::LIMIT` TTLs, and no machine goes on for as long without etcd.
//! * A machine that had not everybody's word in time is lost until etcd takes a heartbeat of its: an engine may have
//!   begun to act meanwhile, and a write of its may be under way for as long as etcd stands still.
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::monitor::Monitor;
use super::peer::Peers;
use super::registry::Registry;
use crate::log;

const LOG: &str = "server";

/// The promises that this machine has given.
pub struct Promises {
    monitor: Arc<Monitor>,
    until: Mutex<HashMap<String, Instant>>,
}

impl Promises {
    pub fn new(monitor: Arc<Monitor>) -> Promises {
        Promises {
            monitor,
            until: Mutex::default(),
        }
    }

    fn until(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.until.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    /// Promises to leave a machine's units alone for a TTL, if etcd cannot be written to from here.
    pub fn give(&self, machine: &str) -> bool {
        // The lock first: an engine that looks meanwhile sees the promise.
        let mut until = self.until();
        let given = self.monitor.dark();
        if given {
            until.insert(machine.into(), Instant::now() + self.monitor.ttl());
        }
        given
    }

    pub fn stands(&self, machine: &str) -> bool {
        let mut until = self.until();
        let now = Instant::now();
        until.retain(|_, until| *until > now);
        until.contains_key(machine)
    }
}

/// Whom this machine asks: everybody whom the registry may still name.
#[derive(Default)]
pub struct Asks(Mutex<AsksInside>);

#[derive(Default)]
struct AsksInside {
    /// What etcd has taken; None: nothing yet, and no promise counts.
    written: Option<BTreeSet<String>>,
    /// What it may have taken.
    sent: BTreeSet<String>,
}

impl Asks {
    fn inside(&self) -> std::sync::MutexGuard<'_, AsksInside> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    /// Keeps the registry's list true; called while etcd takes our writes.
    pub async fn write(&self, id: &str, registry: &Registry, monitor: &Monitor) {
        let (there, listed) = {
            let mirror = registry.mirror();
            let there = mirror.machines().into_iter().map(|machine| machine.id);
            let there: BTreeSet<String> = there.filter(|other| other != id).collect();
            (there, mirror.asks.get(id).cloned())
        };
        let mut wanted = there;
        // After a time without etcd all are gone for a moment: nobody is struck off before it is over.
        if monitor.steady() < monitor.ttl() {
            wanted.extend(listed.clone().unwrap_or_default());
        }
        {
            let mut inside = self.inside();
            if inside.written.as_ref() == Some(&wanted) && listed.as_ref() == Some(&wanted) {
                return;
            }
            inside.sent.extend(wanted.iter().cloned());
            inside.sent.extend(listed.unwrap_or_default());
        }
        match registry.set_asks(id, &wanted).await {
            Ok(()) => {
                let mut inside = self.inside();
                inside.sent.clone_from(&wanted);
                inside.written = Some(wanted);
            }
            Err(error) => log::debug!(LOG, "cannot write whom this machine asks: {error}"),
        }
    }

    fn all(&self) -> Option<BTreeSet<String>> {
        let inside = self.inside();
        Some(inside.written.as_ref()?.union(&inside.sent).cloned().collect())
    }
}

/// Asks all others, again and again, for as long as etcd does not answer and units run on their word.
pub async fn ask(registry: Arc<Registry>, monitor: Arc<Monitor>, peers: Arc<Peers>, asks: Arc<Asks>) {
    let ttl = monitor.ttl();
    let mut told = false;
    loop {
        sleep(ttl / 20).await;
        if !monitor.dark() {
            told = false;
            continue;
        }
        let (false, Some(all)) = (monitor.lost(), asks.all()) else {
            continue;
        };
        let asked = Instant::now();
        let addresses: Vec<_> = {
            let mirror = registry.mirror();
            all.iter()
                .map(|id| (id.clone(), mirror.peers.get(id).cloned()))
                .collect()
        };
        let answers = join_all(addresses.into_iter().map(async |(id, address)| {
            let Some(address) = address else { return Err(id) };
            match timeout(ttl / 10, peers.promise(&address)).await {
                Ok(Ok(true)) => Ok(()),
                _ => Err(id),
            }
        }));
        match answers.await.into_iter().collect::<Result<Vec<()>, String>>() {
            Ok(promised) => {
                monitor.excuse(asked);
                if !told {
                    told = true;
                    log::warning!(
                        LOG,
                        "etcd answers nobody ({} other machines asked): units go on for up to {:?}",
                        promised.len(),
                        monitor.limit() * 5 / 6
                    );
                }
            }
            Err(id) => log::debug!(LOG, "Machine({id}) promises nothing: etcd may answer there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_promise_is_given_only_where_etcd_does_not_answer_and_stands_for_a_ttl() {
        let monitor = Arc::new(Monitor::new(Duration::from_secs(30)));
        let promises = Promises::new(monitor.clone());
        monitor.alive(Instant::now());
        assert!(!promises.give("m1"));
        tokio::time::advance(Duration::from_secs(13)).await;
        assert!(promises.give("m1"));
        monitor.alive(Instant::now());
        tokio::time::advance(Duration::from_secs(29)).await;
        assert!(
            promises.stands("m1") && !promises.stands("m2"),
            "also once etcd answers again"
        );
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!promises.stands("m1"));
    }
}
