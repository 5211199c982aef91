//! Whether the cluster still knows of this machine: when it last said so, and when its lease is over.
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

pub struct Monitor {
    ttl: Duration,
    /// When the last heartbeat that etcd took was sent: no later than etcd counts from.
    sent: Mutex<Option<Instant>>,
}

impl Monitor {
    pub fn new(ttl: Duration) -> Monitor {
        Monitor {
            ttl,
            sent: Mutex::new(None),
        }
    }

    fn sent(&self) -> Option<Instant> {
        *self.sent.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A heartbeat has been taken that was sent at this time.
    pub fn alive(&self, sent: Instant) {
        *self.sent.lock().unwrap_or_else(|broken| broken.into_inner()) = Some(sent);
    }

    /// False after as long without a heartbeat as the original's monitor waits: half the TTL for the next one, and a
    /// third of it for attempts.
    pub fn reachable(&self) -> bool {
        self.sent()
            .is_some_and(|sent| sent.elapsed() < self.ttl / 2 + self.ttl / 3)
    }

    /// True from then on: units that may move stop, so that they have stopped when the lease is over and others may run
    /// them. Before the first heartbeat there is nothing to lose.
    pub fn lost(&self) -> bool {
        self.sent().is_some() && !self.reachable()
    }
}
