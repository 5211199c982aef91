//! One machine of the cluster: it registers, keeps its place, and runs an agent, and an engine unless told otherwise.
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::VERSION;
use super::agent::{Agent, Manager};
use super::config::Config;
use super::engine::Engine;
use super::mirror::MachineState;
use super::monitor::Monitor;
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
    id: String,
    agent: Arc<Agent<M>>,
    engine: Option<JoinHandle<()>>,
    engine_stop: watch::Sender<bool>,
    beat: JoinHandle<()>,
    follow: JoinHandle<()>,
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
        let follow = tokio::spawn(registry.clone().follow());
        let beat = tokio::spawn(beat(config.clone(), registry.clone(), monitor.clone()));
        let agent_task = tokio::spawn(agent.clone().run());
        let mut engine = Engine::new(&id, registry.clone(), config.engine_reconcile_interval);
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
            id,
            agent,
            engine,
            engine_stop,
            beat,
            follow,
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
        let tasks = [
            self.engine.as_ref(),
            Some(&self.beat),
            Some(&self.follow),
            self.agent_task.as_ref(),
        ];
        for task in tasks.into_iter().flatten() {
            task.abort();
        }
    }
}

/// Registers, and says in time that the machine is still there.
async fn beat(config: Config, registry: Arc<Registry>, monitor: Arc<Monitor>) {
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
                let back = monitor.lost();
                if back && !registry.caught_up(index).await {
                    continue;
                }
                if first || back {
                    log::info!(LOG, "Machine({}) is registered", state.id);
                }
                (first, told) = (false, true);
                monitor.alive(sent);
                sleep(ttl / 3).await;
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
