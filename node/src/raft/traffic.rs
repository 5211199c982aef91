//! How the members talk: counts and latencies for /v2/stats.
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Traffic {
    pub appends_sent: u64,
    pub appends_received: u64,
    pub followers: BTreeMap<u64, FollowerStats>,
}

/// What a leader has seen of one follower; times in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct FollowerStats {
    pub current: f64,
    pub minimum: f64,
    pub maximum: f64,
    pub succeeded: u64,
    pub failed: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl Traffic {
    pub fn sent(&mut self, to: u64, millis: f64, succeeded: bool) {
        self.appends_sent += 1;
        let follower = self.followers.entry(to).or_default();
        if !succeeded {
            follower.failed += 1;
            return;
        }
        follower.minimum = if follower.succeeded == 0 {
            millis
        } else {
            follower.minimum.min(millis)
        };
        follower.maximum = follower.maximum.max(millis);
        follower.current = millis;
        follower.succeeded += 1;
        follower.sum += millis;
        follower.sum_of_squares += millis * millis;
    }
}

impl FollowerStats {
    pub fn average(&self) -> f64 {
        if self.succeeded == 0 {
            0.0
        } else {
            self.sum / self.succeeded as f64
        }
    }

    pub fn deviation(&self) -> f64 {
        if self.succeeded == 0 {
            return 0.0;
        }
        (self.sum_of_squares / self.succeeded as f64 - self.average().powi(2))
            .max(0.0)
            .sqrt()
    }
}
