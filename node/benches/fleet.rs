//! How fast fleetd is, and what it costs etcd: clusters of real engines and agents over a real etcd, with a systemd of
//! the benchmark's own. Beside what fleet 1.0 took for the same in a cluster of three.
#![allow(clippy::print_stdout)]
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use labnode::fleet::scheduler::{self, Machine, Presence, Unit};
use labnode::fleet::schema::JobState;
use labnode::unit::{Requirements, UnitFile, UnitName};

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/fleet/cluster.rs"]
mod cluster;
use cluster::*;

/// fleet's own default.
const DEFAULTS: &str = "agent_ttl=30s\nengine_reconcile_interval=2\n";

fn row(what: &str, fleet: &str, wanted: &str, values: &[f64], unit: &str) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
    println!(
        "| {what} | {:.3} {unit} | {least:.3} to {most:.3} | {wanted} | {fleet} |",
        sorted[sorted.len() / 2]
    );
}

async fn until(mut done: impl FnMut() -> bool) -> f64 {
    let begun = Instant::now();
    while !done() {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "two minutes were not enough"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    begun.elapsed().as_secs_f64()
}

fn leader(nodes: &[Node], seen_by: usize) -> Option<usize> {
    let lease = nodes[seen_by].machine().registry.mirror().lease.clone();
    nodes.iter().position(|node| {
        lease
            .as_ref()
            .is_some_and(|(lease, _)| lease.machine_id == node.config.machine_id)
    })
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    println!("| figure | median | range | wanted | fleet 1.0 |\n|---|--:|---|---|---|");
    // `cargo bench --bench fleet -- scale` for one part of it.
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|word| word == part);
    if wanted("timings") {
        timings().await;
    }
    if wanted("outages") {
        outages().await;
    }
    if wanted("scale") {
        scale().await;
    }
    if wanted("scheduler") {
        alone();
    }
}

async fn timings() {
    let etcd = etcd().await;
    let mut nodes = cluster_with(&etcd, &["m1", "m2", "m3"], DEFAULTS).await;
    until(|| leader(&nodes, 0).is_some()).await;
    let (mut launched, mut stopped) = (Vec::new(), Vec::new());
    for n in 0..20 {
        let name = format!("u{n}.service");
        let begun = Instant::now();
        nodes[0].put(&name, SLEEP).await;
        until(|| nodes[0].shown(&name).0 == "launched").await;
        launched.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        nodes[0].machine().registry.destroy(&name).await.unwrap();
        until(|| running(&nodes, &name).is_empty()).await;
        stopped.push(begun.elapsed().as_secs_f64());
    }
    row("start to launched", "3.0 to 3.4 s", "0.5 s", &launched, "s");
    row("destroy to stopped", "0.3 to 5 s", "0.5 s", &stopped, "s");
    let mut takeovers = Vec::new();
    for _ in 0..5 {
        let old = leader(&nodes, 0).unwrap();
        let other = (old + 1) % 3;
        drop(nodes[old].machine.take());
        takeovers.push(until(|| leader(&nodes, other).is_some_and(|new| new != old)).await);
        let machine = labnode::fleet::machine::Machine::start(&nodes[old].config, nodes[old].fake.clone());
        nodes[old].machine = Some(machine.unwrap());
        until(|| nodes[0].machine().monitor.reachable() && leader(&nodes, 0).is_some()).await;
    }
    row(
        "another leads after the leader was killed",
        "10.9 s",
        "1.5 s",
        &takeovers,
        "s",
    );
}

