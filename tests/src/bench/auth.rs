//! What a user's name and password cost a request: the same load as a guest and as a user, by turns, once users count.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::Op;
use crate::http;
use crate::load::{self, Job};
use crate::report::{Report, ValueRow, Wanted, median};
use crate::server::{Cluster, Side};
use crate::steady::{self, Plan};

/// root:secret
const CREDENTIALS: &str = "Basic cm9vdDpzZWNyZXQ=";
/// How often as much a user's request may cost.
const LIMIT: f64 = 2.0;
const CONNS: [usize; 2] = [1, 64];

pub fn measure(
    sides: &[Side; 2],
    plan: &Plan<'_>,
    snapshot_count: u64,
    scratch: &Path,
    report: &mut Report,
) -> Result<()> {
    let clusters = [
        Cluster::start(&sides[0], 1, snapshot_count, scratch)?,
        Cluster::start(&sides[1], 1, snapshot_count, scratch)?,
    ];
    for cluster in &clusters {
        steady::fill(&cluster.clients)?;
        enable(cluster)?;
    }
    for (op, name) in [(Op::Put, "PUT 256 B"), (Op::Get, "GET")] {
        for conns in CONNS {
            let [ours, peer] = [0, 1].map(|side| factor(&clusters[side], op, conns, plan));
            let (ours, peer) = (ours?, peer?);
            eprintln!("{name} as a user, {conns} conns: {ours:.2} and {peer:.2} times a guest's");
            report.values.push(ValueRow {
                measure: format!("{name} at {conns} as a user, in times of a guest's p50"),
                members: 1,
                unit: "x",
                ours,
                peer,
                wanted: Wanted::Ours(LIMIT),
                note: String::new(),
            });
        }
    }
    Ok(())
}

/// Creates the user root and has users count. Guests may do everything, as long as nobody says otherwise.
fn enable(cluster: &Cluster) -> Result<()> {
    let mut socket = http::connect(cluster.clients[0])?;
    let user = r#"{"user":"root","password":"secret"}"#;
    for (path, body, expected) in [("users/root", user, 201), ("enable", "", 200)] {
        let request = format!(
            "PUT /v2/auth/{path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let status = http::call(&mut socket, request.as_bytes(), Duration::from_secs(30))?;
        ensure!(status == expected, "PUT /v2/auth/{path} was answered with {status}");
    }
    Ok(())
}

/// How much longer a request takes as a user: the median of the rounds' ratios.
fn factor(cluster: &Cluster, op: Op, conns: usize, plan: &Plan<'_>) -> Result<f64> {
    let mut ratios = Vec::new();
    for _ in 0..plan.rounds {
        let mut p50 = Vec::new();
        let mut never = |_| false;
        for as_user in [false, true] {
            let job = steady::job(op, conns, &cluster.clients, &cluster.pids, plan.window, &mut never);
            let template = match as_user {
                true => job.template.clone().with_header("Authorization", CREDENTIALS),
                false => job.template.clone(),
            };
            let outcome = load::run(Job { template, ..job })?;
            ensure!(outcome.errors == 0, "{} errors", outcome.errors);
            p50.push(outcome.latency.ms(0.5));
        }
        ratios.push(p50[1] / p50[0]);
    }
    Ok(median(ratios))
}
