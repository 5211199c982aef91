//! A cluster for tests: engines and agents with a systemd of their own making, a real etcd, and wires between them.
use std::collections::{BTreeMap, HashMap};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use labnode::client::cluster::{Client, Options};
use labnode::etcd::http::conn;
use labnode::fleet::agent::{Manager, Status};
use labnode::fleet::api::Api;
use labnode::fleet::config::{self, Config};
use labnode::fleet::machine::Machine;
use labnode::fleet::schema::JobState;
use labnode::tls::Files;
use labnode::unit::UnitFile;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixDatagram};
use tokio::sync::watch;
use tokio::time::timeout;

/// Far beyond what anything here takes.
pub const LIMIT: Duration = Duration::from_secs(60);
pub const TTL: Duration = Duration::from_secs(3);
/// Of machines that are to notice soon that etcd is silent; the others wait as long as a slow disk may need.
pub const SOON: &str = "etcd_request_timeout=2\n";

#[derive(Clone, Default)]
pub struct FakeUnit {
    pub text: String,
    pub active: bool,
    pub failed: bool,
}

/// What a machine's systemd has, and what happened to it in its order.
#[derive(Default)]
pub struct Inside {
    pub units: BTreeMap<String, FakeUnit>,
    pub events: Vec<String>,
    /// How long a unit takes to stop.
    pub stops: Duration,
    /// Units whose names begin so fail when they are started here.
    pub weak: Option<String>,
}

#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<Inside>>);

/// Told of whatever happens anywhere: in a systemd, in what a machine knows of the registry.
static CHANGES: LazyLock<watch::Sender<()>> = LazyLock::new(|| watch::channel(()).0);

