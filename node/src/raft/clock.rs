//! The cluster's clock: what TTLs are measured by.
//!
//! The leader's time is everybody's. A follower learns it from the leader's messages and goes on with it when it
//! becomes leader itself, so that a change of leader, or a step of one machine's wall clock, moves no deadline.
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::kv::Time;

/// Beyond this a clock is set at once; below it is slewed.
const STEP: i64 = Duration::from_secs(1).as_nanos() as i64;

pub struct Clock {
    started: Instant,
    /// Cluster time at `started`, in nanoseconds since the epoch.
    base: AtomicI64,
    heard: AtomicBool,
}

impl Clock {
    /// Begins with the wall clock's time, or with a given one in simulated runs.
    pub fn new(wall: Option<Time>) -> Clock {
        let now = wall.unwrap_or_else(|| crate::wall::since_epoch().as_nanos() as Time);
        Clock {
            started: Instant::now(),
            base: AtomicI64::new(now as i64),
            heard: AtomicBool::new(false),
        }
    }

    pub fn now(&self) -> Time {
        (self.base.load(Ordering::Relaxed) + self.started.elapsed().as_nanos() as i64).max(0) as Time
    }

    /// The leader's clock showed `time` when it sent a message that has just arrived.
    pub fn hear(&self, time: Time) {
        let ahead = time as i64 - self.now() as i64;
        let first = !self.heard.swap(true, Ordering::Relaxed);
        // The message was under way for a while, so the leader's clock is never behind `time`: going forward is
        // always right, going back only after a first contact or for a real difference.
        let change = if ahead >= 0 || first || ahead < -STEP {
            ahead
        } else {
            ahead / 64
        };
        self.base.fetch_add(change, Ordering::Relaxed);
    }

    /// Time does not go back behind what the log already says.
    pub fn not_before(&self, time: Time) {
        let behind = time as i64 - self.now() as i64;
        if behind > 0 {
            self.base.fetch_add(behind, Ordering::Relaxed);
        }
    }
}
