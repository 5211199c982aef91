//! The only place that prints.
use std::io::Write;
use std::time::Duration;

/// Why a command failed: what, where, why, and what to type.
pub struct Failure {
    pub code: u8,
    pub what: String,
    pub place: String,
    pub why: String,
    pub remedy: String,
}

pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A phase that is done, and how long it took.
pub fn phase(text: &str, took: Duration) {
    line(&format!("{text} ({:.2} s)", took.as_secs_f64()));
}

pub fn failure(failure: &Failure) {
    let mut err = std::io::stderr();
    let _ = writeln!(err, "error: {}", failure.what);
    for (name, text) in [
        ("where", &failure.place),
        ("why", &failure.why),
        ("do", &failure.remedy),
    ] {
        if !text.is_empty() {
            let _ = writeln!(err, "  {name}: {}", text.trim_end().replace('\n', "\n         "));
        }
    }
}
