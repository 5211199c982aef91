//! The machine's wall clock, as it is or as a lab pretends it to be: `lab fault clock` leaves the difference in a file.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds, with a minus for a clock that is behind. No such file: the clock is right.
const FILE: &str = "/run/lab/clock";
/// So long the last answer of the file is believed.
const FRESH: u64 = 100;

static DIFFERENCE: AtomicI64 = AtomicI64::new(0);
/// When the file is looked at again, in milliseconds since this process first asked.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub fn now() -> SystemTime {
    let now = SystemTime::now();
    let difference = difference();
    let by = Duration::from_millis(difference.unsigned_abs());
    let shown = if difference < 0 {
        now.checked_sub(by)
    } else {
        now.checked_add(by)
    };
    shown.unwrap_or(now)
}

/// Since 1970.
pub fn since_epoch() -> Duration {
    now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn difference() -> i64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let elapsed = BEGAN.get_or_init(Instant::now).elapsed().as_millis() as u64;
    if elapsed >= NEXT.load(Ordering::Relaxed) {
        NEXT.store(elapsed + FRESH, Ordering::Relaxed);
        let text = std::fs::read_to_string(FILE).unwrap_or_default();
        DIFFERENCE.store(text.trim().parse().unwrap_or(0), Ordering::Relaxed);
    }
    DIFFERENCE.load(Ordering::Relaxed)
}

/// For TLS: which certificates are valid now.
#[derive(Debug)]
pub struct Wall;

impl rustls::time_provider::TimeProvider for Wall {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(since_epoch()))
    }
}
