//! The original's log: lines on stderr with Go's time stamp, in UTC whatever TZ says.
use crate::kv::time::civil;
use crate::{sys, wall};

pub fn say(text: &str) {
    let seconds = wall::since_epoch().as_secs();
    let (year, month, day) = civil(seconds / 86400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let stamp = format!("{year}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}");
    sys::print("", &format!("{stamp} {text}\n"));
}
