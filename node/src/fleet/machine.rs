//! One machine of the cluster: it registers, keeps its place, and runs an agent, and an engine unless told otherwise.
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::VERSION;
use super::agent::{Agent, Manager};
use super::config::Config;
use super::engine::{Counts, Engine};
use super::mirror::{MachineState, PeerAddress};
use super::monitor::Monitor;
use super::peer::{self, Peers};
use super::promise::{self, Asks, Promises};
use super::registry::Registry;
use crate::client::cluster::{Client, Options};
use crate::log;

const LOG: &str = "server";
/// Between attempts to register or to tell that the machine is there.
const PAUSE: Duration = Duration::from_secs(1);
/// How long giving up its place may take.
const LEAVING: Duration = Duration::from_secs(5);

pub struct Machine<M> {
    pub registry: Arc<Registry>,
    pub monitor: Arc<Monitor>,
    pub peers: Arc<Peers>,
    pub counts: Arc<Counts>,
    id: String,
    agent: Arc<Agent<M>>,
    engine: Option<JoinHandle<()>>,
    engine_stop: watch::Sender<bool>,
    beat: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
    agent_task: Option<JoinHandle<()>>,
}

impl<M: Manager> Machine<M> {
    pub fn start(config: &Config, manager: M) -> Result<Machine<M>, String> {
        let client = Client::new(Options {
            endpoints: config.etcd_servers.clone(),
            tls: config.etcd_tls.clone(),
            user: config.etcd_user.clone(),
            header_timeout: config.etcd_request_timeout,
            trace: None,
        });
        let client = client.map_err(|error| error.to_string())?;
        let registry = Arc::new(Registry::new(client, &config.etcd_key_prefix));
        let monitor = Arc::new(Monitor::new(config.agent_ttl));
        let id = config.machine_id.clone();
        let stop_when_lost = config.stop_when_lost;
        let agent = Agent::new(&id, registry.clone(), monitor.clone(), manager, stop_when_lost);
        let (engine_stop, mut stopped) = watch::channel(false);
        let promises = Arc::new(Promises::new(monitor.clone()));
        let (peers, asks) = (Arc::new(Peers::new(&id)), Arc::new(Asks::default()));
        let mut others = vec![
            tokio::spawn(registry.clone().follow()),
            tokio::spawn(promise::ask(
                registry.clone(),
                monitor.clone(),
                peers.clone(),
                asks.clone(),
            )),
        ];
        let mut reached = None;
        if let Some(address) = config.peer_addr {
            let listener = peer::Listener::bind(address)?;
            reached = Some(listener.own.clone());
            others.push(tokio::spawn(listener.serve(promises.clone())));
        }
        let here = Here {
            config: config.clone(),
            reached,
            asks,
        };
        let beat = tokio::spawn(beat(here, registry.clone(), monitor.clone()));
        let agent_task = tokio::spawn(agent.clone().run());
        let counts = Arc::new(Counts::default());
        let mut engine = Engine::new(
            &id,
            registry.clone(),
            monitor.clone(),
            promises,
            config.engine_reconcile_interval,
            counts.clone(),
        );
        let engine = (!config.disable_engine).then(|| {
            tokio::spawn(async move {
                let stopped = async { stopped.wait_for(|stopped| *stopped).await.is_ok() };
                let leaves = tokio::select! {
                    () = engine.run() => false,
                    leaves = stopped => leaves,
                };
                if leaves {
                    engine.leave().await;
                }
            })
        });
        Ok(Machine {
            registry,
            monitor,
            peers,
            counts,
            id,
            agent,
            engine,
            engine_stop,
            beat,
            others,
            agent_task: Some(agent_task),
        })
    }

