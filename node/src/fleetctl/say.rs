//! What fleetctl says: results on stdout, everything else on stderr, lines of its log in fleet's form.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::log;
use crate::sys;

pub fn out(line: &str) {
    sys::print(&format!("{line}\n"), "");
}

pub fn err(line: &str) {
    sys::print("", &format!("{line}\n"));
}

/// A line with time and level, and the part of the program in place of the original's file and line.
pub fn log(level: &str, part: &str, text: &str) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let (year, month, day) = log::date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let stamp = format!("{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}");
    err(&format!("{stamp} {level} {part}: {text}"));
}
