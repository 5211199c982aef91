//! Whole clusters in one process on a simulated network, disk and clock, disturbed by seed.
//!
//! Three or five members; messages are lost, late, out of order and cut off; machines crash and lose what they had
//! not synced; disks fill up and crawl. When all is healed, nothing acknowledged may be missing, no quorum read may
//! have gone back in time, no write may have happened twice, and all members must hold the same.
//!
//! `CORELAB_SEEDS` sets how many seeds are run (200), `CORELAB_SEED` runs a single one. The seed decides the
//! disturbances and the load; openraft's own election timeouts are random on top of it.
mod disk;
mod history;
mod net;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use disk::SimDisk;
use history::{History, Kind, Seen};
use labnode::kv::Command;
use labnode::raft::types::Peer;
use labnode::raft::wal::Meta;
use labnode::raft::{Change, Member, Options, member};
use net::SimNet;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

const DISTURBED: Duration = Duration::from_secs(12);
/// Simulated seconds: a cluster that has not recovered by then will not.
const PATIENCE: Duration = Duration::from_secs(120);
const CLIENTS: usize = 5;
const KEYS: usize = 6;

struct World {
    net: Arc<SimNet>,
    /// Of every member that is or may be in the cluster.
    disks: Mutex<BTreeMap<u64, Arc<SimDisk>>>,
    /// The first members; the others join later.
    size: u64,
    history: Mutex<History>,
    start: Instant,
    next_value: Mutex<u64>,
    sessions: Mutex<u64>,
}

fn options(world: &World, id: u64) -> Options {
    let mut sessions = world.sessions.lock().unwrap();
    *sessions += 1;
    Options {
        snap_dir: PathBuf::from(format!("/{id}/snap")),
        wal_dir: PathBuf::from(format!("/{id}/wal")),
        heartbeat: Duration::from_millis(50),
        election: Duration::from_millis(300),
        // Small, so that snapshots are taken, sent and restarted from all the time.
        snapshot_count: 60,
        catch_up_entries: 20,
        max_snapshots: 2,
        max_wals: 2,
        history: 50,
        // Every machine's own clock is off by a second.
        wall: Some((1_000_000 + id) * 1_000_000_000),
        session: *sessions,
        salvage: false,
    }
}

impl World {
    fn new(seed: u64, size: u64) -> Arc<World> {
        Arc::new(World {
            net: SimNet::new(seed ^ 0xa5a5),
            disks: Mutex::new(
                (1..=size)
                    .map(|id| (id, SimDisk::new(seed.wrapping_mul(31) + id)))
                    .collect(),
            ),
            size,
            history: Mutex::default(),
            start: Instant::now(),
            next_value: Mutex::new(0),
            sessions: Mutex::new(seed << 32),
        })
    }

    /// None once the member is out of the cluster.
    fn disk(&self, id: u64) -> Option<Arc<SimDisk>> {
        self.disks.lock().unwrap().get(&id).cloned()
    }

    async fn boot(&self, id: u64) {
        let Some(disk) = self.disk(id) else { return };
        let (disk, options) = (disk.mount(), options(self, id));
        let opened = member::open(&disk, &options).unwrap_or_else(|error| panic!("member {id} cannot start: {error}"));
        let first = opened.is_none();
        let opened = match opened {
            Some(opened) => opened,
            None => member::create(
                &disk,
                &options,
                Meta {
                    member_id: id,
                    cluster_id: 7,
                },
            )
            .expect("an empty disk"),
        };
        let member = Member::start(opened, options, disk, self.net.transport(id))
            .await
            .expect("a member starts");
        if first && id <= self.size {
            let peers = (1..=self.size).map(|id| (id, peer(id))).collect();
            // Refused when another member has told this one of the cluster already.
            let _ = member.initialize(peers).await;
        }
        self.net.join(id, member);
    }

    fn crash(&self, id: u64) {
        if let Some(disk) = self.disk(id) {
            disk.crash();
        }
        if let Some(member) = self.net.leave(id) {
            tokio::spawn(async move { member.shutdown().await });
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn fresh_value(&self) -> String {
        let mut next = self.next_value.lock().unwrap();
        *next += 1;
        let value = format!("v{next}");
        self.history.lock().unwrap().tried.insert(value.clone());
        value
    }

    fn ids(&self) -> Vec<u64> {
        self.disks.lock().unwrap().keys().copied().collect()
    }

    /// A member that the cluster has removed: it stops, and its disk is wiped.
    fn retire(&self, id: u64) {
        self.crash(id);
        self.disks.lock().unwrap().remove(&id);
    }
}

fn peer(id: u64) -> Peer {
    Peer {
        peer_urls: vec![format!("sim://{id}")],
    }
}

/// One client: an operation after the other, at any member.
async fn client(world: Arc<World>, mut rng: StdRng, end: Instant) {
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..30))).await;
        let ids = world.ids();
        let Some(member) = world.net.member(ids[rng.random_range(0..ids.len())]) else {
            continue;
        };
        let key = format!("/1/k{}", rng.random_range(0..KEYS));
        // A client gives up before its member does, now and then.
        let patience = Duration::from_millis(if rng.random_bool(0.2) { 300 } else { 8000 });
        let kind = rng.random_range(0..10);
        let operation = operate(&world, &member, key, kind);
        if let Ok(Some(seen)) = tokio::time::timeout(patience, operation).await {
            world.history.lock().unwrap().seen.push(seen);
        }
    }
}