    /// Leaves in order: units stop here, another machine may lead, and the place is given up.
    pub async fn leave(mut self) {
        if let Some(task) = self.agent_task.take() {
            task.abort();
        }
        let _ = self.engine_stop.send(true);
        if let Some(engine) = self.engine.take() {
            let _ = timeout(LEAVING, engine).await;
        }
        self.agent.leave().await;
        self.beat.abort();
        if !self.monitor.registered() {
            // Another machine may have our id.
            return;
        }
        match timeout(LEAVING, self.registry.unregister(&self.id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warning!(LOG, "cannot unregister, the place ends by itself: {error}"),
            Err(_) => log::warning!(LOG, "cannot unregister within {LEAVING:?}, the place ends by itself"),
        }
    }
}

/// Whatever happens to it, its tasks end with it; its units do not.
impl<M> Drop for Machine<M> {
    fn drop(&mut self) {
        let tasks = [self.engine.as_ref(), Some(&self.beat), self.agent_task.as_ref()];
        for task in tasks.into_iter().flatten().chain(&self.others) {
            task.abort();
        }
    }
}

/// What a machine says of itself, beside that it is there.
struct Here {
    config: Config,
    /// Where it listens for the others.
    reached: Option<PeerAddress>,
    asks: Arc<Asks>,
}

impl Here {
    /// Writes what the registry does not have, or no longer.
    async fn tell(&self, public_ip: &str, registry: &Registry, monitor: &Monitor) {
        if !registry.progress().borrow().filled {
            return;
        }
        let id = &self.config.machine_id;
        if let Some(own) = &self.reached {
            let mut own = own.clone();
            if let Ok(address) = own.address.parse::<SocketAddr>()
                && address.ip().is_unspecified()
            {
                own.address = match public_ip.contains(':') {
                    true => format!("[{public_ip}]:{}", address.port()),
                    false => format!("{public_ip}:{}", address.port()),
                };
            }
            let known = registry.mirror().peers.get(id) == Some(&own);
            if !known && let Err(error) = registry.set_peer(id, &own).await {
                log::warning!(LOG, "cannot tell where other machines reach this one: {error}");
            }
        }
        self.asks.write(id, registry, monitor).await;
    }
}

/// Registers, and says in time that the machine is still there.
async fn beat(here: Here, registry: Arc<Registry>, monitor: Arc<Monitor>) {
    let config = &here.config;
    let ttl = monitor.ttl();
    let mut first = true;
    let mut told = true;
    loop {
        let state = MachineState {
            id: config.machine_id.clone(),
            public_ip: if config.public_ip.is_empty() {
                own_address()
            } else {
                config.public_ip.clone()
            },
            metadata: config.metadata.clone(),
            version: VERSION.into(),
        };
        let sent = Instant::now();
        match registry.register(&state, ttl.as_secs().max(1), first).await {
            Ok(Some(index)) => {
                // A machine that was lost acts again only once it sees what has been decided without it.
                let back = !first && !monitor.reachable();
                if back && !registry.caught_up(index).await {
                    continue;
                }
                if first || back {
                    log::info!(LOG, "Machine({}) is registered", state.id);
                }
                (first, told) = (false, true);
                monitor.alive(sent);
                let next = sent + ttl / 3;
                registry.caught_up(index).await;
                here.tell(&state.public_ip, &registry, &monitor).await;
                let next = next.max(Instant::now() + PAUSE.min(ttl / 10));
                // Who joins is asked from then on, not from the next heartbeat: this machine may be gone before.
                let mut progress = registry.progress();
                while timeout_at(next, progress.changed())
                    .await
                    .is_ok_and(|changed| changed.is_ok())
                {
                    here.tell(&state.public_ip, &registry, &monitor).await;
                    sleep_until(next.min(Instant::now() + ttl / 50)).await;
                }
                sleep_until(next).await;
                continue;
            }
            Ok(None) => match registry.registered(&state.id).await {
                // Left by an earlier run of this machine.
                Ok(Some(other)) if other.public_ip == state.public_ip => {
                    first = false;
                    continue;
                }
                Ok(Some(other)) => log::error!(
                    LOG,
                    "register machine failed: {} has the id {} as well, retrying; give each machine its own /etc/machine-id",
                    other.public_ip,
                    state.id
                ),
                Ok(None) => continue,
                Err(error) => log::warning!(LOG, "register machine failed: {error}, retrying"),
            },
            Err(error) if first && told => {
                log::warning!(LOG, "register machine failed: {error}, retrying");
                told = false;
            }
            Err(_) if first => {}
            Err(error) if told && !monitor.reachable() => {
                log::error!(
                    LOG,
                    "Server monitor triggered: Monitor timed out before successful heartbeat: {error}"
                );
                told = false;
            }
            Err(error) => log::debug!(LOG, "heartbeat failed: {error}"),
        }
        sleep(PAUSE.min(ttl / 10)).await;
    }
}

/// The address that this machine reaches others by; nothing is sent to find it.
fn own_address() -> String {
    let route = || {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect("192.0.2.1:9").ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
    };
    route().map_or(String::new(), |ip| ip.to_string())
}
