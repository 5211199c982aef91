//! The machine's wall clock, as it is or as a lab pretends it to be: `lab fault clock` leaves the difference in a file.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::pretend::Pretended;

/// Milliseconds, with a minus for a clock that is behind.
static DIFFERENCE: Pretended = Pretended::new("/run/lab/clock");

pub fn now() -> SystemTime {
    let now = SystemTime::now();
    let difference = DIFFERENCE.get();
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

/// For TLS: which certificates are valid now.
#[derive(Debug)]
pub struct Wall;

impl rustls::time_provider::TimeProvider for Wall {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(since_epoch()))
    }
}
