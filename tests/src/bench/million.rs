//! A store of a million keys: memory, the slowest writes while a snapshot is taken, and the restart after SIGKILL.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::http::Template;
use crate::load::{self, Job, Keys};
use crate::report::{Report, ValueRow, Wanted};
use crate::server::{Cluster, Side};

/// 1000 directories of 1000 keys.
const PATH: &str = "m/###/###";
const LOAD_LIMIT: Duration = Duration::from_secs(1200);
const WINDOW_LIMIT: Duration = Duration::from_secs(240);
const RESTART_LIMIT: Duration = Duration::from_secs(300);

pub struct Size {
    pub keys: usize,
    pub snapshot_count: u64,
}

#[derive(Default)]
struct Measured {
    load_ops_s: f64,
    load_cpu_us: f64,
    rss_mb: f64,
    peak_mb: f64,
    p999_ms: f64,
    max_ms: f64,
    window_ops_s: f64,
    snapshots: usize,
    errors: u64,
    restart_s: f64,
}

pub fn measure(sides: &[Side; 2], size: &Size, scratch: &Path, report: &mut Report) -> Result<()> {
    // One after the other: two such stores at once would compete for memory and, with their snapshots, for the disk.
    let ours = run(&sides[0], size, scratch)?;
    let peer = run(&sides[1], size, scratch)?;
    let snapshots = format!("{} and {} snapshots in the window", ours.snapshots, peer.snapshots);
    let errors = match (ours.errors, peer.errors) {
        (0, 0) => String::new(),
        (ours, peer) => format!("ERRORS: {ours} and {peer}"),
    };
    let none = if ours.snapshots.min(peer.snapshots) == 0 {
        "NO SNAPSHOT on one side: "
    } else {
        ""
    };
    type Pick = fn(&Measured) -> f64;
    let rows: [(&str, &'static str, Pick, Wanted, String); 8] = [
        (
            "load, 256 conns",
            "ops/s",
            |m| m.load_ops_s,
            Wanted::Anything,
            errors.clone(),
        ),
        (
            "load, CPU per write",
            "us",
            |m| m.load_cpu_us,
            Wanted::Anything,
            String::new(),
        ),
        (
            "memory after load (RSS)",
            "MB",
            |m| m.rss_mb,
            Wanted::Ratio(0.5),
            String::new(),
        ),
        (
            "memory after load and snapshots (peak)",
            "MB",
            |m| m.peak_mb,
            Wanted::Ratio(0.5),
            String::new(),
        ),
        (
            "writes with a snapshot, 64 conns",
            "ops/s",
            |m| m.window_ops_s,
            Wanted::Anything,
            errors,
        ),
        (
            "write p99.9 with a snapshot",
            "ms",
            |m| m.p999_ms,
            Wanted::Anything,
            format!("{none}{snapshots}"),
        ),
        (
            "write max with a snapshot",
            "ms",
            |m| m.max_ms,
            Wanted::Anything,
            String::new(),
        ),
        (
            "SIGKILL to next write",
            "s",
            |m| m.restart_s,
            Wanted::Anything,
            String::new(),
        ),
    ];
    for (measure, unit, pick, wanted, note) in rows {
        report.values.push(ValueRow {
            measure: format!("{} keys: {measure}", size.keys),
            members: 1,
            unit,
            ours: pick(&ours),
            peer: pick(&peer),
            wanted,
            note,
        });
    }
    Ok(())
}

fn run(side: &Side, size: &Size, scratch: &Path) -> Result<Measured> {
    eprintln!("{}: load {} keys", side.name, size.keys);
    let mut cluster = Cluster::start(side, 1, size.snapshot_count, scratch)?;
    let mut found = Measured::default();

    let mut seen = 0;
    let loaded = load::run(Job {
        template: Template::put(PATH),
        keys: Keys::InOrder {
            next: 0,
            end: size.keys,
        },
        conns: 256,
        targets: &cluster.clients,
        pids: &cluster.pids,
        warm: Duration::ZERO,
        window: LOAD_LIMIT,
        stop: &mut |ops| {
            if ops / 100_000 > seen {
                seen = ops / 100_000;
                eprintln!("  {ops}");
            }
            false
        },
    })?;
    ensure!(
        loaded.ops + loaded.errors >= size.keys as u64,
        "{}: {} of {} keys within {LOAD_LIMIT:?}",
        side.name,
        loaded.ops,
        size.keys
    );
    found.load_ops_s = loaded.ops_per_second();
    found.load_cpu_us = loaded.per_op(loaded.server_cpu_us);
    found.rss_mb = cluster.memory_mb("VmRSS")?;

    eprintln!(
        "{}: {:.0} ops/s; write until a snapshot was taken",
        side.name, found.load_ops_s
    );
    let before: HashSet<_> = cluster.snapshots().into_iter().collect();
    let mut new = HashSet::new();
    let began = Instant::now();
    let mut next_look = began;
    // So many writes hold the start of a snapshot; its file tells that one was finished.
    let enough = size.snapshot_count + size.snapshot_count / 10;
    let written = load::run(Job {
        template: Template::put(PATH),
        keys: Keys::random(size.keys),
        conns: 64,
        targets: &cluster.clients,
        pids: &cluster.pids,
        warm: Duration::ZERO,
        window: WINDOW_LIMIT,
        stop: &mut |ops| {
            if Instant::now() >= next_look {
                next_look = Instant::now() + Duration::from_millis(250);
                new.extend(
                    cluster
                        .snapshots()
                        .into_iter()
                        .filter(|snapshot| !before.contains(snapshot)),
                );
            }
            ops >= enough && !new.is_empty() && began.elapsed() >= Duration::from_secs(10)
        },
    })?;
    found.window_ops_s = written.ops_per_second();
    found.p999_ms = written.latency.ms(0.999);
    found.max_ms = written.latency.max_ms();
    found.snapshots = new.len();
    found.errors = loaded.errors + written.errors;
    found.peak_mb = cluster.memory_mb("VmHWM")?;

    eprintln!(
        "{}: p99.9 {:.1} ms, max {:.1} ms; restart",
        side.name, found.p999_ms, found.max_ms
    );
    let killed = Instant::now();
    cluster.restart()?;
    cluster.first_write(0, RESTART_LIMIT)?;
    found.restart_s = killed.elapsed().as_secs_f64();
    Ok(found)
}
