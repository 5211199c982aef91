//! Clients that write until they are stopped, and a record of what they were told.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::cluster::Member;
use crate::eventually;
use crate::http::Conn;

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
    /// Bodies of the errors that clients were given.
    pub errors: Vec<Value>,
}

#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    acknowledged: AtomicUsize,
}

pub struct Writers {
    threads: Vec<JoinHandle<Record>>,
    progress: Arc<Progress>,
}

impl Writers {
    /// Starts writers each with keys of their own and values of about `value` bytes.
    pub fn start(members: impl Iterator<Item = SocketAddr>, threads: usize, value: usize) -> Writers {
        let members: Vec<SocketAddr> = members.collect();
        let progress = Arc::<Progress>::default();
        let threads = (0..threads).map(|writer| {
            let (members, progress) = (members.clone(), progress.clone());
            std::thread::spawn(move || write(writer, &members, value, &progress))
        });
        Writers {
            threads: threads.collect(),
            progress,
        }
    }

    /// Waits for so many more acknowledged writes.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        let acknowledged = || self.progress.acknowledged.load(Ordering::Relaxed);
        let wanted = acknowledged() + count;
        eventually(&format!("{count} more writes are acknowledged"), || {
            (acknowledged() >= wanted).then_some(())
        });
    }

    pub fn stop(&mut self) -> Record {
        self.progress.stop.store(true, Ordering::Relaxed);
        let mut all = Record::default();
        for thread in self.threads.drain(..) {
            let record = thread.join().expect("a writer");
            all.keys.extend(record.keys);
            all.errors.extend(record.errors);
        }
        all
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::Relaxed);
    }
}

fn write(writer: usize, members: &[SocketAddr], padding: usize, progress: &Progress) -> Record {
    let mut record = Record::default();
    let mut conn: Option<Conn> = None;
    let mut member = writer;
    for number in 1u64.. {
        if progress.stop.load(Ordering::Relaxed) {
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
        let form = format!("value={number}{}", ".".repeat(padding));
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
                progress.acknowledged.fetch_add(1, Ordering::Relaxed);
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
