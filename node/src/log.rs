//! The server's log on stderr, a line an event: `2006-01-02 15:04:05.000000 L | pkg: text`. Times are UTC, whatever TZ says.
//!
//! Inside this crate: `log::info!("etcdserver", "text {}", x)`, and likewise critical, error, warning, notice, debug. They are
//! `tracing` events whose target is the package and whose name is the level's letter: tracing has no Critical and no Notice.
//! Values of keys never go in here.
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::str::FromStr;
use std::sync::RwLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Level {
    pub fn letter(self) -> &'static str {
        match self {
            Level::Critical => "C",
            Level::Error => "E",
            Level::Warning => "W",
            Level::Notice => "N",
            Level::Info => "I",
            Level::Debug => "D",
        }
    }

    /// Our macros name an event by its letter; no event of another crate has a name of one character.
    fn of_ours(meta: &Metadata<'_>) -> Option<Level> {
        use Level::*;
        [Critical, Error, Warning, Notice, Info, Debug]
            .into_iter()
            .find(|l| l.letter() == meta.name())
    }

    fn of_tracing(level: &tracing::Level) -> Level {
        match *level {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(s: &str) -> Result<Level, String> {
        Ok(match s {
            "CRITICAL" | "C" => Level::Critical,
            "ERROR" | "0" | "E" => Level::Error,
            "WARNING" | "1" | "W" => Level::Warning,
            "NOTICE" | "2" | "N" => Level::Notice,
            "INFO" | "3" | "I" => Level::Info,
            "DEBUG" | "4" | "D" | "TRACE" | "5" | "T" => Level::Debug,
            _ => return Err(format!("couldn't parse log level {s}")),
        })
    }
}

/// A line that is known before the log is set up, or that outlives the code that found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub pkg: &'static str,
    pub text: String,
}

impl LogLine {
    pub fn new(level: Level, pkg: &'static str, text: impl Into<String>) -> LogLine {
        LogLine {
            level,
            pkg,
            text: text.into(),
        }
    }
}

/// `pkg=LEVEL,pkg2=LEVEL`; the package `*` stands for all.
pub fn parse_package_levels(input: &str) -> Result<Vec<(String, Level)>, String> {
    let parse = |setting: &str| match setting.split('=').collect::<Vec<_>>()[..] {
        [pkg, level] => Ok((pkg.to_string(), level.parse()?)),
        _ => Err(format!("oddly structured `pkg=level` option: {setting}")),
    };
    input.split(',').map(parse).collect()
}

struct Levels {
    global: Level,
    packages: Vec<(String, Level)>,
}

impl Levels {
    const DEFAULT: Levels = Levels {
        global: Level::Info,
        packages: Vec::new(),
    };

    fn explicit(&self, pkg: &str) -> Option<Level> {
        // The last one wins, as in a map that is filled from left to right.
        self.packages
            .iter()
            .rev()
            .find(|(p, _)| p == pkg || p == "*")
            .map(|(_, level)| *level)
    }

    fn of(&self, pkg: &str) -> Level {
        self.explicit(pkg).unwrap_or(self.global)
    }

    fn shows(&self, meta: &Metadata<'_>) -> bool {
        if !meta.is_event() {
            return false;
        }
        if let Some(level) = Level::of_ours(meta) {
            return level <= self.of(meta.target());
        }
        let pkg = package(meta);
        let limit = self.explicit(pkg).unwrap_or(match (pkg, self.global) {
            // openraft tells of every vote and append as a warning or less: that is for --debug.
            ("raft", Level::Debug) => Level::Debug,
            ("raft", global) => global.min(Level::Error),
            (_, global) => global.min(Level::Warning),
        });
        Level::of_tracing(meta.level()) <= limit && *meta.level() != tracing::Level::TRACE
    }
}

/// A dependency's events go under its crate's name, except that openraft is our `raft`.
fn package<'a>(meta: &Metadata<'a>) -> &'a str {
    if Level::of_ours(meta).is_some() {
        return meta.target();
    }
    match meta.target().split("::").next() {
        Some(name) if name.starts_with("openraft") => "raft",
        Some(name) => name,
        None => meta.target(),
    }
}

static LEVELS: RwLock<Levels> = RwLock::new(Levels::DEFAULT);

fn levels<R>(read: impl FnOnce(&Levels) -> R) -> R {
    // A poisoned lock still holds whole levels: nothing here can panic halfway.
    read(&LEVELS.read().unwrap_or_else(|e| e.into_inner()))
}

