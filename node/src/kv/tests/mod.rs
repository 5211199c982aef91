//! Tests of the whole key space; each file's own are beside its code.
mod deep;
mod lists;
mod model;
mod roundtrip;
mod ttl;
mod watches;
mod writes;

use std::sync::{Arc, Mutex};

use super::*;

/// 2016-01-02T15:04:05Z
const NOW: Time = 1_451_747_045_000_000_000;
const SECOND: Time = 1_000_000_000;

fn store() -> Store {
    Store::new(1000)
}

/// A store command by command, in the users' words: paths without `/1`.
trait Lab {
    fn run(&mut self, command: Command) -> String;
    fn get_at(&self, path: &str, recursive: bool, now: Time) -> String;

    fn set(&mut self, path: &str, value: &'static str) -> String {
        self.run(Command::Set {
            path: key(path),
            dir: false,
            value: value.into(),
            ttl: None,
            refresh: false,
        })
    }

    fn set_ttl(&mut self, path: &str, value: &'static str, ttl: u64) -> String {
        self.run(Command::Set {
            path: key(path),
            dir: false,
            value: value.into(),
            ttl: Some(ttl),
            refresh: false,
        })
    }

    fn mkdir(&mut self, path: &str, ttl: Option<u64>) -> String {
        self.run(Command::Set {
            path: key(path),
            dir: true,
            value: Path::new(),
            ttl,
            refresh: false,
        })
    }

    fn create(&mut self, path: &str, value: &'static str, unique: bool) -> String {
        self.run(Command::Create {
            path: key(path),
            dir: false,
            value: value.into(),
            ttl: None,
            unique,
        })
    }

    fn update(&mut self, path: &str, value: &'static str, ttl: Option<u64>, refresh: bool) -> String {
        self.run(Command::Update {
            path: key(path),
            value: value.into(),
            ttl,
            refresh,
        })
    }

    fn cas(&mut self, path: &str, prev_value: Option<&'static str>, prev_index: u64, value: &'static str) -> String {
        let prev_value = prev_value.map(Path::from);
        self.run(Command::CompareAndSwap {
            path: key(path),
            prev_value,
            prev_index,
            value: value.into(),
            ttl: None,
            refresh: false,
        })
    }

    fn rm(&mut self, path: &str, dir: bool, recursive: bool) -> String {
        self.run(Command::Delete {
            path: key(path),
            dir,
            recursive,
        })
    }

    fn cad(&mut self, path: &str, prev_value: Option<&'static str>, prev_index: u64) -> String {
        self.run(Command::CompareAndDelete {
            path: key(path),
            prev_value: prev_value.map(Path::from),
            prev_index,
        })
    }

    fn get_json(&self, path: &str) -> String {
        self.get_at(path, true, NOW)
    }
}

impl Lab for Store {
    fn run(&mut self, command: Command) -> String {
        text(match self.apply(&command, NOW) {
            Ok(event) => event.json(2),
            Err(error) => error.json(2),
        })
    }

    fn get_at(&self, path: &str, recursive: bool, now: Time) -> String {
        text(match self.get(&key(path), now) {
            Ok(view) => {
                let mut out = Vec::new();
                view.write_get(&mut out, 2, recursive, true, now);
                out.into()
            }
            Err(error) => error.json(2),
        })
    }
}

fn key(path: &str) -> Path {
    format!("/1{}", path.strip_suffix('/').unwrap_or(path)).into()
}

/// The line without its end, and with the recordings' short names.
fn text(line: bytes::Bytes) -> String {
    let line = String::from_utf8(line.to_vec()).unwrap();
    let line = line.strip_suffix('\n').expect("a line ends");
    line.replace("modifiedIndex", "mI")
        .replace("createdIndex", "cI")
        .replace('"', "")
}

/// Collects what a watch is told, as `action key index`.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn is_open(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Sink for Seen {
    fn send(&mut self, event: &Arc<Event>) -> bool {
        let key = String::from_utf8_lossy(&event.node.key[2..]).into_owned();
        self.0
            .lock()
            .unwrap()
            .push(format!("{} {key} {}", event.action.as_str(), event.index()));
        true
    }
}

fn watch(store: &mut Store, path: &str, recursive: bool, stream: bool, since: u64) -> Seen {
    let seen = Seen::default();
    store
        .watch(&key(path), recursive, stream, since, Box::new(seen.clone()))
        .unwrap();
    seen
}
