//! Clients that write to etcd all along, each write a key of its own, and what became of the writes.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::check;
use super::model::{Load, Traffic};
use super::world::World;
use crate::faults::Span;

/// Where the keys are.
const DIR: &str = "lab-load";
/// Reading back what was acknowledged goes on for so long when nobody answers.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is known of the writes, while they go on.
#[derive(Debug)]
pub struct Tally {
    began: Instant,
    next: AtomicU64,
    over: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When, and which.
    acknowledged: Vec<(Duration, u64)>,
    failed: Vec<Duration>,
    lost: Option<Result<u64, String>>,
    ended: Option<Duration>,
}

pub struct Writers {
    pub tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
    nodes: Vec<String>,
}

/// What the report says of them.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    pub acknowledged: u64,
    pub failed: u64,
    pub lost: Option<u64>,
    pub unavailable_ms: u64,
    /// Milliseconds since the load began.
    pub failures_at: Vec<u64>,
}

impl Writers {
    pub fn start(load: &Load, world: &Arc<World>) -> Writers {
        let tally = Arc::new(Tally {
            began: Instant::now(),
            next: AtomicU64::new(0),
            over: AtomicBool::new(false),
            seen: Mutex::default(),
        });
        let nodes = world.names(&load.at);
        let clients = load.clients.max(1);
        let pause = Duration::from_secs_f64(f64::from(clients) / f64::from(load.rate.max(1)));
        let threads = (0..clients as usize)
            .map(|client| {
                let (tally, world, nodes) = (tally.clone(), world.clone(), nodes.clone());
                std::thread::spawn(move || tally.write(&world, &nodes, client, pause))
            })
            .collect();
        Writers { tally, threads, nodes }
    }

    /// Ends the writing and reads everything back that was acknowledged.
    pub fn finish(self, world: &World) -> Arc<Tally> {
        self.tally.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        let lost = self.tally.read_back(world, &self.nodes);
        let mut seen = self.tally.seen.lock().unwrap();
        seen.lost = Some(lost);
        drop(seen);
        self.tally
    }
}

impl Tally {
    fn write(&self, world: &World, nodes: &[String], client: usize, pause: Duration) {
        let mut turn = client;
        while !self.over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let put = super::model::Put {
                via: nodes[turn % nodes.len()].clone(),
                key: format!("{DIR}/{number}"),
                value: number.to_string(),
            };
            let began = Instant::now();
            let written = check::write(&put, world);
            let at = self.began.elapsed();
            let mut seen = self.seen.lock().unwrap();
            match written {
                Ok(_) => seen.acknowledged.push((at, number)),
                Err(_) => {
                    seen.failed.push(at);
                    // As clients do: the next one, please.
                    turn += 1;
                }
            }
            drop(seen);
            std::thread::sleep(pause.saturating_sub(began.elapsed()));
        }
        self.seen.lock().unwrap().ended = Some(self.began.elapsed());
    }

    /// How many of the acknowledged writes are not there, by a read that a quorum confirms.
    fn read_back(&self, world: &World, nodes: &[String]) -> Result<u64, String> {
        let began = Instant::now();
        let mut why = String::new();
        while began.elapsed() < PATIENCE {
            for node in nodes {
                match check::etcd(world, node, &format!("/v2/keys/{DIR}?quorum=true")) {
                    Ok(answer) if answer["node"].is_object() => {
                        let list = answer["node"]["nodes"].as_array().cloned().unwrap_or_default();
                        let there: std::collections::BTreeSet<u64> = list
                            .iter()
                            .filter_map(|node| node["value"].as_str()?.parse().ok())
                            .collect();
                        let seen = self.seen.lock().unwrap();
                        let lost = seen.acknowledged.iter().filter(|(_, number)| !there.contains(number));
                        return Ok(lost.count() as u64);
                    }
                    Ok(answer) => why = format!("{node}: {}", answer["message"]),
                    Err(error) => why = error,
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(why)
    }

    /// The longest time in which nothing was acknowledged.
    fn unavailable(seen: &Seen, until: Duration) -> Duration {
        let mut times: Vec<Duration> = seen.acknowledged.iter().map(|(at, _)| *at).collect();
        times.sort();
        let ends = times.iter().copied().chain([until]);
        let starts = [Duration::ZERO].into_iter().chain(times.iter().copied());
        starts
            .zip(ends)
            .map(|(start, end)| end.saturating_sub(start))
            .max()
            .unwrap_or(until)
    }

    pub fn began(&self) -> Instant {
        self.began
    }

    pub fn summary(&self) -> Summary {
        let seen = self.seen.lock().unwrap();
        let until = seen.ended.unwrap_or_else(|| self.began.elapsed());
        Summary {
            acknowledged: seen.acknowledged.len() as u64,
            failed: seen.failed.len() as u64,
            lost: seen.lost.as_ref().and_then(|lost| lost.as_ref().ok().copied()),
            unavailable_ms: Tally::unavailable(&seen, until).as_millis() as u64,
            failures_at: seen.failed.iter().map(|at| at.as_millis() as u64).collect(),
        }
    }

    pub fn judge(&self, wanted: &Traffic) -> Result<String, String> {
        let summary = self.summary();
        let unknown = match &self.seen.lock().unwrap().lost {
            Some(Err(why)) => Some(why.clone()),
            _ => None,
        };
        let lost = match (summary.lost, unknown) {
            (Some(lost), _) => lost.to_string(),
            (None, Some(why)) => format!("unknown ({why})"),
            (None, None) => "not yet counted".into(),
        };
        let saw = format!(
            "writes acknowledged {}, lost {lost}, unavailable for {}",
            summary.acknowledged,
            Span {
                millis: summary.unavailable_ms as i64
            }
        );
        let right = wanted
            .lost
            .is_none_or(|most| summary.lost.is_some_and(|lost| lost <= most))
            && wanted
                .unavailable
                .is_none_or(|most| summary.unavailable_ms <= most.millis.unsigned_abs())
            && wanted.acknowledged.is_none_or(|least| summary.acknowledged >= least);
        if right { Ok(saw) } else { Err(saw) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_counts_also_at_both_ends() {
        let seen = |times: &[u64]| Seen {
            acknowledged: times.iter().map(|at| (Duration::from_millis(*at), *at)).collect(),
            ..Seen::default()
        };
        let longest = |times: &[u64]| Tally::unavailable(&seen(times), Duration::from_millis(100)).as_millis();
        assert_eq!(longest(&[]), 100);
        assert_eq!(longest(&[10, 20, 95]), 75);
        assert_eq!(longest(&[40, 50, 60]), 40);
        assert_eq!(longest(&[5, 10, 15]), 85);
    }
}
