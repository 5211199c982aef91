//! The process that a lab is: first of a PID namespace that holds all its nodes, so that nothing outlives it.
mod faults;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem::ManuallyDrop;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::cgroup::Cgroup;
use super::checkpoint;
use super::leases::Leases;
use super::netns::{self, Interface, Netns};
use super::node::{Host, Node};
use super::protocol::{Event, Forward, LabSpec, NodeSpec, Reason, Request, State};
use super::{forward, services};
use crate::image;
use crate::wire::{self, Port, Wire};

/// The host's own end of the wire.
pub const HOST: Ipv4Addr = Ipv4Addr::new(172, 17, 8, 1);
const PREFIX: u8 = 24;
/// This machine's address there, where it has an interface.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(172, 17, 8, 2);
/// What root's nodes have as their users: a range that systemd leaves to nobody.
const ROOT_BASE: u32 = 0x7000_0000;

/// Everything that runs.
struct Lab {
    host: Host,
    nodes: BTreeMap<String, Arc<Node>>,
    forwards: forward::Forwards,
    services: services::Services,
    leases: Arc<Leases>,
    /// Where the interface of this machine is plugged in.
    outside: Option<u64>,
}

/// How long a supervisor that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(10);

struct Supervisor {
    dir: PathBuf,
    lab: Mutex<Option<Lab>>,
    ended: watch::Sender<bool>,
}