/// Sends the crate's events to stderr. A second call only sets the levels.
pub fn init(level: Level, packages: &[(String, Level)]) {
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(LogLayer { write: to_stderr }));
    replace_levels(Levels {
        global: level,
        packages: packages.to_vec(),
    });
}

/// All packages at this level from now on, those of --log-package-levels too (PUT /config/local/log).
pub fn set_level(level: Level) {
    replace_levels(Levels {
        global: level,
        packages: Vec::new(),
    });
}

fn replace_levels(new: Levels) {
    *LEVELS.write().unwrap_or_else(|e| e.into_inner()) = new;
    // Each callsite keeps whether it is shown, so that a line which is not costs one atomic load: ask them all again.
    tracing::callsite::rebuild_interest_cache();
}

/// Prints a line that was found before the log was set up.
pub fn emit(line: &LogLine) {
    if levels(|l| line.level <= l.of(line.pkg)) {
        to_stderr(&format_line(crate::wall::now(), line.level, line.pkg, &line.text));
    }
}

fn to_stderr(line: &str) {
    // The reader of the log may be gone (EPIPE); the server goes on without it.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

struct LogLayer<W> {
    write: W,
}

impl<S: Subscriber, W: Fn(&str) + 'static> Layer<S> for LogLayer<W> {
    fn register_callsite(&self, meta: &'static Metadata<'static>) -> Interest {
        if levels(|l| l.shows(meta)) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, meta: &Metadata<'_>, _: Context<'_, S>) -> bool {
        levels(|l| l.shows(meta))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        let level = Level::of_ours(meta).unwrap_or_else(|| Level::of_tracing(meta.level()));
        (self.write)(&format_line(
            crate::wall::now(),
            level,
            package(meta),
            &format!("{}{}", text.message, text.fields),
        ));
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// A line as programs print it that have no log of packages.
pub fn line(level: Level, text: &str) -> String {
    format_line(crate::wall::now(), level, "", text).replacen("| : ", "| ", 1)
}

fn format_line(now: SystemTime, level: Level, pkg: &str, text: &str) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (seconds, micros) = (since.as_secs(), since.subsec_micros());
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // One event is one line: text that came from outside cannot forge another.
    let text = text.trim_end_matches('\n').replace('\n', "\\n");
    let letter = level.letter();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} {letter} | {pkg}: {text}\n")
}

/// The date of a day counted from 1970-01-01. Years begin in March here, so that the leap day comes last.
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (
        era * 400 + year_of_era + u64::from(month <= 2),
        month,
        day_of_year - (153 * shifted + 2) / 5 + 1,
    )
}

#[doc(hidden)]
#[macro_export]
macro_rules! __etcd_log {
    ($name:literal, $level:ident, $pkg:expr, $($arg:tt)+) => {
        ::tracing::event!(name: $name, target: $pkg, ::tracing::Level::$level, $($arg)+)
    };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __etcd_critical { ($pkg:expr, $($arg:tt)+) => { $crate::__etcd_log!("C", ERROR, $pkg, $($arg)+) }; }
#[doc(hidden)]
#[macro_export]
macro_rules! __etcd_error { ($pkg:expr, $($arg:tt)+) => { $crate::__etcd_log!("E", ERROR, $pkg, $($arg)+) }; }
#[doc(hidden)]
#[macro_export]
macro_rules! __etcd_warning { ($pkg:expr, $($arg:tt)+) => { $crate::__etcd_log!("W", WARN, $pkg, $($arg)+) }; }
#[doc(hidden)]
#[macro_export]
macro_rules! __etcd_notice { ($pkg:expr, $($arg:tt)+) => { $crate::__etcd_log!("N", INFO, $pkg, $($arg)+) }; }
#[doc(hidden)]
#[macro_export]
macro_rules! __etcd_info { ($pkg:expr, $($arg:tt)+) => { $crate::__etcd_log!("I", INFO, $pkg, $($arg)+) }; }
#[doc(hidden)]
#[macro_export]
macro_rules! __etcd_debug { ($pkg:expr, $($arg:tt)+) => { $crate::__etcd_log!("D", DEBUG, $pkg, $($arg)+) }; }

pub use crate::{
    __etcd_critical as critical, __etcd_debug as debug, __etcd_error as error, __etcd_info as info,
    __etcd_notice as notice, __etcd_warning as warning,
};

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