async fn operate(world: &World, member: &Member, key: String, kind: u32) -> Option<Seen> {
    let began = world.now();
    if kind < 4 {
        member.read_index().await.ok()?;
        let now = member.state.clock.now();
        let store = member.state.store.lock().unwrap();
        let found = store.get(key.as_bytes(), now).ok();
        let found = found.map(|view| {
            (
                String::from_utf8_lossy(view.value().unwrap_or_default()).into_owned(),
                view.modified_index(),
            )
        });
        return Some(Seen {
            began,
            answered: world.now(),
            index: store.index(),
            kind: Kind::Read { key, found },
        });
    }
    let value = world.fresh_value();
    let (path, bytes) = (Bytes::from(key.clone()), Bytes::from(value.clone()));
    let command = match kind {
        4..7 => Command::Set {
            path,
            dir: false,
            value: bytes,
            ttl: None,
            refresh: false,
        },
        7 => Command::CompareAndSwap {
            path,
            prev_value: None,
            prev_index: 0,
            value: bytes,
            ttl: None,
            refresh: false,
        },
        _ => Command::Create {
            path: Bytes::from_static(b"/1/queue"),
            dir: false,
            value: bytes,
            ttl: None,
            unique: true,
        },
    };
    let outcome = member.propose(command).await.ok()?;
    let event = outcome.result.ok()?;
    let key = String::from_utf8_lossy(&event.node.key).into_owned();
    Some(Seen {
        began,
        answered: world.now(),
        index: event.etcd_index,
        kind: Kind::Write { key, value },
    })
}

/// Breaks something, waits, mends it or not.
async fn disturb(world: Arc<World>, mut rng: StdRng, end: Instant) {
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..1500))).await;
        let ids = world.ids();
        let one = ids[rng.random_range(0..ids.len())];
        match rng.random_range(0..10) {
            0 | 1 => {
                // Two sides that do not hear each other.
                let side: Vec<u64> = ids.iter().copied().filter(|_| rng.random_bool(0.5)).collect();
                let across = |a: &u64, b: &u64| side.contains(a) != side.contains(b);
                world.net.cut(
                    ids.iter()
                        .flat_map(|a| ids.iter().map(move |b| (*a, *b)))
                        .filter(|(a, b)| across(a, b)),
                );
            }
            2 => world.net.cut(ids.iter().map(|other| (one, *other))),
            3 => world.net.cut(ids.iter().map(|other| (*other, one))),
            4 => world.net.disturb(rng.random_range(3..20), rng.random_bool(0.5)),
            5 => world.disk(one).iter().for_each(|disk| disk.set_full(true)),
            6 => world.disk(one).iter().for_each(|disk| disk.set_slow(true)),
            7 | 8 => world.crash(one),
            _ => ids.iter().for_each(|id| world.crash(*id)),
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..2500))).await;
        if rng.random_bool(0.7) {
            world.net.heal();
        }
        if rng.random_bool(0.7) {
            restore(&world).await;
        }
    }
}

/// Adds members and removes them, at whichever member is asked.
async fn reshape(world: Arc<World>, mut rng: StdRng, end: Instant) {
    let mut newest = world.size;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..2000))).await;
        let ids = world.ids();
        let one = ids[rng.random_range(0..ids.len())];
        let Some(asked) = world.net.member(ids[rng.random_range(0..ids.len())]) else {
            continue;
        };
        if ids.len() < 3 || (ids.len() < 7 && rng.random_bool(0.5)) {
            newest += 1;
            let disk = SimDisk::new(rng.random());
            // It may have happened even if nobody says so.
            let _ = asked.change(Change::Add(newest, peer(newest))).await;
            world.disks.lock().unwrap().insert(newest, disk);
            world.boot(newest).await;
        } else {
            let force = rng.random_bool(0.2);
            if asked.change(Change::Remove { id: one, force }).await.is_ok() {
                world.retire(one);
            }
        }
    }
}

async fn restore(world: &World) {
    for id in world.ids() {
        let Some(disk) = world.disk(id) else { continue };
        disk.set_full(false);
        disk.set_slow(false);
        if world.net.member(id).is_none() {
            world.boot(id).await;
        }
    }
}

