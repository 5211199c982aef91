//! One node's life: its disk, its processes, what it waits for, how it ends.
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixDatagram};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::boot;
use super::cgroup::Cgroup;
use super::clone::{Exit, Process, Program};
use super::console::Console;
use super::disk::Disk;
use super::health;
use super::jobs;
use super::limits;
use super::netns::{Interface, Netns};
use super::protocol::{NodeSpec, NodeStatus, State};
use crate::wire::{self, Port, Wire};

/// systemd's own signals: SIGRTMIN+4 is poweroff.target.
const POWEROFF: i32 = 4;
/// How long a node may take to go down by itself.
const GRACE: Duration = Duration::from_secs(20);
const PROBE: Duration = Duration::from_millis(10);
/// A start that takes longer than this is asked what it does, again and again.
const JOBS: Duration = Duration::from_secs(1);
const SSH: u16 = 22;
const ETCD: u16 = 2379;

const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC;

/// What all nodes of a lab share.
#[derive(Clone, Debug)]
pub struct Host {
    pub wire: Wire,
    /// Where the host is reached by the nodes, and the nodes by the host.
    pub netns: Netns,
    pub address: std::net::Ipv4Addr,
    pub prefix: u8,
    pub cgroup: Cgroup,
    /// The first of the nodes' users.
    pub base: u32,
    pub layers: Vec<PathBuf>,
}

#[derive(Debug)]
pub struct Node {
    pub spec: NodeSpec,
    /// The same as it is to be by now.
    wish: std::sync::Mutex<NodeSpec>,
    pub disk: Disk,
    host: Host,
    status: watch::Sender<NodeStatus>,
    missing: AtomicBool,
    /// While it runs.
    running: Mutex<Option<Arc<Running>>>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    /// The process's descriptor again: readable once it has ended.
    end: AsyncFd<OwnedFd>,
    console: Console,
    cgroup: Cgroup,
    port: u64,
    /// Held so that the node's end of the wire is there until all its frames have been taken.
    _netns: Netns,
    since: Instant,
    notify: UnixDatagram,
    /// systemd has said that it is done with starting.
    settled: watch::Sender<bool>,
    /// Which of its limits do not hold, and why.
    unlimited: String,
}

impl Node {
    pub fn new(spec: NodeSpec, dir: &Path, host: Host) -> Arc<Node> {
        let disk = Disk::new(dir.join(&spec.name), host.base);
        let status = NodeStatus {
            name: spec.name.clone(),
            address: spec.address,
            state: if disk.exists() { State::Halted } else { State::New },
            detail: String::new(),
            millis: 0,
            boots: 0,
            troubles: Vec::new(),
        };
        Arc::new(Node {
            wish: std::sync::Mutex::new(spec.clone()),
            spec,
            disk,
            host,
            status: watch::channel(status).0,
            missing: AtomicBool::new(false),
            running: Mutex::default(),
        })
    }

    pub fn status(&self) -> NodeStatus {
        self.status.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<NodeStatus> {
        self.status.subscribe()
    }

    pub fn log(&self) -> PathBuf {
        self.disk.dir.join("console.log")
    }

    /// Has it be so from now on: its limits at once, the rest when it starts.
    pub async fn change(&self, spec: NodeSpec) {
        let old = std::mem::replace(&mut *self.wish.lock().expect("no panic holds it"), spec.clone());
        let running = self.running.lock().await.clone();
        if let Some(running) = running.filter(|_| (old.memory, old.cpus) != (spec.memory, spec.cpus)) {
            let missed = limits::change(&running.cgroup, (old.memory, old.cpus), (spec.memory, spec.cpus));
            self.status.send_if_modified(|status| {
                let is_ready = status.state == State::Ready;
                if is_ready {
                    status.detail = missed.join("; ");
                }
                is_ready
            });
        }
    }

    fn wish(&self) -> NodeSpec {
        self.wish.lock().expect("no panic holds it").clone()
    }

    /// Also what it does by itself: systemd takes this file away when it has started, and puts it back to go down.
    pub async fn look(&self) -> NodeStatus {
        let mut status = self.status();
        if let Some(running) = self
            .running
            .lock()
            .await
            .as_ref()
            .filter(|_| status.state == State::Ready)
            && nologin(running.process.pid).exists()
        {
            status.state = State::Halting;
        }
        status
    }

    fn say(&self, state: State, detail: impl Into<String>, since: Option<Instant>) {
        let detail = detail.into();
        self.status.send_modify(|status| {
            status.state = state;
            status.detail = detail;
            if let Some(since) = since {
                status.millis = since.elapsed().as_millis() as u64;
            }
        });
    }

    /// Has it run from now on: also after a reboot from inside, until it is halted.
    pub async fn start(self: &Arc<Node>) {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return;
        }
        match self.boot() {
            Ok(started) => {
                let started = Arc::new(started);
                *running = Some(started.clone());
                tokio::spawn(self.clone().live(started));
            }
            Err(error) => self.fail(&error),
        }
    }

