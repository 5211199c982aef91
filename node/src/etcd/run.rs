//! A server's life: from flags to its exit status.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::bootstrap::{self, Bootstrap, Failure};
use super::config::{self, Config, Outcome, VERSION};
use super::ec2;
use super::listen::{self, Bound};
use super::proxy;
use super::remote::Remote;
use super::security::Security;
use super::server::Server;
use crate::log::{self, Level};
use crate::raft::Member;
use crate::raft::disk::{Disk, OsDisk};
use crate::raft::peer::{Refusal, TcpTransport};
use crate::sys;

/// Runs a server with these arguments; returns its exit status.
pub fn run(args: &[String], env: &[(String, String)]) -> i32 {
    let config = match config::parse(args, env) {
        Outcome::Run(config, lines) => {
            log::init(config.log_level, &config.log_package_levels);
            lines.iter().for_each(log::emit);
            *config
        }
        Outcome::Exit {
            code,
            stdout,
            stderr,
            log: lines,
        } => {
            log::init(Level::Info, &[]);
            sys::print(&stdout, &stderr);
            lines.iter().for_each(log::emit);
            return code;
        }
    };
    log::info!(
        "etcdmain",
        "etcd Version: {VERSION} (Corelab {})",
        env!("CARGO_PKG_VERSION")
    );
    // One thread serves: the disk has its own, and several servers share a lab's machine.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::critical!("etcdmain", "cannot start: {error}");
            return 1;
        }
    };
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> i32 {
    let result = async {
        let mut stop = Stop::new().map_err(|error| error.to_string())?;
        let clients = bind_all(&config.listen_client_urls)?;
        let tell_clients = || {
            for url in &config.listen_client_urls {
                log::info!("etcdmain", "listening for client requests on {}", url.as_str());
            }
        };
        if proxy::wanted(&config)? {
            tell_clients();
            return serve_proxy(&config, &Security::new(&config)?, clients, &mut stop).await;
        }
        let peers = bind_all(&config.listen_peer_urls)?;
        let security = Security::new(&config)?;
        for url in &config.listen_peer_urls {
            log::info!("etcdmain", "listening for peers on {}", url.as_str());
        }
        tell_clients();
        start(config, security, clients, peers, &mut stop).await
    };
    match result.await {
        Ok(code) => code,
        Err(Failure::Text(text)) => {
            log::critical!("etcdmain", "{text}");
            1
        }
        Err(Failure::Lines(lines)) => {
            lines.iter().for_each(log::emit);
            1
        }
        Err(Failure::ClusterFull(url)) => {
            log::critical!(
                "etcdmain",
                "discovery cluster is full: all members of {url} have registered; get a token for more members, add this one to the running cluster, or start it with --discovery-fallback proxy"
            );
            1
        }
    }
}

async fn serve_proxy(
    config: &Config,
    security: &Security,
    clients: Vec<Bound>,
    stop: &mut Stop,
) -> Result<i32, Failure> {
    let signal = tokio::select! {
        started = proxy::start(config, security, clients) => {
            started?;
            stop.wait().await
        }
        signal = stop.wait() => signal,
    };
    Ok(stopped_by(signal))
}

fn stopped_by(signal: i32) -> i32 {
    tell_signal(signal);
    sys::die_of(signal)
}

fn tell_signal(signal: i32) {
    let name = if signal == SIGTERM { "terminated" } else { "interrupt" };
    log::notice!("osutil", "received {name} signal, shutting down...");
}

fn bind_all(urls: &[super::urls::Url]) -> Result<Vec<Bound>, String> {
    urls.iter()
        .map(|url| listen::bind(url).map_err(|error| error.to_string()))
        .collect()
}

async fn start(
    config: Config,
    security: Security,
    clients: Vec<Bound>,
    peers: Vec<Bound>,
    stop: &mut Stop,
) -> Result<i32, Failure> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    log::info!("etcdserver", "name = {}", config.name);
    log::info!("etcdserver", "data dir = {}", config.data_dir.display());
    let Bootstrap {
        opened,
        options,
        first_members,
        lock,
        name,
    } = tokio::select! {
        begun = bootstrap::bootstrap(&config, &security, &peers, &disk) => match begun {
            Err(Failure::ClusterFull(_)) if config.discovery.fall_back => {
                log::notice!("etcdmain", "discovery cluster full, falling back to proxy");
                drop(peers);
                return serve_proxy(&config, &security, clients, stop).await;
            }
            begun => begun?,
        },
        // Discovery may wait for other members for ever.
        signal = stop.wait() => return Ok(stopped_by(signal)),
    };
    let config = Config { name, ..config };
    let meta = opened.meta();
    // Those that a member finds gone when it starts are removed once it takes part.
    let clean = match &config.discovery.ec2 {
        Some(tag) => Some((tag.clone(), Remote::new(security.peer_client()?))),
        None => None,
    };
    let removed = Arc::new(Notify::new());
    let transport = Arc::new(TcpTransport::new(
        meta.member_id,
        meta.cluster_id,
        security.connector,
        refused(removed.clone()),
    ));
    let fail = |error: std::io::Error| Failure::Text(error.to_string());
    let member = Member::start(opened, options, disk, transport).await.map_err(fail)?;
    if let Some(members) = first_members {
        member.initialize(members).await.map_err(fail)?;
    }
    let server = Arc::new(Server::new(config, member, meta.cluster_id));
    let stopped = tokio::spawn(server.clone().follow_leadership());
    for listener in peers {
        let tls = security.peers.clone().filter(|_| listener.https);
        tokio::spawn(listen::serve_peers(
            listener.listen().map_err(fail)?,
            tls,
            server.clone(),
        ));
    }
    for listener in clients {
        let tls = security.clients.clone().filter(|_| listener.https);
        tokio::spawn(listen::serve_clients(
            listener.listen().map_err(fail)?,
            tls,
            server.clone(),
        ));
    }
    tokio::spawn({
        let server = server.clone();
        async move {
            server.publish().await;
            sys::notify_ready();
            if let Some((tag, remote)) = clean {
                ec2::clean::clean(server, tag, remote).await;
            }
        }
    });
    let signal = tokio::select! {
        signal = stop.wait() => signal,
        () = server.removed() => return Ok(leave()),
        () = removed.notified() => return Ok(leave()),
        _ = stopped => {
            log::critical!("etcdserver", "consensus has stopped: see the lines above");
            return Ok(1);
        }
    };
    tell_signal(signal);
    server.member.shutdown().await;
    drop(lock);
    Ok(sys::die_of(signal))
}

fn leave() -> i32 {
    log::error!("etcdserver", "the member has been permanently removed from the cluster");
    log::info!("etcdserver", "the data-dir used by this member must be removed.");
    0
}

/// What to do when another member refuses us.
fn refused(removed: Arc<Notify>) -> impl Fn(u64, &Refusal) + Send + Sync {
    let told = AtomicBool::new(false);
    move |from, refusal| match refusal {
        Refusal::Removed => removed.notify_one(),
        other if !told.swap(true, Ordering::Relaxed) => {
            log::error!("rafthttp", "member {from:x} refuses to talk to us: {other}")
        }
        _ => {}
    }
}

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Stop> {
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SIGINT,
            _ = self.terminate.recv() => SIGTERM,
        }
    }
}