impl Fake {
    pub fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.inside());
        CHANGES.send_replace(());
    }

    pub fn runs(&self, name: &str) -> bool {
        self.inside().units.get(name).is_some_and(|unit| unit.active)
    }

    pub fn say(&self, what: &str, name: &str) {
        self.change(|inside| inside.events.push(format!("{what} {name}")));
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
            failed: false,
        };
        self.change(|inside| drop(inside.units.insert(name.into(), unit)));
        Ok(())
    }

    async fn start(&self, name: &str) -> Result<(), String> {
        self.say("start", name);
        let mut inside = self.inside();
        let fails = inside.weak.as_ref().is_some_and(|weak| name.starts_with(weak.as_str()));
        let unit = inside.units.get_mut(name).ok_or("not loaded")?;
        (unit.active, unit.failed) = (!fails, fails);
        CHANGES.send_replace(());
        Ok(())
    }

    async fn stop(&self, name: &str) -> Result<(), String> {
        self.say("stop", name);
        let takes = self.inside().stops.max(Duration::from_millis(50));
        tokio::time::sleep(takes).await;
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
        self.change(|inside| drop(inside.units.remove(name)));
        Ok(())
    }

    async fn statuses(&self, names: &[String]) -> Result<HashMap<String, Status>, String> {
        let inside = self.inside();
        let status = |name: &String| {
            let unit = inside.units.get(name).cloned().unwrap_or_default();
            let (active, sub) = match (unit.active, unit.failed) {
                (true, _) if unit.text.contains("/bin/false") => ("failed", "failed"),
                (true, _) if unit.text.contains("Type=oneshot") => ("active", "exited"),
                (true, _) => ("active", "running"),
                (false, true) => ("failed", "dead"),
                (false, false) => ("inactive", "dead"),
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
pub struct Etcd {
    /// None where somebody else has started it, and ends it.
    pub child: Option<Child>,
    pub port: u16,
    pub _dir: Option<tempfile::TempDir>,
}

impl Etcd {
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().expect("one of ours"));
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Holds it still for so long.
    pub fn stop(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub async fn etcd() -> Etcd {
    etcd_with("http", &[]).await
}

/// With further flags.
pub async fn etcd_with(scheme: &str, flags: &[String]) -> Etcd {
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
        let (client, peer) = (
            format!("{scheme}://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{peer}"),
        );
        command
            .args(["etcd", "--name", "e", "--data-dir"])
            .arg(dir.path().join(port.to_string()));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("e={peer}")]);
        command.args(flags);
        // It says when it is ready, as to systemd.
        let socket = dir.path().join(format!("notify-{port}"));
        let notify = UnixDatagram::bind(&socket).unwrap();
        command.env("NOTIFY_SOCKET", socket);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        // SAFETY: it is the descriptor's owner, and nobody else closes it.
        let ended = unsafe { AsyncFd::register(process) }.unwrap();
        let mut word = [0; 64];
        let ready = tokio::select! {
            said = timeout(LIMIT, notify.recv(&mut word)) => said.is_ok(),
            _ = ended.readable() => false,
        };
        if ready {
            return Etcd {
                child: Some(child),
                port,
                _dir: Some(dir),
            };
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("etcd does not start");
}

pub fn connect(port: u16) -> Client {
    connect_with(&format!("http://127.0.0.1:{port}"), Files::default(), None)
}

pub fn connect_with(url: &str, tls: Files, user: Option<(String, String)>) -> Client {
    let options = Options {
        endpoints: vec![url.into()],
        tls,
        user,
        header_timeout: Duration::from_secs(5),
        trace: None,
    };
    Client::new(options).unwrap()
}

/// The wire between a machine and etcd, which can be cut: what is on it hangs, as on a network that drops packets.
pub struct Wire {
    pub port: u16,
    pub whole: watch::Sender<bool>,
}

pub async fn wire(to: u16) -> Wire {
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

pub struct Node {
    pub fake: Fake,
    pub wire: Wire,
    pub config: Config,
    pub machine: Option<Machine<Fake>>,
}

impl Node {
    pub async fn new(etcd: &Etcd, id: &str, settings: &str) -> Node {
        let wire = wire(etcd.port).await;
        let text = format!(
            "etcd_servers=http://127.0.0.1:{}\netcd_request_timeout={}\nagent_ttl={}s\nengine_reconcile_interval=0.4\npublic_ip={id}\npeer_addr=127.0.0.1:0\n{settings}",
            wire.port,
            LIMIT.as_secs(),
            TTL.as_secs()
        );
        let mut config = config::parse(&text, &[], Vec::new()).unwrap();
        config.machine_id = id.into();
        let fake = Fake::default();
        let mut node = Node {
            fake,
            wire,
            config,
            machine: None,
        };
        node.start();
        node
    }

    /// Starts its fleetd, another one if it had one before.
    pub fn start(&mut self) {
        let machine = Machine::start(&self.config, self.fake.clone()).unwrap();
        let mut progress = machine.registry.progress();
        tokio::spawn(async move {
            while progress.changed().await.is_ok() {
                CHANGES.send_replace(());
            }
        });
        self.machine = Some(machine);
    }

    pub fn machine(&self) -> &Machine<Fake> {
        self.machine.as_ref().unwrap()
    }

    pub async fn put(&self, name: &str, text: &str) {
        let file = UnitFile::parse(text).unwrap();
        let created = self
            .machine()
            .registry
            .create_unit(name, &file, JobState::Launched)
            .await;
        assert!(created.unwrap().is_some());
    }

    pub fn api(&self) -> Api {
        let machine = self.machine();
        Api {
            registry: machine.registry.clone(),
            monitor: machine.monitor.clone(),
            peers: machine.peers.clone(),
            counts: machine.counts.clone(),
            machine_id: self.config.machine_id.clone(),
            token_limit: self.config.token_limit,
        }
    }

    /// Asks this node's API; the status and the body.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let api = self.api();
        let (near, far) = tokio::io::duplex(64 << 10);
        let served = tokio::spawn(async move { conn::serve(far, BytesMut::new(), &api).await.map(drop) });
        let (mut read, mut write) = tokio::io::split(near);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: fleet\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        write.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        read.read_to_string(&mut answer).await.unwrap();
        served.await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
    }

    /// A unit's state and machine as this node's API would show them.
    pub fn shown(&self, name: &str) -> (String, String) {
        let unit = self.machine().registry.mirror().unit(name).unwrap_or_default();
        (unit.current_state, unit.machine_id)
    }
}

pub async fn cluster(etcd: &Etcd, ids: &[&str]) -> Vec<Node> {
    cluster_with(etcd, ids, "").await
}

/// The settings of every node; later ones beat earlier ones.
pub async fn cluster_with(etcd: &Etcd, ids: &[&str], settings: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    for id in ids {
        nodes.push(Node::new(etcd, id, settings).await);
    }
    let all = || {
        nodes
            .iter()
            .all(|node| node.machine().registry.mirror().machines().len() == ids.len())
    };
    eventually("all machines know of each other", || all().then_some(())).await;
    nodes
}

/// Looks again whenever something has happened.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    let mut changes = Changes::default();
    loop {
        changes.seen();
        if let Some(found) = look() {
            return found;
        }
        let more = changes.next(LIMIT.saturating_sub(begun.elapsed())).await;
        assert!(more, "waited {LIMIT:?} for this: {what}");
    }
}

/// Whatever happens in this time, it holds.
pub async fn throughout(time: Duration, mut check: impl FnMut()) {
    let begun = Instant::now();
    let mut changes = Changes::default();
    loop {
        changes.seen();
        check();
        if !changes.next(time.saturating_sub(begun.elapsed())).await {
            return;
        }
    }
}

/// What happens from now on.
pub struct Changes(watch::Receiver<()>);

impl Default for Changes {
    fn default() -> Changes {
        Changes(CHANGES.subscribe())
    }
}

impl Changes {
    /// What has happened so far is about to be looked at.
    pub fn seen(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for the next thing to happen; false: nothing has in this time.
    pub async fn next(&mut self, limit: Duration) -> bool {
        timeout(limit, self.0.changed()).await.is_ok()
    }
}

pub fn running(nodes: &[Node], name: &str) -> Vec<usize> {
    (0..nodes.len()).filter(|at| nodes[*at].fake.runs(name)).collect()
}

pub const SLEEP: &str = "[Service]\nExecStart=/bin/sleep 1\n";