    /// It did not start. What the machine lacks is told apart by the error's kind.
    fn fail(&self, error: &io::Error) {
        self.missing
            .store(error.kind() == io::ErrorKind::Unsupported, Ordering::Relaxed);
        self.say(State::Failed, error.to_string(), None);
    }

    /// Did the last start fail for what the machine lacks?
    pub fn misses(&self) -> bool {
        self.missing.load(Ordering::Relaxed)
    }

    fn boot(&self) -> io::Result<Running> {
        let since = Instant::now();
        self.say(State::Booting, "starting", Some(since));
        self.status.send_modify(|status| {
            status.boots += 1;
            status.troubles.clear();
        });
        let wish = self.wish();
        if !self.disk.exists() {
            explain("cannot make its disk", self.disk.create(&wish.files))?;
        }
        let _ = self.disk.unmount();
        self.disk.mount(&self.host.layers)?;
        let cgroup = need(
            "cannot make its control group",
            self.host.cgroup.node(&self.spec.name, self.host.base),
        )?;
        let (console, terminal) = explain("cannot make its console", Console::open(self.host.base))?;
        let group = cgroup.open()?;
        let process = Program {
            args: &["boot", &self.spec.name],
            namespaces: NAMESPACES,
            cgroup: Some(group.as_fd()),
            directory: &self.disk.root(),
            console: terminal.as_fd(),
            fds: &[],
        }
        .spawn();
        let mut process = need("cannot make its namespaces", process)?;
        need("cannot map its users", process.map_users(self.host.base))?;
        let netns = Netns::from(process.network()?);
        let mac = wire::mac(self.spec.address);
        let interface = Interface {
            name: "eth0".into(),
            mac,
            address: self.spec.address,
            prefix: self.host.prefix,
            gateway: Some(self.host.address),
        };
        let tap = need("cannot plug it into the wire", netns.tap(&interface))?;
        let port = self.host.wire.plug(Port { mac, tap })?;
        let notify = netns.run(|| {
            let socket = std::os::unix::net::UnixDatagram::bind_addr(&UnixAddr::from_abstract_name(boot::NOTIFY)?)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let unlimited = limits::set(&cgroup, &[process.pid], wish.memory, wish.cpus).join("; ");
        process.release()?;
        Ok(Running {
            // SAFETY: it is the descriptor's owner, and nobody else closes it.
            end: unsafe { AsyncFd::register(process.pidfd.try_clone()?)? },
            process,
            console,
            cgroup,
            port,
            _netns: netns,
            since,
            notify: UnixDatagram::from_std(notify)?,
            settled: watch::channel(false).0,
            unlimited,
        })
    }

    /// Follows a start to its end, and the next one, when the node has rebooted.
    async fn live(self: Arc<Node>, mut running: Arc<Running>) {
        loop {
            let exit = self.clone().attend(&running).await;
            // The kernel takes its time for each of these, and other nodes may end at the same moment.
            let (node, ended) = (self.clone(), running.clone());
            let cleared = tokio::task::spawn_blocking(move || {
                node.host.wire.unplug(ended.port);
                ended.cgroup.remove();
                let _ = node.disk.unmount();
            });
            let _ = cleared.await;
            let mut slot = self.running.lock().await;
            *slot = None;
            let (state, detail) = match exit {
                // reboot(2) in a PID namespace ends its first process by one of these.
                Ok(Exit::Signal(libc::SIGHUP)) => match self.boot() {
                    Ok(next) => {
                        running = Arc::new(next);
                        *slot = Some(running.clone());
                        continue;
                    }
                    Err(error) => {
                        self.fail(&error);
                        return;
                    }
                },
                Ok(Exit::Signal(libc::SIGINT)) => (State::Halted, String::new()),
                Ok(Exit::Signal(libc::SIGKILL)) => (State::Halted, "killed".into()),
                Ok(exit) => (
                    State::Failed,
                    format!("its systemd ended: {exit:?}; {}", tail(&self.log())),
                ),
                Err(error) => (State::Failed, error.to_string()),
            };
            self.say(state, detail, None);
            return;
        }
    }

    async fn attend(self: Arc<Node>, running: &Arc<Running>) -> io::Result<Exit> {
        let (console, log) = (running.clone(), self.log());
        let printing = tokio::spawn(async move { console.console.run(&log).await });
        let others = async { tokio::join!(running.listen(), self.become_ready(running.clone())) };
        let exit = tokio::select! {
            exit = running.ended() => exit,
            _ = others => running.ended().await,
        };
        running.console.hang_up();
        let _ = timeout(GRACE, printing).await;
        exit
    }

    /// Waits for systemd, ssh and etcd, and says what is missing.
    async fn become_ready(self: Arc<Node>, running: Arc<Running>) {
        let say = |detail: &str| self.say(State::Booting, detail, Some(running.since));
        say("systemd");
        let wish = self.wish();
        let mut left = String::new();
        while timeout(JOBS, running.settled()).await.is_err() {
            left = match jobs::running(running.process.pid).await {
                Ok(jobs) if wish.part && jobs::wait_for_others(&jobs) => {
                    format!("{} waits for the others", jobs.join(", "))
                }
                Ok(jobs) if jobs.is_empty() => continue,
                Ok(jobs) => {
                    say(&format!("systemd runs {}", jobs.join(", ")));
                    continue;
                }
                Err(error) => {
                    say(&format!("systemd (its jobs are not known: {error})"));
                    continue;
                }
            };
            break;
        }
        say("ssh");
        while !self.ssh_answers().await {
            sleep(PROBE).await;
        }
        if wish.etcd {
            say("etcd");
            let tls = wish.tls.as_ref().and_then(|tls| health::connector(tls).ok());
            while !self.etcd_is_healthy(tls.as_ref()).await {
                sleep(PROBE).await;
            }
        }
        let troubles = timeout(GRACE, jobs::failed(running.process.pid)).await;
        let troubles = troubles.map_or_else(|_| Vec::new(), |found| found.unwrap_or_default());
        let failed: Vec<&str> = troubles.iter().map(|trouble| trouble.unit.as_str()).collect();
        let failed = match failed.is_empty() {
            true => String::new(),
            false => format!("{} failed", failed.join(", ")),
        };
        let notes: Vec<&str> = [left.as_str(), &running.unlimited, &failed]
            .into_iter()
            .filter(|note| !note.is_empty())
            .collect();
        self.status.send_modify(|status| status.troubles = troubles);
        self.say(State::Ready, notes.join("; "), Some(running.since));
    }

    async fn ssh_answers(&self) -> bool {
        let Ok(mut stream) = self.connect(SSH).await else {
            return false;
        };
        let mut banner = [0; 4];
        matches!(timeout(GRACE, stream.read_exact(&mut banner)).await, Ok(Ok(_)) if &banner == b"SSH-")
    }

    async fn etcd_is_healthy(&self, tls: Option<&TlsConnector>) -> bool {
        let ask = async { health::of_etcd(self.connect(ETCD).await?, self.spec.address, tls).await };
        matches!(timeout(GRACE, ask).await, Ok(Ok(true)))
    }

    /// A connection from the host's end of the wire.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let state = self.status.borrow().state;
        // Nobody would answer, and TCP waits for minutes until it believes that.
        if !matches!(state, State::Booting | State::Ready) {
            return Err(io::Error::other(format!("the node is {state}")));
        }
        self.host.netns.connect(self.spec.address, port).await
    }

    /// Down, by itself or by force; its disk stays.
    pub async fn halt(self: &Arc<Node>, force: bool) {
        let Some(running) = self.running.lock().await.clone() else {
            return;
        };
        let process = &running.process;
        self.say(State::Halting, "", None);
        if force || process.kill_realtime(POWEROFF).is_err() {
            let _ = process.kill(Signal::KILL);
        }
        let mut status = self.watch();
        let down = status.wait_for(|status| matches!(status.state, State::Halted | State::Failed));
        if timeout(GRACE, down).await.is_err() {
            let _ = process.kill(Signal::KILL);
            let mut status = self.watch();
            let _ = status
                .wait_for(|status| matches!(status.state, State::Halted | State::Failed))
                .await;
        }
    }

    /// Its first process, while it runs.
    pub async fn runs(&self) -> io::Result<i32> {
        let pid = self.running.lock().await.as_ref().map(|running| running.process.pid);
        pid.ok_or_else(|| io::Error::other(format!("the node is {}", self.status.borrow().state)))
    }

    /// Stops all its processes where they are, or lets them go on.
    pub async fn freeze(&self, frozen: bool) -> io::Result<()> {
        let Some(running) = self.running.lock().await.clone() else {
            return Err(io::Error::other(format!("the node is {}", self.status.borrow().state)));
        };
        running.cgroup.freeze(frozen)?;
        let change = async {
            while running.cgroup.is_frozen() != frozen {
                sleep(PROBE).await;
            }
        };
        timeout(GRACE, change)
            .await
            .map_err(|_| io::Error::other("the kernel does not stop its processes"))
    }

    /// Its console, while it runs.
    pub async fn console(&self) -> Option<Attached> {
        self.running.lock().await.clone().map(Attached)
    }

    pub async fn destroy(self: &Arc<Node>) -> io::Result<()> {
        self.halt(true).await;
        let disk = self.disk.clone();
        tokio::task::spawn_blocking(move || disk.remove())
            .await
            .map_err(io::Error::other)??;
        self.say(State::New, "", None);
        Ok(())
    }
}

/// A running node's console.
#[derive(Debug)]
pub struct Attached(Arc<Running>);

impl std::ops::Deref for Attached {
    type Target = Console;