/// A cut for longer than the TTL, and etcd standing still for 26 s.
async fn outages() {
    let etcd = etcd().await;
    let nodes = cluster_with(&etcd, &["m1", "m2", "m3"], DEFAULTS).await;
    let names: Vec<String> = (0..9).map(|n| format!("u{n}.service")).collect();
    for name in &names {
        nodes[0].put(name, SLEEP).await;
    }
    let shown = |node: &Node, name: &str| node.shown(name).0 == "launched";
    until(|| names.iter().all(|name| nodes.iter().all(|node| shown(node, name)))).await;
    // Everybody knows whom to ask, and has been there for a TTL.
    tokio::time::sleep(Duration::from_secs(35)).await;
    let (mut false_inactive, mut samples) = (0, 0);
    etcd.stop();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(46) {
        if begun.elapsed() > Duration::from_secs(26) {
            etcd.go_on();
        }
        for name in &names {
            samples += 1;
            false_inactive += nodes.iter().filter(|node| !shown(node, name)).count();
            false_inactive += usize::from(running(&nodes, name).len() != 1);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(samples > 1000);
    row(
        "false \"inactive\" while etcd stood still for 26 s, and after",
        "all units, for 12 s",
        "0",
        &[false_inactive as f64],
        "",
    );
    tokio::time::sleep(Duration::from_secs(35)).await;
    let victim = 0;
    let moving: Vec<&String> = names.iter().filter(|name| running(&nodes, name) == [victim]).collect();
    let rest = &nodes[1..];
    let mut twice = 0;
    nodes[victim].wire.whole.send(false).unwrap();
    let moved = until(|| {
        twice += names.iter().filter(|name| running(&nodes, name).len() > 1).count();
        moving.iter().all(|name| running(rest, name).len() == 1)
    })
    .await;
    row(
        "a lost machine's units run elsewhere",
        "28 s, and twice",
        "31 s",
        &[moved],
        "s",
    );
    nodes[victim].wire.whole.send(true).unwrap();
    let back = until(|| {
        twice += names.iter().filter(|name| running(&nodes, name).len() > 1).count();
        nodes[victim].machine().monitor.reachable() && nodes[1].machine().registry.mirror().machine("m1").is_some()
    })
    .await;
    row("it is back after the cut", "4 to 57 s", "2 s", &[back], "s");
    row(
        "units that ran twice meanwhile",
        "all of them",
        "0",
        &[twice as f64],
        "",
    );
}

/// Requests that etcd has counted, other than watches.
async fn requests(etcd: &Etcd) -> u64 {
    let url = format!("http://127.0.0.1:{}/v2/stats/store", etcd.port);
    let text = labnode::client::http(&Default::default())
        .unwrap()
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let counts: BTreeMap<String, u64> = serde_json::from_str(&text).unwrap();
    counts
        .iter()
        .filter(|(name, _)| *name != "watchers" && *name != "expireCount")
        .map(|(_, count)| count)
        .sum()
}

async fn scale() {
    let etcd = etcd().await;
    let ids: Vec<String> = (0..100).map(|n| format!("m{n:03}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let nodes = cluster_with(&etcd, &ids, &format!("{DEFAULTS}disable_engine=true\n")).await;
    let file = UnitFile::parse(SLEEP).unwrap();
    let registry = &nodes[0].machine().registry;
    for n in 0..1000 {
        registry
            .create_unit(&format!("u{n:04}.service"), &file, JobState::Launched)
            .await
            .unwrap();
    }
    until(|| {
        nodes
            .iter()
            .all(|node| node.machine().registry.mirror().jobs.len() == 1000)
    })
    .await;
    let begun = Instant::now();
    // On a thread of its own, as it would be on a machine of its own.
    let port = etcd.port;
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let etcd = Etcd {
                child: None,
                port,
                _dir: None,
            };
            let _engine = Node::new(&etcd, "n000", DEFAULTS).await;
            std::future::pending::<()>().await
        })
    });
    let count = |of: &dyn Fn(&labnode::fleet::mirror::Job) -> bool| {
        registry.mirror().jobs.values().filter(|job| of(job)).count()
    };
    until(|| count(&|job| job.target.is_some()) == 1000).await;
    row(
        "1000 units on 100 machines: placed",
        "",
        "2 s",
        &[begun.elapsed().as_secs_f64()],
        "s",
    );
    until(|| count(&|job| job.heartbeat.is_some()) == 1000).await;
    row("and launched", "", "", &[begun.elapsed().as_secs_f64()], "s");
    // Everything has been told and acknowledged.
    tokio::time::sleep(Duration::from_secs(40)).await;
    let (before, begun) = (requests(&etcd).await, Instant::now());
    tokio::time::sleep(Duration::from_secs(30)).await;
    let rate = (requests(&etcd).await - before) as f64 / begun.elapsed().as_secs_f64();
    row(
        "requests to etcd with nothing to do",
        "by its design 300/s",
        "30/s",
        &[rate],
        "/s",
    );
}

fn alone() {
    let machines: Vec<Machine> = (0..1000)
        .map(|n| Machine {
            id: format!("m{n:04}"),
            metadata: [("role".to_string(), ["a", "b"][n % 2].to_string())].into(),
            presence: Presence::Here,
        })
        .collect();
    let name = |n: usize| format!("{}{}@{n}.service", if n % 4 == 1 { "x" } else { "u" }, n / 1000);
    let text = |n: usize| match n % 4 {
        0 => "MachineMetadata=role=a".to_string(),
        1 => format!("Conflicts=x{}@*.service", n / 1000),
        2 => format!("MachineOf={}", name(n - 1)),
        _ => String::new(),
    };
    let units: Vec<Unit> = (0..10_000)
        .map(|n| {
            let file = UnitFile::parse(&format!("[X-Fleet]\n{}", text(n))).unwrap();
            Unit {
                requirements: Arc::new(Requirements::read(&UnitName::new(&name(n)), &file).0),
                name: name(n),
                wanted: true,
                machine: None,
                failed_on: BTreeSet::new(),
            }
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(scheduler::plan(&units, &machines, true).len(), 10_000);
    row(
        "the scheduler alone: 10,000 units, 1000 machines",
        "",
        "1 s",
        &[begun.elapsed().as_secs_f64()],
        "s",
    );
}
