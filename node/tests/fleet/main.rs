//! Clusters of agents and engines with a systemd of their own making, over a real etcd.
mod fleetctl;
mod replay;

use std::collections::{BTreeMap, HashMap};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use labnode::client::cluster::{Client, Options};
use labnode::client::keys::Get;
use labnode::fleet::agent::{Manager, Status};
use labnode::fleet::config::{self, Config};
use labnode::fleet::machine::Machine;
use labnode::fleet::schema::JobState;
use labnode::unit::UnitFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Far beyond what anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(3);

#[derive(Clone, Default)]
struct FakeUnit {
    text: String,
    active: bool,
}

/// What a machine's systemd has, and what happened to it in its order.
#[derive(Default)]
struct Inside {
    units: BTreeMap<String, FakeUnit>,
    events: Vec<String>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Inside>>);

impl Fake {
    fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    fn runs(&self, name: &str) -> bool {
        self.inside().units.get(name).is_some_and(|unit| unit.active)
    }

    fn say(&self, what: &str, name: &str) {
        self.inside().events.push(format!("{what} {name}"));
    }
}

impl Manager for Fake {
    async fn units(&self) -> Result<BTreeMap<String, String>, String> {
        let inside = self.inside();
        Ok(inside
            .units
            .iter()
            .map(|(name, unit)| (name.clone(), unit.text.clone()))
            .collect())
    }

    async fn load(&self, name: &str, file: &UnitFile) -> Result<(), String> {
        if name.starts_with("bad") {
            return Err("Unit name is not valid".into());
        }
        self.say("load", name);
        let unit = FakeUnit {
            text: file.text(),
            active: false,
        };
        self.inside().units.insert(name.into(), unit);
        Ok(())
    }

    async fn start(&self, name: &str) -> Result<(), String> {
        self.say("start", name);
        self.inside().units.get_mut(name).ok_or("not loaded")?.active = true;
        Ok(())
    }

    async fn stop(&self, name: &str) -> Result<(), String> {
        self.say("stop", name);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(
            self.inside().units.contains_key(name),
            "its file was removed before it had stopped"
        );
        self.inside().units.get_mut(name).ok_or("not loaded")?.active = false;
        self.say("stopped", name);
        Ok(())
    }

    async fn unload(&self, name: &str) -> Result<(), String> {
        self.say("unload", name);
        self.inside().units.remove(name);
        Ok(())
    }

    async fn statuses(&self, names: &[String]) -> Result<HashMap<String, Status>, String> {
        let inside = self.inside();
        let status = |name: &String| {
            let unit = inside.units.get(name).cloned().unwrap_or_default();
            let (active, sub) = match unit.active {
                false => ("inactive", "dead"),
                true if unit.text.contains("/bin/false") => ("failed", "failed"),
                true if unit.text.contains("Type=oneshot") => ("active", "exited"),
                true => ("active", "running"),
            };
            let status = Status {
                load: "loaded".into(),
                active: active.into(),
                sub: sub.into(),
            };
            (name.clone(), status)
        };
        Ok(names.iter().map(status).collect())
    }
}

