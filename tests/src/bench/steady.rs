//! PUT, GET and GET quorum=true at a steady load, by turns, and the memory that goes with them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::Op;
use crate::http::Template;
use crate::load::{self, Job, Keys};
use crate::report::{Rate, RateRow, Report, ValueRow, Wanted};
use crate::server::{Cluster, Side};

/// Keys that the load is spread over.
const SPACE: usize = 10_000;
const PATH: &str = "bench/####";
/// Lets a server finish what a turn left behind (collection of garbage, a snapshot) before the other's turn.
const PAUSE: Duration = Duration::from_millis(300);

pub struct Plan<'a> {
    pub conns: &'a [usize],
    pub rounds: usize,
    pub window: Duration,
}

/// Starts both clusters, notes their idle memory and fills the key space.
pub fn start(
    sides: &[Side; 2],
    members: usize,
    snapshot_count: u64,
    scratch: &Path,
    report: &mut Report,
) -> Result<[Cluster; 2]> {
    eprintln!("start {members} member(s) of each");
    let ours = Cluster::start(&sides[0], members, snapshot_count, scratch)?;
    let peer = Cluster::start(&sides[1], members, snapshot_count, scratch)?;
    std::thread::sleep(Duration::from_secs(1));
    report.values.push(ValueRow {
        measure: "memory after start (RSS)".into(),
        members,
        unit: "MB",
        ours: ours.memory_mb("VmRSS")?,
        peer: peer.memory_mb("VmRSS")?,
        wanted: Wanted::Anything,
        note: String::new(),
    });
    fill(&ours.clients)?;
    fill(&peer.clients)?;
    Ok([ours, peer])
}

/// Writes every key of the space once, so that reads find theirs and writes all replace one.
pub fn fill(targets: &[SocketAddr]) -> Result<()> {
    let outcome = load::run(Job {
        template: Template::put(PATH),
        keys: Keys::InOrder { next: 0, end: SPACE },
        conns: 64,
        targets,
        pids: &[],
        warm: Duration::ZERO,
        window: Duration::from_secs(120),
        stop: &mut |_| false,
    })?;
    ensure!(
        outcome.errors == 0 && outcome.ops == SPACE as u64,
        "filling the key space: {} of {SPACE} written, {} errors",
        outcome.ops,
        outcome.errors
    );
    Ok(())
}

pub fn job<'a>(
    op: Op,
    conns: usize,
    targets: &'a [SocketAddr],
    pids: &'a [u32],
    window: Duration,
    stop: &'a mut dyn FnMut(u64) -> bool,
) -> Job<'a> {
    let template = match op {
        Op::Put => Template::put(PATH),
        Op::Get => Template::get(PATH, ""),
        Op::Qget => Template::get(PATH, "?quorum=true"),
    };
    Job {
        template,
        keys: Keys::random(SPACE),
        conns,
        targets,
        pids,
        warm: window / 5,
        window,
        stop,
    }
}

pub fn measure(clusters: &[Cluster; 2], op: Op, plan: &Plan<'_>, report: &mut Report) -> Result<()> {
    let name = match op {
        Op::Put => "PUT 256 B",
        Op::Get => "GET",
        Op::Qget => "GET quorum",
    };
    let members = clusters[0].clients.len();
    for conns in plan.conns {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..plan.rounds {
            for (cluster, rates) in clusters.iter().zip(&mut rates) {
                // With fewer connections than members the rounds move on, so that leader and followers all have a turn.
                let mut targets = cluster.clients.clone();
                targets.rotate_left(round % members);
                let outcome = load::run(job(op, *conns, &targets, &cluster.pids, plan.window, &mut |_| false))?;
                rates.push(Rate::of(&outcome));
                std::thread::sleep(PAUSE);
            }
        }
        let [ours, peer] = rates.map(Rate::median);
        eprintln!(
            "{name}, {members} member(s), {conns} conns: {:.0} and {:.0} ops/s",
            ours.ops_s, peer.ops_s
        );
        report.rates.push(RateRow {
            op,
            name,
            members,
            conns: *conns,
            ours,
            peer,
        });
    }
    if op == Op::Put {
        report.values.push(ValueRow {
            measure: "memory after PUT (peak)".into(),
            members,
            unit: "MB",
            ours: clusters[0].memory_mb("VmHWM")?,
            peer: clusters[1].memory_mb("VmHWM")?,
            wanted: Wanted::Ratio(0.5),
            note: String::new(),
        });
    }
    Ok(())
}
