//! Random commands against the simplest store that could be right: full paths in a BTreeMap.
use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Clone)]
struct Entry {
    created: u64,
    modified: u64,
    /// None is a directory.
    value: Option<Vec<u8>>,
    deadline: Option<Time>,
}

struct Model {
    entries: BTreeMap<Vec<u8>, Entry>,
    index: u64,
}

fn parent(path: &[u8]) -> &[u8] {
    let at = path.iter().rposition(|&b| b == b'/').unwrap();
    if at == 0 { b"/" } else { &path[..at] }
}

impl Model {
    fn new() -> Self {
        let dir = Entry {
            created: 0,
            modified: 0,
            value: None,
            deadline: None,
        };
        let entries = ["/", "/0", "/1"]
            .into_iter()
            .map(|path| (path.into(), dir.clone()))
            .collect();
        Self { entries, index: 0 }
    }

    /// The entry, or the code and cause of its absence.
    fn find(&self, path: &[u8]) -> Result<Entry, (u16, Vec<u8>)> {
        let mut ends: Vec<usize> = (1..path.len()).filter(|&at| path[at] == b'/').collect();
        ends.push(path.len());
        let mut last = &self.entries[&b"/"[..]];
        for (at, end) in ends.iter().enumerate() {
            if last.value.is_some() {
                return Err((104, path[..ends[at - 1]].to_vec()));
            }
            last = self.entries.get(&path[..*end]).ok_or((100, path[..*end].to_vec()))?;
        }
        Ok(last.clone())
    }

    fn below(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let prefix = [path, b"/"].concat();
        self.entries
            .keys()
            .filter(|key| key.starts_with(&prefix))
            .cloned()
            .collect()
    }

    fn put(&mut self, path: &[u8], entry: Entry) -> Result<(), (u16, Vec<u8>)> {
        let above = parent(path).to_vec();
        match self.find(&above) {
            Ok(found) if found.value.is_some() => return Err((104, above)),
            Err((104, cause)) => return Err((104, cause)),
            Err(_) => self.put(
                &above,
                Entry {
                    value: None,
                    deadline: None,
                    ..entry.clone()
                },
            )?,
            Ok(_) => {}
        }
        self.entries.insert(path.to_vec(), entry);
        Ok(())
    }

    /// The index after success, else the code and the cause.
    fn apply(&mut self, command: &Command, now: Time) -> Result<u64, (u16, Vec<u8>)> {
        let next = self.index + 1;
        let path = command.path().to_vec();
        let read_only = path == b"/1"
            && !matches!(
                command,
                Command::CompareAndDelete { .. } | Command::Create { unique: true, .. }
            );
        let end = |ttl: &Option<u64>| ttl.map(|ttl| now + ttl * SECOND);
        let found = self.find(&path);
        let compare = |prev_value: &Option<Path>, prev_index: u64| {
            let found = found.clone()?;
            let Some(value) = found.value else {
                return Err((102, path.clone()));
            };
            let mut causes = Vec::new();
            if let Some(wanted) = prev_value.as_ref().filter(|wanted| wanted[..] != value[..]) {
                causes.push([b"[", &wanted[..], b" != ", &value[..], b"]"].concat());
            }
            if prev_index != 0 && prev_index != found.modified {
                causes.push(format!("[{prev_index} != {}]", found.modified).into_bytes());
            }
            if causes.is_empty() {
                Ok(())
            } else {
                Err((101, causes.join(&b' ')))
            }
        };
        match command {
            Command::Set { refresh: true, .. } if found.is_err() => return Err(found.err().unwrap()),
            _ if read_only => return Err((107, b"/".to_vec())),
            Command::Set {
                dir,
                value,
                ttl,
                refresh,
                ..
            } => {
                if found.as_ref().is_ok_and(|found| found.value.is_none()) {
                    return Err((102, path));
                }
                let kept = found.ok().and_then(|found| found.value).filter(|_| *refresh);
                let value = (!dir).then(|| kept.unwrap_or_else(|| value.to_vec()));
                self.put(
                    &path,
                    Entry {
                        created: next,
                        modified: next,
                        value,
                        deadline: end(ttl),
                    },
                )?;
            }
            Command::Create {
                dir,
                value,
                ttl,
                unique,
                ..
            } => {
                let path = if *unique {
                    [&path[..], format!("/{next:020}").as_bytes()].concat()
                } else {
                    path
                };
                if self.find(&path).is_ok() {
                    return Err((105, path));
                }
                let value = (!dir).then(|| value.to_vec());
                self.put(
                    &path,
                    Entry {
                        created: next,
                        modified: next,
                        value,
                        deadline: end(ttl),
                    },
                )?;
            }
            Command::Update {
                value, ttl, refresh, ..
            } => {
                let mut entry = found?;
                if let Some(stored) = &mut entry.value {
                    if !refresh {
                        *stored = value.to_vec();
                    }
                    entry.modified = next;
                } else if !value.is_empty() {
                    return Err((102, path));
                }
                entry.deadline = end(ttl);
                self.entries.insert(path, entry);
            }
            Command::CompareAndSwap {
                prev_value,
                prev_index,
                value,
                ttl,
                refresh,
                ..
            } => {
                compare(prev_value, *prev_index)?;
                let entry = self.entries.get_mut(&path).unwrap();
                if !refresh {
                    entry.value = Some(value.to_vec());
                }
                (entry.modified, entry.deadline) = (next, end(ttl));
            }
            Command::Delete { dir, recursive, .. } => {
                let below = self.below(&path);
                if found?.value.is_none() && !recursive {
                    if !dir {
                        return Err((102, path));
                    } else if !below.is_empty() {
                        return Err((108, path));
                    }
                }
                below
                    .iter()
                    .chain([&path])
                    .for_each(|gone| drop(self.entries.remove(gone)));
            }
            Command::CompareAndDelete {
                prev_value, prev_index, ..
            } => {
                compare(prev_value, *prev_index)?;
                self.entries.remove(&path);
            }
        }
        self.index = next;
        Ok(next)
    }

