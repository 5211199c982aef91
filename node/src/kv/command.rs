//! The writes a store executes, as they stand in the log.
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Path;

/// `ttl` is in seconds; without one the key becomes permanent. `refresh` keeps the value and wakes no watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    Set {
        path: Path,
        dir: bool,
        value: Bytes,
        ttl: Option<u64>,
        refresh: bool,
    },
    /// `unique`: the key is a new child of `path`, named by the next index in 20 digits.
    Create {
        path: Path,
        dir: bool,
        value: Bytes,
        ttl: Option<u64>,
        unique: bool,
    },
    Update {
        path: Path,
        value: Bytes,
        ttl: Option<u64>,
        refresh: bool,
    },
    /// `prev_index` 0 and `prev_value` None compare nothing.
    CompareAndSwap {
        path: Path,
        prev_value: Option<Bytes>,
        prev_index: u64,
        value: Bytes,
        ttl: Option<u64>,
        refresh: bool,
    },
    /// `recursive` implies `dir`.
    Delete { path: Path, dir: bool, recursive: bool },
    CompareAndDelete {
        path: Path,
        prev_value: Option<Bytes>,
        prev_index: u64,
    },
}

impl Command {
    pub fn path(&self) -> &Path {
        match self {
            Command::Set { path, .. }
            | Command::Create { path, .. }
            | Command::Update { path, .. }
            | Command::CompareAndSwap { path, .. }
            | Command::Delete { path, .. }
            | Command::CompareAndDelete { path, .. } => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_comes_back_from_the_log_as_it_went_in() {
        let command = Command::CompareAndSwap {
            path: "/1/a".into(),
            prev_value: Some(Bytes::from_static(b"\xff")),
            prev_index: u64::MAX,
            value: Bytes::new(),
            ttl: Some(0),
            refresh: true,
        };
        let bytes = postcard::to_stdvec(&command).unwrap();
        assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
    }
}
