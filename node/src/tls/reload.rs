//! Certificates that follow their files: read again when a file has changed, kept when the new one is broken.
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Files;
use crate::log;

/// Files are looked at when a connection begins, and no more often than this.
const LOOK: Duration = Duration::from_secs(1);

type Load<T> = fn(&Files) -> Result<T, String>;
/// Enough of a file's state to tell when it has changed: inode, size, time of change.
type Stamp = Option<(u64, u64, i64, i64)>;

/// A rustls configuration made from files.
pub struct Reload<T> {
    files: Files,
    load: Load<T>,
    state: Mutex<Option<Loaded<T>>>,
}

struct Loaded<T> {
    config: Arc<T>,
    stamps: Vec<Stamp>,
    looked: Instant,
}

impl<T> Reload<T> {
    /// Nothing is read before the first `get`.
    pub fn new(files: Files, load: Load<T>) -> Reload<T> {
        Reload {
            files,
            load,
            state: Mutex::new(None),
        }
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What the files hold, as of a second ago at most. An error: they could not be read even once.
    pub fn get(&self) -> Result<Arc<T>, String> {
        self.get_at(Instant::now())
    }

    fn get_at(&self, now: Instant) -> Result<Arc<T>, String> {
        let mut state = self.state.lock().unwrap();
        let Some(loaded) = state.as_mut() else {
            // The stamps first: a change between the two is then seen at the next look.
            let stamps = self.stamps();
            let config = Arc::new((self.load)(&self.files)?);
            *state = Some(Loaded {
                config: config.clone(),
                stamps,
                looked: now,
            });
            return Ok(config);
        };
        if now.duration_since(loaded.looked) < LOOK {
            return Ok(loaded.config.clone());
        }
        loaded.looked = now;
        let stamps = self.stamps();
        if stamps != loaded.stamps {
            loaded.stamps = stamps;
            let names: Vec<String> = self.files.paths().map(|path| path.display().to_string()).collect();
            match (self.load)(&self.files) {
                Ok(config) => {
                    loaded.config = Arc::new(config);
                    log::info!("etcdmain", "read the changed certificates again: {}", names.join(", "));
                }
                Err(error) => log::error!(
                    "etcdmain",
                    "the certificates have changed and cannot be used: {error}; going on with those from before"
                ),
            }
        }
        Ok(loaded.config.clone())
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.files.paths().map(stamp).collect()
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = path.metadata().ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// As a config: the text of the certificate's file, which must not be "broken".
    fn text(files: &Files) -> Result<String, String> {
        let path = files.cert.as_ref().unwrap();
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        (text != "broken").then_some(text).ok_or_else(|| "it is broken".into())
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        let files = Files {
            cert: Some(path.clone()),
            ..Files::default()
        };
        let reload = Reload::new(files, text);
        assert!(reload.get().is_err());
        fs::write(&path, "one").unwrap();
        let start = Instant::now();
        let at = |seconds| reload.get_at(start + Duration::from_secs(seconds)).unwrap();
        assert_eq!(*at(0), "one");
        fs::write(&path, "another").unwrap();
        assert_eq!(*at(0), "one", "looked at again within a second");
        assert_eq!(*at(1), "another");
        fs::write(&path, "broken").unwrap();
        assert_eq!(*at(2), "another");
        fs::write(&path, "the third").unwrap();
        assert_eq!(*at(3), "the third");
        fs::remove_file(&path).unwrap();
        assert_eq!(*at(4), "the third");
    }
}