/// One member, killed when the test ends.
struct Etcd {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn etcd() -> Etcd {
    let dir = tempfile::Builder::new().prefix("corelab-").tempdir().unwrap();
    // Taken and given back: whoever takes one meanwhile makes etcd end, and the next try has others.
    for _ in 0..20 {
        let free = || {
            std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        let (port, peer) = (free(), free());
        let mut command = Command::new(env!("CARGO_BIN_EXE_labnode"));
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        command
            .args(["etcd", "--name", "e", "--data-dir"])
            .arg(dir.path().join(port.to_string()));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("e={peer}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let asks = connect(port);
        let begun = Instant::now();
        while begun.elapsed() < LIMIT && child.try_wait().unwrap().is_none() {
            let get = Get {
                quorum: true,
                ..Get::default()
            };
            if asks.get("/", &get).await.is_ok() {
                return Etcd { child, port, _dir: dir };
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("etcd does not start");
}

fn connect(port: u16) -> Client {
    let options = Options {
        endpoints: vec![format!("http://127.0.0.1:{port}")],
        tls: Default::default(),
        user: None,
        header_timeout: Duration::from_secs(5),
        trace: None,
    };
    Client::new(options).unwrap()
}

/// The wire between a machine and etcd, which can be cut: what is on it hangs, as on a network that drops packets.
struct Wire {
    port: u16,
    whole: watch::Sender<bool>,
}

async fn wire(to: u16) -> Wire {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (whole, state) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut state = state.clone();
            tokio::spawn(async move {
                let _ = state.wait_for(|whole| *whole).await;
                let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await else {
                    return;
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                    _ = state.wait_for(|whole| !whole) => {}
                }
                // Held open and silent until it is whole again.
                let _ = state.wait_for(|whole| *whole).await;
            });
        }
    });
    Wire { port, whole }
}

struct Node {
    fake: Fake,
    wire: Wire,
    config: Config,
    machine: Option<Machine<Fake>>,
}

impl Node {
    async fn new(etcd: &Etcd, id: &str, settings: &str) -> Node {
        let wire = wire(etcd.port).await;
        let text = format!(
            "etcd_servers=http://127.0.0.1:{}\netcd_request_timeout=2\nagent_ttl={}s\nengine_reconcile_interval=0.4\npublic_ip={id}\n{settings}",
            wire.port,
            TTL.as_secs()
        );
        let mut config = config::parse(&text, &[], Vec::new()).unwrap();
        config.machine_id = id.into();
        let fake = Fake::default();
        let machine = Some(Machine::start(&config, fake.clone()).unwrap());
        Node {
            fake,
            wire,
            config,
            machine,
        }
    }

    fn machine(&self) -> &Machine<Fake> {
        self.machine.as_ref().unwrap()
    }

    async fn put(&self, name: &str, text: &str) {
        let file = UnitFile::parse(text).unwrap();
        let created = self
            .machine()
            .registry
            .create_unit(name, &file, JobState::Launched)
            .await;
        assert!(created.unwrap().is_some());
    }

    /// A unit's state and machine as this node's API would show them.
    fn shown(&self, name: &str) -> (String, String) {
        let unit = self.machine().registry.mirror().unit(name).unwrap_or_default();
        (unit.current_state, unit.machine_id)
    }
}

async fn cluster(etcd: &Etcd, ids: &[&str]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for id in ids {
        nodes.push(Node::new(etcd, id, "").await);
    }
    let all = || {
        nodes
            .iter()
            .all(|node| node.machine().registry.mirror().machines().len() == ids.len())
    };
    eventually("all machines know of each other", || all().then_some(())).await;
    nodes
}

async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "waited {LIMIT:?} for this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn running(nodes: &[Node], name: &str) -> Vec<usize> {
    (0..nodes.len()).filter(|at| nodes[*at].fake.runs(name)).collect()
}

const SLEEP: &str = "[Service]\nExecStart=/bin/sleep 1\n";

#[tokio::test]
async fn units_are_spread_started_and_shown_and_one_that_is_bad_holds_up_no_other() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1", "m2", "m3"]).await;
    nodes[0].put("bad.service", SLEEP).await;
    for (n, node) in nodes.iter().enumerate() {
        node.put(
            &format!("c@{n}.service"),
            &format!("{SLEEP}[X-Fleet]\nConflicts=c@*.service\n"),
        )
        .await;
    }
    nodes[1]
        .put("side.service", &format!("{SLEEP}[X-Fleet]\nMachineOf=c@1.service\n"))
        .await;
    nodes[1]
        .put("all.service", &format!("{SLEEP}[X-Fleet]\nGlobal=true\n"))
        .await;
    eventually("everything is launched", || {
        let names = ["c@0.service", "c@1.service", "c@2.service", "side.service"];
        let launched = names.iter().all(|name| nodes[2].shown(name).0 == "launched");
        (launched && running(&nodes, "all.service").len() == 3).then_some(())
    })
    .await;
    let mut places: Vec<String> = (0..3).map(|n| nodes[0].shown(&format!("c@{n}.service")).1).collect();
    assert_eq!(nodes[0].shown("side.service").1, places[1]);
    places.sort();
    assert_eq!(places, ["m1", "m2", "m3"]);
    // The keys are fleet's own.
    let get = Get {
        quorum: true,
        ..Get::default()
    };
    let client = connect(etcd.port);
    let key = |rest: &str| format!("/_coreos.com/fleet/{rest}");
    let at = nodes[0].shown("side.service").1;
    for (rest, value) in [
        ("job/side.service/target", &*at),
        ("job/side.service/job-state", &at),
        ("engine/version", "1"),
    ] {
        assert_eq!(
            client.get(&key(rest), &get).await.unwrap().node.unwrap().value,
            value,
            "{rest}"
        );
    }
}

#[tokio::test]
async fn a_destroyed_unit_stops_before_its_file_goes() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1"]).await;
    nodes[0].put("a.service", SLEEP).await;
    eventually("it is launched", || {
        (nodes[0].shown("a.service").0 == "launched").then_some(())
    })
    .await;
    nodes[0].machine().registry.destroy("a.service").await.unwrap();
    eventually("it is unloaded", || {
        nodes[0].fake.inside().units.is_empty().then_some(())
    })
    .await;
    let events = nodes[0].fake.inside().events.clone();
    let word = |event: &str| format!("{event} a.service");
    assert_eq!(events, ["load", "start", "stop", "stopped", "unload"].map(word));
    eventually("its state is gone", || {
        nodes[0].machine().registry.mirror().states.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_machine_cut_off_stops_what_may_move_before_others_run_it_and_keeps_what_asks_for_it() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1", "m2"]).await;
    nodes[0].put("moves.service", SLEEP).await;
    nodes[0]
        .put(
            "keeps.service",
            &format!("{SLEEP}[X-Fleet]\nOnDisconnect=keep\nMachineOf=moves.service\n"),
        )
        .await;
    let at = eventually("both run", || match &running(&nodes, "moves.service")[..] {
        [at] if nodes[*at].fake.runs("keeps.service") && nodes[*at].shown("keeps.service").0 == "launched" => Some(*at),
        _ => None,
    })
    .await;
    nodes[at].wire.whole.send(false).unwrap();
    let mut both = 0;
    eventually("the other machine runs it", || {
        let runs = running(&nodes, "moves.service");
        both += usize::from(runs.len() > 1);
        (runs == [1 - at]).then_some(())
    })
    .await;
    assert_eq!(both, 0, "it ran twice");
    assert!(nodes[at].fake.runs("keeps.service"));
    nodes[at].wire.whole.send(true).unwrap();
    eventually("the one that came back gives up what the other has", || {
        (running(&nodes, "keeps.service") == [1 - at] && running(&nodes, "moves.service") == [1 - at]).then_some(())
    })
    .await;
    eventually("and takes no heartbeat of the other with it", || {
        (nodes[1 - at].shown("keeps.service").0 == "launched").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_restarted_finds_its_units_running_and_leaves_them_so() {
    let etcd = etcd().await;
    let mut nodes = cluster(&etcd, &["m1", "m2"]).await;
    nodes[0].put("a.service", SLEEP).await;
    let at = eventually("it runs", || running(&nodes, "a.service").first().copied()).await;
    eventually("it is launched", || {
        (nodes[0].shown("a.service").0 == "launched").then_some(())
    })
    .await;
    // Dropped as by a crash: nothing is told to anybody.
    drop(nodes[at].machine.take());
    let again = Machine::start(&nodes[at].config, nodes[at].fake.clone()).unwrap();
    nodes[at].machine = Some(again);
    eventually("it reports on its unit", || {
        (nodes[at].shown("a.service").0 == "launched").then_some(())
    })
    .await;
    tokio::time::timeout(TTL * 2, async {
        loop {
            assert_eq!(running(&nodes, "a.service"), [at]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap_err();
    assert_eq!(nodes[at].fake.inside().events, ["load a.service", "start a.service"]);
}

#[tokio::test]
async fn when_the_leader_leaves_another_leads_and_its_units_run_elsewhere() {
    let etcd = etcd().await;
    let mut nodes = cluster(&etcd, &["m1", "m2", "m3"]).await;
    let leader = |nodes: &[Node], of: usize| {
        let lease = nodes[of].machine().registry.mirror().lease.clone();
        lease.and_then(|(lease, _)| nodes.iter().position(|node| node.config.machine_id == lease.machine_id))
    };
    let old = eventually("somebody leads", || leader(&nodes, 0)).await;
    let id = nodes[old].config.machine_id.clone();
    nodes[old]
        .put("a.service", &format!("{SLEEP}[X-Fleet]\nPreferredMetadata=x=y\n"))
        .await;
    eventually("it runs", || running(&nodes, "a.service").first().copied()).await;
    let leaves = nodes[old].machine.take().unwrap();
    leaves.leave().await;
    assert!(
        nodes[old].fake.inside().units.is_empty(),
        "units of a machine that leaves are stopped and removed"
    );
    let other = (old + 1) % 3;
    eventually("another leads, and the machine is gone", || {
        let new = leader(&nodes, other)?;
        let known = nodes[other].machine().registry.mirror().machine(&id).is_some();
        (new != old && !known).then_some(())
    })
    .await;
    eventually("the unit runs elsewhere", || {
        running(&nodes, "a.service").first().copied()
    })
    .await;
}

#[tokio::test]
async fn a_second_machine_with_the_same_id_does_not_register() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1"]).await;
    let second = Node::new(&etcd, "m1", "public_ip=10.0.0.9\n").await;
    let mut progress = second.machine().registry.progress();
    progress.wait_for(|progress| progress.filled).await.unwrap();
    tokio::time::sleep(TTL * 2).await;
    assert!(!second.machine().monitor.reachable());
    assert_eq!(
        nodes[0].machine().registry.mirror().machine("m1").unwrap().public_ip,
        "m1"
    );
}