/// Serves the lab whose state is in `dir` until it is told to end.
pub fn run(dir: &Path) -> io::Result<()> {
    // The kernel's lock, gone with this process however it ends, and not before: who waits for it waits for that.
    let lock = ManuallyDrop::new(fs::File::create(dir.join("lock"))?);
    let began = std::time::Instant::now();
    // One that was killed holds it until its nodes are gone.
    while rustix::fs::flock(&*lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if began.elapsed() > DYING {
            return Err(io::Error::other("another supervisor serves this lab"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // This namespace's processes, not the host's.
    mount(
        c"proc",
        "/proc",
        c"proc",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        c"",
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(dir))
}

async fn serve(dir: &Path) -> io::Result<()> {
    let socket = dir.join("socket");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    let supervisor = Arc::new(Supervisor {
        dir: dir.to_path_buf(),
        lab: Mutex::default(),
        ended: watch::channel(false).0,
    });
    let mut ended = supervisor.ended.subscribe();
    let mut asked = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            connection = listener.accept() => {
                if let Ok((stream, _)) = connection {
                    let supervisor = supervisor.clone();
                    tokio::spawn(async move {
                        let _ = supervisor.talk(stream).await;
                    });
                }
            }
            _ = asked.recv() => supervisor.end().await,
            _ = ended.changed() => break,
        }
    }
    let _ = fs::remove_file(&socket);
    Ok(())
}

impl Supervisor {
    async fn talk(self: Arc<Self>, stream: UnixStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let request: Request = serde_json::from_str(&line)?;
        let mut client = Client(stream);
        match request {
            Request::Ping => client.say(&Event::Done).await,
            Request::Begin { lab } => {
                let result = self.begin(&lab, &mut client).await;
                client.finish(result).await
            }
            Request::Listen { forwards } => {
                let result = self.listen(&forwards, &mut client).await;
                client.finish(result).await
            }
            Request::Up { nodes } => {
                let result = self.up(nodes, &mut client).await;
                client.finish(result).await
            }
            Request::Status => {
                for status in self.statuses().await {
                    client.say(&Event::Node(status)).await?;
                }
                client.say(&Event::Done).await
            }
            Request::Halt { nodes, force } => {
                let nodes = self.released(&nodes).await;
                let halt = move |node: Arc<Node>| async move {
                    node.halt(force).await;
                    Ok(())
                };
                let result = at_once(nodes, &mut client, halt).await;
                client.finish(result).await
            }
            Request::Reload { nodes, files } => {
                let result = self.reload(nodes, &files, &mut client).await;
                client.finish(result).await
            }
            Request::Destroy { nodes } => {
                let nodes = self.released(&nodes).await;
                let destroy = |node: Arc<Node>| async move { node.destroy().await };
                let result = at_once(nodes, &mut client, destroy).await;
                client.finish(result).await
            }
            Request::Connect { host, port } => self.connect(&host, port, client).await,
            Request::Console { node } => self.console(&node, client).await,
            Request::Fault {
                fault,
                limit,
                held,
                seed,
            } => self.fault(fault, limit, held, seed, client).await,
            Request::Faults => {
                for lease in self.leases().await.iter().flat_map(|(leases, _)| leases.list()) {
                    client.say(&Event::Fault(lease)).await?;
                }
                client.say(&Event::Done).await
            }
            Request::Heal { ids } => {
                let result = self.heal(&ids, &mut client).await;
                client.finish(result).await
            }
            Request::Checkpoint { name } => {
                let result = checkpoint::save(&self.checkpoint(&name), &self.nodes(&[]).await).await;
                client.finish(result).await
            }
            Request::Restore { name } => {
                let nodes = self.released(&[]).await;
                let result = checkpoint::restore(&self.checkpoint(&name), &nodes).await;
                client.finish(result).await
            }
            Request::Run {
                node,
                user,
                script,
                limit,
            } => {
                let result = self.run(&node, &user, &script, limit, &mut client).await;
                client.finish(result).await
            }
            Request::End => {
                self.end().await;
                client.say(&Event::Done).await?;
                self.ended.send_replace(true);
                Ok(())
            }
        }
    }

    /// The nodes of these names; of all, when none is given.
    async fn nodes(&self, names: &[String]) -> Vec<Arc<Node>> {
        let lab = self.lab.lock().await;
        let all = lab.iter().flat_map(|lab| lab.nodes.values());
        all.filter(|node| names.is_empty() || names.contains(&node.spec.name))
            .cloned()
            .collect()
    }

    async fn listen(&self, forwards: &[Forward], client: &mut Client) -> io::Result<()> {
        let mut lab = self.lab.lock().await;
        let lab = lab.as_mut().ok_or_else(not_begun)?;
        let taken = lab.forwards.set(forwards).await?;
        lab.forwards.lead(&lab.nodes);
        for forward in taken {
            client.say(&Event::Taken(forward)).await?;
        }
        Ok(())
    }

    async fn up(&self, specs: Vec<NodeSpec>, client: &mut Client) -> io::Result<()> {
        let mut lab = self.lab.lock().await;
        let lab_now = lab.as_mut().ok_or_else(not_begun)?;
        let mut nodes = Vec::new();
        for spec in specs {
            nodes.push(lab_now.node(&self.dir, spec).await);
        }
        lab_now.forwards.lead(&lab_now.nodes);
        let leases = lab_now.leases.clone();
        drop(lab);
        leases.release(&nodes).await;
        for node in &nodes {
            node.start().await;
        }
        follow(&nodes, client).await
    }

    /// Makes what all nodes share, if it is not there.
    async fn begin(&self, spec: &LabSpec, client: &mut Client) -> io::Result<()> {
        let mut lab = self.lab.lock().await;
        let base = if is_root() { ROOT_BASE } else { 0 };
        let began = Instant::now();
        let layers = image::unpacked(&spec.image, base)?;
        if began.elapsed() > Duration::from_millis(100) {
            client.phase("image unpacked", began).await?;
        }
        let lab = match lab.as_mut() {
            Some(lab) => lab,
            None => lab.insert(Lab::begin(spec, base, layers)?),
        };
        lab.reach(spec.host_interface.then_some(&spec.id))?;
        if spec.discovery {
            let dir = self.dir.join("discovery");
            lab.services.discovery(&spec.image.labnode, &dir, &lab.host.netns)?;
            lab.services.answers(&dir, &lab.host.netns).await?;
        }
        Ok(())
    }

    async fn reload(
        &self,
        specs: Vec<NodeSpec>,
        files: &[(String, Vec<super::disk::File>)],
        client: &mut Client,
    ) -> io::Result<()> {
        let mut nodes = Vec::new();
        let mut lab = self.lab.lock().await;
        let lab_now = lab.as_mut().ok_or_else(not_begun)?;
        for spec in specs {
            nodes.push(lab_now.node(&self.dir, spec).await);
        }
        drop(lab);
        if let Some((leases, _)) = self.leases().await {
            leases.release(&nodes).await;
        }
        for node in &nodes {
            node.halt(false).await;
            client.say(&Event::Node(node.status())).await?;
            for (_, files) in files.iter().filter(|(name, _)| *name == node.spec.name) {
                node.disk.update(files)?;
            }
        }
        for node in &nodes {
            node.start().await;
        }
        follow(&nodes, client).await
    }

    async fn connect(&self, host: &str, port: u16, client: Client) -> io::Result<()> {
        let connection = if host == HOST.to_string() {
            let netns = self.lab.lock().await.as_ref().map(|lab| lab.host.netns.clone());
            match netns {
                Some(netns) => netns.connect(HOST, port).await,
                None => return client.refuse("the lab has not begun").await,
            }
        } else {
            let nodes = self.nodes(&[]).await;
            match nodes
                .iter()
                .find(|node| node.spec.name == host || node.spec.address.to_string() == host)
            {
                Some(node) => node.connect(port).await,
                None => return client.refuse(&format!("{host} is no node of this lab")).await,
            }
        };
        match connection {
            Ok(stream) => forward::hand_over(client.0.into_inner(), &stream).await,
            Err(error) => client.refuse(&format!("{host}:{port}: {error}")).await,
        }
    }

    async fn console(&self, name: &str, mut client: Client) -> io::Result<()> {
        let nodes = self.nodes(&[name.to_string()]).await;
        let Some(console) = nodes.first().map(|node| node.console()) else {
            return client.refuse(&format!("{name} is no node of this lab")).await;
        };
        let Some(running) = console.await else {
            return client.refuse(&format!("{name} does not run")).await;
        };
        client.say(&Event::Done).await?;
        let mut output = running.attach();
        let mut typed = [0; 1024];
        loop {
            tokio::select! {
                bytes = output.recv() => match bytes {
                    Ok(bytes) if bytes.is_empty() => return Ok(()),
                    Ok(bytes) => client.0.write_all(&bytes).await?,
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(_) => return Ok(()),
                },
                read = client.0.read(&mut typed) => match read? {
                    0 => return Ok(()),
                    read => running.type_in(&typed[..read]).await?,
                },
            }
        }
    }

    /// Everything down, in order where the nodes follow.
    async fn end(&self) {
        let nodes = self.nodes(&[]).await;
        let downs: Vec<_> = nodes
            .iter()
            .cloned()
            .map(|node| tokio::spawn(async move { node.halt(false).await }))
            .collect();
        for down in downs {
            let _ = down.await;
        }
        if let Some(mut lab) = self.lab.lock().await.take() {
            lab.services.end().await;
            lab.host.wire.close();
            lab.host.cgroup.remove();
        }
        self.ended.send_replace(true);
    }
}

impl Lab {
    fn begin(spec: &LabSpec, base: u32, layers: Vec<PathBuf>) -> io::Result<Lab> {
        let cgroup = Cgroup::of_lab(&spec.id)?;
        // Of a supervisor that was killed.
        cgroup.drain();
        cgroup.remove();
        cgroup.create()?;
        let wire = Wire::new()?;
        let netns = Netns::new()?;
        let mac = wire::mac(HOST);
        let tap = netns.tap(&Interface {
            name: "lab0".into(),
            mac,
            address: HOST,
            prefix: PREFIX,
            gateway: None,
        })?;
        wire.plug(Port { mac, tap })?;
        let host = Host {
            wire,
            netns,
            address: HOST,
            prefix: PREFIX,
            cgroup,
            base,
            layers,
        };
        Ok(Lab {
            host,
            nodes: BTreeMap::new(),
            forwards: forward::Forwards::default(),
            services: services::Services::default(),
            leases: Arc::default(),
            outside: None,
        })
    }

    /// This machine has an interface of the lab with this id, or none. It is gone when nobody holds its other end.
    fn reach(&mut self, id: Option<&String>) -> io::Result<()> {
        match (id, self.outside) {
            (Some(id), None) => {
                let mac = wire::mac(OUTSIDE);
                let tap = netns::tap_here(&Interface {
                    name: format!("lab-{id}"),
                    mac,
                    address: OUTSIDE,
                    prefix: PREFIX,
                    gateway: None,
                })?;
                self.outside = Some(self.host.wire.plug(Port { mac, tap })?);
            }
            (None, Some(number)) => {
                self.host.wire.unplug(number);
                self.outside = None;
            }
            _ => {}
        }
        Ok(())
    }

    /// The node of this name, made if it is new, and from now on as it is described.
    async fn node(&mut self, dir: &Path, spec: NodeSpec) -> Arc<Node> {
        let known = self
            .nodes
            .get(&spec.name)
            .filter(|node| node.status().state != State::New);
        if let Some(node) = known {
            node.change(spec).await;
            return node.clone();
        }
        let name = spec.name.clone();
        let node = Node::new(spec, &dir.join("nodes"), self.host.clone());
        self.nodes.insert(name, node.clone());
        node
    }
}

fn not_begun() -> io::Error {
    io::Error::other("the lab has not begun")
}

/// Does it to all of them at the same time, to the end also where one fails or the client goes away.
async fn at_once<F>(nodes: Vec<Arc<Node>>, client: &mut Client, act: impl Fn(Arc<Node>) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut acts = JoinSet::new();
    for node in nodes {
        let done = act(node.clone());
        acts.spawn(async move { done.await.map(|()| node.status()) });
    }
    let mut result = Ok(());
    while let Some(done) = acts.join_next().await {
        match done.map_err(io::Error::other).flatten() {
            Ok(status) => drop(client.say(&Event::Node(status)).await),
            Err(error) => result = Err(error),
        }
    }
    result
}

/// Tells of each change until all are ready, or one never will be.
async fn follow(nodes: &[Arc<Node>], client: &mut Client) -> io::Result<()> {
    let (changes, mut changed) = tokio::sync::mpsc::channel(64);
    for node in nodes {
        let (mut status, changes) = (node.watch(), changes.clone());
        tokio::spawn(async move {
            loop {
                let now = status.borrow_and_update().clone();
                let last = !matches!(now.state, State::Booting | State::Halting);
                if changes.send(now).await.is_err() || last || status.changed().await.is_err() {
                    return;
                }
            }
        });
    }
    drop(changes);
    while let Some(status) = changed.recv().await {
        client.say(&Event::Node(status)).await?;
    }
    let down = nodes.iter().find(|node| node.status().state != State::Ready);
    down.map_or(Ok(()), |node| {
        let status = node.status();
        let kind = match node.misses() {
            true => io::ErrorKind::Unsupported,
            false => io::ErrorKind::Other,
        };
        let why = format!("{} is not up: {}", status.name, status.detail);
        Err(io::Error::new(kind, why))
    })
}

/// Root on the host, not of a namespace that an ordinary user made.
fn is_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The other end of a request.
struct Client(BufReader<UnixStream>);

impl Client {
    async fn say(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        timeout(Duration::from_secs(10), self.0.write_all(&line)).await?
    }

    async fn phase(&mut self, text: &str, began: Instant) -> io::Result<()> {
        let millis = began.elapsed().as_millis() as u64;
        self.say(&Event::Phase {
            text: text.into(),
            millis,
        })
        .await
    }

    async fn refuse(self, why: &str) -> io::Result<()> {
        self.fail(Reason::Other, why, "lab status").await
    }

    async fn fail(mut self, reason: Reason, why: &str, todo: &str) -> io::Result<()> {
        self.say(&Event::Failed {
            reason,
            what: "the lab cannot do that".into(),
            place: "its supervisor".into(),
            why: why.into(),
            todo: todo.into(),
        })
        .await
    }

    async fn finish(mut self, result: io::Result<()>) -> io::Result<()> {
        let error = match result {
            Ok(()) => return self.say(&Event::Done).await,
            Err(error) => error,
        };
        let (reason, todo) = match error.kind() {
            io::ErrorKind::AlreadyExists => (Reason::Conflict, "lab fault ls"),
            io::ErrorKind::AddrInUse => (Reason::Conflict, "ip route show 172.17.8.0/24  # says whose it is"),
            io::ErrorKind::InvalidInput => (Reason::Usage, "lab status"),
            io::ErrorKind::Unsupported => (Reason::Missing, "lab doctor"),
            io::ErrorKind::TimedOut => (Reason::Timeout, "lab status"),
            _ => (Reason::Other, "lab status"),
        };
        self.fail(reason, &error.to_string(), todo).await
    }
}