    fn deref(&self) -> &Console {
        &self.0.console
    }
}

impl Running {
    /// Takes what systemd says for as long as it lives: it tells of every job that takes long, three times a second, and
    /// stands still once ten of its words wait to be heard.
    async fn listen(&self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.notify.recv(&mut buffer).await {
            let mut lines = buffer[..length].split(|byte| *byte == b'\n');
            if lines.any(|line| line == b"READY=1") {
                self.settled.send_replace(true);
            }
        }
    }

    /// Returns when systemd has said that it is done with starting.
    async fn settled(&self) {
        let _ = self.settled.subscribe().wait_for(|settled| *settled).await;
    }

    async fn ended(&self) -> io::Result<Exit> {
        loop {
            let mut ready = self.end.readable().await?;
            if let Some(exit) = self.process.ended()? {
                return Ok(exit);
            }
            ready.clear_ready();
        }
    }
}

fn explain<T>(what: &str, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))
}

/// As above, of what the machine has to have.
fn need<T>(what: &str, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(io::ErrorKind::Unsupported, format!("{what}: {error}")))
}

/// What systemd puts there when nobody is to log in any more.
fn nologin(pid: i32) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join("root/run/nologin")
}

/// The last lines of a console.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(5)
        .collect();
    let lines: Vec<&str> = lines.into_iter().rev().map(str::trim_end).collect();
    format!("the last lines of {}:\n{}", log.display(), lines.join("\n"))
}