/// The members that are in the cluster, once a leader has said so; the others are gone.
async fn settle(world: &World) {
    let members = loop {
        let all = world.ids().into_iter().filter_map(|id| world.net.member(id));
        if let Some(leader) = all
            .filter(|member| member.is_leader())
            .max_by_key(|member| member.term())
            && leader.read_index().await.is_ok()
        {
            let membership = leader.membership();
            break membership.membership().nodes().map(|(id, _)| *id).collect::<Vec<_>>();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for id in world.ids().into_iter().filter(|id| !members.contains(id)) {
        world.retire(id);
    }
}

/// Everything mended: every member must take a write, and all must hold the same.
async fn converge(world: &World) -> Vec<u8> {
    world.net.heal();
    restore(world).await;
    settle(world).await;
    for id in world.ids() {
        let Some(member) = world.net.member(id) else { continue };
        let value = world.fresh_value();
        let command = || Command::Set {
            path: Bytes::from_static(b"/1/last"),
            dir: false,
            value: value.clone().into(),
            ttl: None,
            refresh: false,
        };
        // A removal that nobody waits for any more may still happen, and leave this one out.
        while world.disk(id).is_some() && member.propose(command()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            settle(world).await;
        }
    }
    // A write that nobody waits for any more may still be applied, so there is no last index to
    // wait for: they are compared once all have applied the same, at one moment.
    let members = loop {
        let members: Vec<_> = world.ids().iter().filter_map(|id| world.net.member(*id)).collect();
        let indexes = || members.iter().map(|member| member.state.store.lock().unwrap().index());
        if indexes().min() == indexes().max() {
            break members;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        settle(world).await;
    };
    let listing = |member: &Arc<Member>| {
        let mut listing = Vec::new();
        let store = member.state.store.lock().unwrap();
        let root = store.get(b"/", 0).expect("the root");
        root.write_get(&mut listing, 0, true, true, 0);
        listing
    };
    let mut contents: Vec<_> = members.iter().map(listing).collect();
    if let Some(pair) = contents.windows(2).find(|pair| pair[0] != pair[1]) {
        let at = pair[0].iter().zip(&pair[1]).position(|(a, b)| a != b).unwrap_or(0);
        let near =
            |text: &[u8]| String::from_utf8_lossy(&text[at.saturating_sub(200)..text.len().min(at + 200)]).into_owned();
        panic!(
            "members hold different contents:\n{}\n{}",
            near(&pair[0]),
            near(&pair[1])
        );
    }
    contents.remove(0)
}

fn run(seed: u64) -> Result<usize, String> {
    labnode::log::init(labnode::log::Level::Critical, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let result = runtime.block_on(async {
        let mut rng = StdRng::seed_from_u64(seed);
        let world = World::new(seed, if seed.is_multiple_of(3) { 5 } else { 3 });
        for id in world.ids() {
            world.boot(id).await;
        }
        let end = Instant::now() + DISTURBED;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            tasks.spawn(client(world.clone(), StdRng::seed_from_u64(rng.random()), end));
        }
        tasks.spawn(disturb(world.clone(), StdRng::seed_from_u64(rng.random()), end));
        if seed.is_multiple_of(2) {
            tasks.spawn(reshape(world.clone(), StdRng::seed_from_u64(rng.random()), end));
        }
        while let Some(task) = tasks.join_next().await {
            task.map_err(|error| error.to_string())?;
        }
        let contents = tokio::time::timeout(PATIENCE, converge(&world)).await;
        let contents = contents.map_err(|_| "the healed cluster did not recover".to_string())?;
        let contents = String::from_utf8_lossy(&contents).into_owned();
        let history = world.history.lock().unwrap();
        history.check()?;
        for value in &history.tried {
            let times = contents.matches(&format!("\"value\":\"{value}\"")).count();
            if times > 1 {
                return Err(format!("{value} was written {times} times"));
            }
        }
        for seen in &history.seen {
            // Queue items are written once and never replaced.
            if let Kind::Write { key, value } = &seen.kind
                && key.starts_with("/1/queue/")
                && !contents.contains(&format!("\"key\":\"{key}\",\"value\":\"{value}\""))
            {
                return Err(format!("acknowledged and lost: {seen:?}"));
            }
        }
        Ok(history.seen.len())
    });
    runtime.shutdown_background();
    result
}

#[test]
fn nothing_acknowledged_is_lost_and_nobody_goes_back_in_time() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("CORELAB_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("CORELAB_SEEDS").unwrap_or(200)).collect(),
    };
    let next = Mutex::new(seeds.iter());
    let failures = Mutex::new(Vec::new());
    let answered = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |count| count.get()) {
            scope.spawn(|| {
                loop {
                    let Some(seed) = next.lock().unwrap().next() else {
                        return;
                    };
                    let outcome =
                        std::panic::catch_unwind(|| run(*seed)).unwrap_or_else(|_| Err("panicked, see above".into()));
                    match outcome {
                        Ok(count) => *answered.lock().unwrap() += count,
                        Err(what) => failures.lock().unwrap().push(format!("seed {seed}: {what}")),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} seeds failed:\n{}",
        failures.len(),
        seeds.len(),
        failures.join("\n")
    );
    let answered = answered.into_inner().unwrap();
    assert!(
        answered > seeds.len() * 50,
        "only {answered} operations were answered: the runs prove little"
    );
}
