//! What a lab pretends about its node: a number in a file below /run/lab, looked at now and then.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

/// So long the last answer of a file is believed, in milliseconds.
const FRESH: u64 = 100;

pub struct Pretended {
    file: &'static str,
    value: AtomicI64,
    /// When the file is looked at again, in milliseconds since this process first asked for any.
    next: AtomicU64,
}

impl Pretended {
    pub const fn new(file: &'static str) -> Pretended {
        Pretended {
            file,
            value: AtomicI64::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// 0 where there is no such file: nothing is pretended.
    pub fn get(&self) -> i64 {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        let elapsed = BEGAN.get_or_init(Instant::now).elapsed().as_millis() as u64;
        if elapsed >= self.next.load(Ordering::Relaxed) {
            self.next.store(elapsed + FRESH, Ordering::Relaxed);
            let text = std::fs::read_to_string(self.file).unwrap_or_default();
            self.value.store(text.trim().parse().unwrap_or(0), Ordering::Relaxed);
        }
        self.value.load(Ordering::Relaxed)
    }
}
