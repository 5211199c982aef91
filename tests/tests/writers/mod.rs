//! Clients that write until they are stopped, and a record of what they were told.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use corelab_tests::cluster::Member;
use corelab_tests::eventually;
use corelab_tests::http::Conn;
use serde_json::Value;

/// What a key may hold.
#[derive(Debug, Default)]
struct Written {
    /// The value of the newest write that was acknowledged.
    acknowledged: Option<u64>,
    /// Values of writes without an answer, or with an error: they may have happened, or may happen later.
    unknown: BTreeSet<u64>,
}

#[derive(Default)]
pub struct Record {
    keys: BTreeMap<String, Written>,
    pub padding: usize,
    /// Bodies of the errors that clients were given.
    pub errors: Vec<Value>,
}

pub struct Writers {
    threads: Vec<JoinHandle<Record>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
}

impl Writers {
    pub fn start(members: impl Iterator<Item = SocketAddr>, threads: usize) -> Writers {
        Writers::with_values_of(members, threads, 100)
    }

    /// Writers each with their own keys and values of about this many bytes.
    pub fn with_values_of(members: impl Iterator<Item = SocketAddr>, threads: usize, padding: usize) -> Writers {
        let members: Vec<SocketAddr> = members.collect();
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let threads = (0..threads).map(|writer| {
            let (members, stop, acknowledged) = (members.clone(), stop.clone(), acknowledged.clone());
            std::thread::spawn(move || write(writer, &members, padding, &stop, &acknowledged))
        });
        Writers {
            threads: threads.collect(),
            stop,
            acknowledged,
        }
    }

    /// Waits for so many more acknowledged writes.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + count;
        eventually(&format!("{count} more writes are acknowledged"), || {
            (self.acknowledged.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    pub fn stop(&mut self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Record::default();
        for thread in self.threads.drain(..) {
            let record = thread.join().expect("a writer");
            all.padding = record.padding;
            all.keys.extend(record.keys);
            all.errors.extend(record.errors);
        }
        all
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(
    writer: usize,
    members: &[SocketAddr],
    padding: usize,
    stop: &AtomicBool,
    acknowledged: &AtomicUsize,
) -> Record {
    let mut record = Record {
        padding,
        ..Record::default()
    };
    let mut conn: Option<Conn> = None;
    let mut member = writer;
    for number in 1u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // By turns a key of its own, and one of a few that are written again and again.
        let key = if number % 2 == 0 {
            format!("w{writer}-{number}")
        } else {
            format!("w{writer}-again{}", number % 8)
        };
        let written = record.keys.entry(key.clone()).or_default();
        written.unknown.insert(number);
        let form = format!("value={number:.<padding$}");
        let answer = conn
            .take()
            .map_or_else(|| Conn::open(members[member % members.len()]), Ok)
            .and_then(|mut used| {
                let answer = used.ask("PUT", &format!("/v2/keys/{key}"), Some(&form))?;
                conn = Some(used);
                Ok(answer)
            });
        match answer {
            Ok(answer) if matches!(answer.status, 200 | 201) => {
                written.unknown.remove(&number);
                written.acknowledged = Some(number);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => {
                record.errors.push(answer.json());
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Err(_) => {
                member += 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
    record
}

impl Record {
    pub fn acknowledged(&self) -> usize {
        self.keys
            .values()
            .filter(|written| written.acknowledged.is_some())
            .count()
    }

    /// Does a member, as a quorum sees it, hold all that was acknowledged?
    #[track_caller]
    pub fn check(&self, member: &Member) {
        let listing = member.get("/v2/keys/?quorum=true").expect("list the keys");
        assert_eq!(listing.status, 200, "{}", listing.text());
        let listing = listing.json();
        let nodes = listing["node"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        let found: BTreeMap<&str, u64> = nodes
            .iter()
            .map(|node| {
                let value = node["value"].as_str().unwrap_or_default();
                let number = value.trim_end_matches('.').parse().unwrap_or_default();
                (node["key"].as_str().unwrap_or_default().trim_start_matches('/'), number)
            })
            .collect();
        for (key, written) in &self.keys {
            let value = found.get(key.as_str()).copied();
            let right = value == written.acknowledged || value.is_some_and(|value| written.unknown.contains(&value));
            assert!(
                right,
                "{} holds {value:?} under {key}; clients were told {written:?}",
                member.name
            );
        }
    }
}