    fn expire(&mut self, now: Time) {
        let due = |(path, entry): (&Vec<u8>, &Entry)| {
            entry
                .deadline
                .filter(|deadline| *deadline <= now)
                .map(|deadline| (deadline, entry.created, path.clone()))
        };
        while let Some((.., path)) = self.entries.iter().filter_map(due).min() {
            self.below(&path)
                .iter()
                .chain([&path])
                .for_each(|gone| drop(self.entries.remove(gone)));
            self.index += 1;
        }
    }
}

pub fn command() -> impl Strategy<Value = Command> {
    let path = vec(prop::sample::select(&["a", "b", "_c", "b-"][..]), 0..4).prop_map(|names| {
        Path::from(
            names
                .iter()
                .fold("/1".to_owned(), |path, name| format!("{path}/{name}")),
        )
    });
    let value = || prop::sample::select(&["", "x", "y"][..]).prop_map(Path::from);
    let prev = || prop::option::of(prop::sample::select(&["x", "y"][..]).prop_map(Path::from));
    let ttl = || prop::option::weighted(0.3, 0..4u64);
    let rarely = || prop::bool::weighted(0.2);
    path.prop_flat_map(move |path| {
        let (p1, p2, p3, p4, p5) = (path.clone(), path.clone(), path.clone(), path.clone(), path.clone());
        prop_oneof![
            4 => (rarely(), value(), ttl(), rarely()).prop_map(move |(dir, value, ttl, refresh)| Command::Set { path: p1.clone(), dir, value, ttl, refresh }),
            2 => (rarely(), value(), ttl(), rarely()).prop_map(move |(dir, value, ttl, unique)| Command::Create { path: p2.clone(), dir, value, ttl, unique }),
            2 => (value(), ttl(), rarely()).prop_map(move |(value, ttl, refresh)| Command::Update { path: p3.clone(), value, ttl, refresh }),
            2 => (prev(), 0..6u64, value(), ttl(), rarely()).prop_map(move |(prev_value, prev_index, value, ttl, refresh)| Command::CompareAndSwap { path: p4.clone(), prev_value, prev_index, value, ttl, refresh }),
            2 => (rarely(), rarely()).prop_map(move |(dir, recursive)| Command::Delete { path: p5.clone(), dir, recursive }),
            1 => (prev(), 0..6u64).prop_map(move |(prev_value, prev_index)| Command::CompareAndDelete { path: path.clone(), prev_value, prev_index }),
        ]
    })
}

/// Runs the commands half a second apart, and gives back every answer.
pub fn run_all(store: &mut Store, commands: &[Command], start: Time) -> Vec<String> {
    let answer = |(at, command)| {
        let now = start + at as u64 * SECOND / 2;
        store.expire(now);
        text(match store.apply(command, now) {
            Ok(event) => event.json(2),
            Err(error) => error.json(2),
        })
    };
    commands.iter().enumerate().map(answer).collect()
}

/// Creation, modification, value and deadline by path.
type Dump = BTreeMap<Vec<u8>, (u64, u64, Option<Vec<u8>>, Option<Time>)>;

fn dump(view: &View, out: &mut Dump) {
    let entry = (
        view.created_index(),
        view.modified_index(),
        view.value().map(<[u8]>::to_vec),
        view.expiration(),
    );
    out.insert(view.path().to_vec(), entry);
    view.children().for_each(|(_, child)| dump(&child, out));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_store_does_what_the_model_does(commands in vec(command(), 1..80)) {
        let mut store = Store::new(50);
        let mut model = Model::new();
        let mut told = 0;
        let stream = Seen::default();
        store.watch(b"/", true, true, 0, Box::new(stream.clone())).unwrap();
        for (at, command) in commands.iter().enumerate() {
            let now = NOW + at as u64 * SECOND / 2;
            store.expire(now);
            model.expire(now);
            let answer = store.apply(command, now);
            let expected = model.apply(command, now);
            match (&answer, &expected) {
                (Ok(event), Ok(index)) => prop_assert_eq!(event.etcd_index, *index),
                (Err(error), Err((code, cause))) => {
                    prop_assert_eq!((error.code.number(), &error.cause[..], error.index), (*code, &cause[..], model.index), "{:?}", command);
                }
                _ => prop_assert!(false, "{command:?}: {answer:?}, expected {expected:?}"),
            }
            let indexes = stream.take();
            prop_assert!(indexes.len() as u64 <= store.index() - told);
            told = store.index();
            prop_assert_eq!(store.next_expiry(), model.entries.values().filter_map(|entry| entry.deadline).min());

            let mut mine = Dump::new();
            // As of the beginning of time nothing is late.
            dump(&store.get(b"/", 0).unwrap(), &mut mine);
            let listed = |path: &[u8]| !path.windows(2).any(|pair| pair == b"/_");
            let theirs: Dump = model.entries.iter().filter(|(path, _)| listed(path))
                .map(|(path, entry)| (path.clone(), (entry.created, entry.modified, entry.value.clone(), entry.deadline))).collect();
            prop_assert_eq!(mine, theirs);
        }
    }
}
