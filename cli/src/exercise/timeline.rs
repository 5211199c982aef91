//! What happened in an exercise, and when; kept in a file where somebody may go away and come back.
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::faults::Span;

/// A moment a line.
const FILE: &str = "timeline.jsonl";

#[derive(Clone)]
pub struct Timeline {
    began: Instant,
    /// How long it lasted before, without the time that somebody was away.
    before: Duration,
    moments: Arc<Mutex<Vec<Moment>>>,
    file: Option<Arc<File>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    pub at_ms: u64,
    pub kind: Kind,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Step,
    Act,
    Fault,
    Healed,
    Green,
    Red,
    Leader,
    WriteFailed,
    /// It was broken off here, and went on later; whatever was under way ended.
    Away,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline {
            began: Instant::now(),
            before: Duration::ZERO,
            moments: Arc::default(),
            file: None,
        }
    }
}

impl Timeline {
    /// One that outlives this program; `goes_on`: with what is kept there already.
    pub fn kept(dir: &Path, goes_on: bool) -> Result<Timeline, Failure> {
        let path = dir.join(FILE);
        if !goes_on {
            let _ = fs::remove_file(&path);
        }
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| Failure::io("open", &path, &error))?;
        let text = fs::read_to_string(&path).unwrap_or_default();
        let moments = read(&text);
        let last = moments.iter().map(|moment| moment.at_ms).max();
        let changed = file.metadata().and_then(|metadata| metadata.modified());
        if !text.is_empty() && !text.ends_with('\n') {
            let _ = (&file).write_all(b"\n");
        }
        let timeline = Timeline {
            // What it ends is before it.
            before: Duration::from_millis(last.map_or(0, |last| last + 1)),
            moments: Arc::new(Mutex::new(moments)),
            file: Some(Arc::new(file)),
            ..Timeline::default()
        };
        if last.is_some() {
            let away = changed.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            let away = Duration::from_secs(away.unwrap_or_default().as_secs());
            timeline.note(Kind::Away, Span::from(away).to_string());
        }
        Ok(timeline)
    }

    pub fn note(&self, kind: Kind, text: impl Into<String>) {
        self.note_at(Instant::now(), kind, text);
    }

    pub fn note_at(&self, at: Instant, kind: Kind, text: impl Into<String>) {
        let at = self.before + at.saturating_duration_since(self.began);
        let moment = Moment {
            at_ms: at.as_millis() as u64,
            kind,
            text: text.into(),
        };
        let line = serde_json::to_string(&moment).unwrap_or_default() + "\n";
        let mut moments = self.moments.lock().unwrap();
        if let Some(mut file) = self.file.as_deref() {
            // Without it the report is shorter, and the exercise is the same.
            let _ = file.write_all(line.as_bytes());
        }
        moments.push(moment);
    }

    pub fn elapsed(&self) -> Duration {
        self.before + self.began.elapsed()
    }

    pub fn moments(&self) -> Vec<Moment> {
        let mut moments = self.moments.lock().unwrap().clone();
        moments.sort_by_key(|moment| moment.at_ms);
        moments
    }
}

/// The last line may be torn, where the program was killed as it wrote.
fn read(text: &str) -> Vec<Moment> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_it_was_broken_off_and_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Timeline::kept(dir.path(), false).expect("a file");
        first.note_at(first.began + Duration::from_secs(5), Kind::Fault, "clock");
        fs::write(
            dir.path().join(FILE),
            fs::read_to_string(dir.path().join(FILE)).expect("text") + "{\"at_ms\":9",
        )
        .expect("write");
        let kinds = |timeline: &Timeline| {
            let moments = timeline.moments();
            moments.iter().map(|moment| moment.kind).collect::<Vec<_>>()
        };
        let again = Timeline::kept(dir.path(), true).expect("a file");
        assert_eq!(kinds(&again), [Kind::Fault, Kind::Away]);
        assert!(
            (5000..6000).contains(&again.moments()[1].at_ms),
            "{:?}",
            again.moments()
        );
        assert!(again.elapsed() >= Duration::from_secs(5));
        let third = Timeline::kept(dir.path(), true).expect("a file");
        assert_eq!(kinds(&third), [Kind::Fault, Kind::Away, Kind::Away]);
        assert_eq!(kinds(&Timeline::kept(dir.path(), false).expect("a file")), []);
    }
}
