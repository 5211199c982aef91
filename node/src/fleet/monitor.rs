//! Whether the cluster still counts on this machine: when it last said so, and how long that holds.
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// For so many TTLs a machine goes on on the word of the others alone, and an engine that it could not ask holds still.
pub const LIMIT: u32 = 20;

#[derive(Default)]
struct Inside {
    /// When the last heartbeat that etcd took was sent: no later than etcd counts from.
    sent: Option<Instant>,
    /// Since when none was missing.
    steady: Option<Instant>,
    /// When all others were last asked that have promised to leave this machine's units alone.
    excused: Option<Instant>,
    /// Once it is lost it stays so until etcd takes a heartbeat: others may have its units.
    lost: bool,
}

pub struct Monitor {
    ttl: Duration,
    inside: Mutex<Inside>,
}

impl Monitor {
    pub fn new(ttl: Duration) -> Monitor {
        Monitor {
            ttl,
            inside: Mutex::default(),
        }
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// What the others may have decided without us once our heartbeats are missing for so long.
    pub fn limit(&self) -> Duration {
        self.ttl * LIMIT
    }

    /// As long without a heartbeat as the original's monitor waits: half the TTL for the next one, and a third of it for
    /// attempts.
    fn patience(&self) -> Duration {
        self.ttl / 2 + self.ttl / 3
    }

    /// A heartbeat has been taken that was sent at this time.
    pub fn alive(&self, sent: Instant) {
        let mut inside = self.inside();
        let missed = inside
            .sent
            .is_none_or(|before| sent.saturating_duration_since(before) > self.ttl * 2 / 3);
        if missed || inside.steady.is_none() {
            inside.steady = Some(Instant::now());
        }
        inside.sent = Some(sent);
        inside.excused = None;
        inside.lost = false;
    }

    /// Whether etcd has ever taken one: the place under our id is ours.
    pub fn registered(&self) -> bool {
        self.inside().sent.is_some()
    }

    pub fn reachable(&self) -> bool {
        let sent = self.inside().sent;
        sent.is_some_and(|sent| sent.elapsed() < self.patience())
    }

    /// A heartbeat is overdue: whatever this machine would write now, etcd may not take.
    pub fn dark(&self) -> bool {
        let sent = self.inside().sent;
        sent.is_none_or(|sent| sent.elapsed() > self.ttl * 2 / 5)
    }

    /// For how long no heartbeat has been missing; none while one is.
    pub fn steady(&self) -> Duration {
        let steady = self.inside().steady;
        steady
            .filter(|_| !self.dark())
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Everybody who could give our units to others has promised not to for a TTL, when they were asked at this time.
    pub fn excuse(&self, asked: Instant) {
        if !self.lost() {
            self.inside().excused = Some(asked);
        }
    }

    /// Units that may move have to have stopped when others may run them: a TTL after the last heartbeat, or after the
    /// last promise of all others, which holds for a while only. Before the first heartbeat there is nothing to lose.
    pub fn lost(&self) -> bool {
        let mut inside = self.inside();
        let Some(sent) = inside.sent else { return false };
        let last = match inside.excused {
            Some(asked) if sent.elapsed() < self.limit() * 5 / 6 => asked.max(sent),
            _ => sent,
        };
        inside.lost |= last.elapsed() >= self.patience();
        inside.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_is_lost_in_time_and_stays_so_until_a_heartbeat() {
        let monitor = Monitor::new(TTL);
        assert!(!monitor.lost(), "it had nothing to lose");
        monitor.alive(Instant::now());
        pass(24).await;
        assert!(monitor.dark() && !monitor.lost());
        pass(1).await;
        assert!(monitor.lost());
        monitor.excuse(Instant::now());
        assert!(monitor.lost(), "a promise comes too late: the others may have acted");
        monitor.alive(Instant::now());
        assert!(!monitor.lost() && monitor.steady() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn promises_of_all_others_hold_for_a_ttl_each_and_not_for_ever() {
        let monitor = Monitor::new(TTL);
        monitor.alive(Instant::now());
        let mut lasted = 0;
        while !monitor.lost() {
            pass(20).await;
            monitor.excuse(Instant::now());
            lasted += 20;
        }
        assert_eq!(lasted, 500, "5/6 of the limit of 600 s");
        let monitor = Monitor::new(TTL);
        monitor.alive(Instant::now());
        pass(20).await;
        monitor.excuse(Instant::now());
        pass(24).await;
        assert!(!monitor.lost());
        pass(1).await;
        assert!(monitor.lost(), "the promise was for a TTL");
    }

    #[tokio::test(start_paused = true)]
    async fn only_heartbeats_without_a_gap_are_steady() {
        let monitor = Monitor::new(TTL);
        for _ in 0..4 {
            monitor.alive(Instant::now());
            pass(10).await;
        }
        assert_eq!(monitor.steady(), Duration::from_secs(40));
        pass(11).await;
        assert_eq!(monitor.steady(), Duration::ZERO);
        monitor.alive(Instant::now());
        pass(5).await;
        assert_eq!(monitor.steady(), Duration::from_secs(5));
    }
}
