//! fleetd's life: arguments, the sockets that systemd hands over, signals.
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::VERSION;
use super::api::Api;
use super::config::{self, Config};
use super::host::Host;
use super::machine::Machine;
use super::tail;
use crate::etcd::http::conn;
use crate::log::{self, Level};
use crate::sys;

const LOG: &str = "fleetd";

const USAGE: &str = "\
usage: fleetd [--config FILE]
       fleetd version

\t--config ''
\t\tRead settings from this file; without it from /etc/fleet/fleet.conf, if that is there. FLEET_ variables beat it.
\t--version
\t\tPrint the version and exit.
";

/// Runs fleetd with these arguments; returns its exit status.
pub fn run(args: &[String], env: &[(String, String)]) -> i32 {
    let file = match arguments(args) {
        Ok(Some(file)) => file,
        Ok(None) => {
            sys::print(&format!("fleetd version {VERSION}\n"), "");
            return 0;
        }
        Err((code, text)) => {
            sys::print("", &text);
            return code;
        }
    };
    log::init(Level::Info, &[]);
    log::info!(LOG, "Starting fleetd version {VERSION}");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::critical!(LOG, "cannot start: {error}");
            return 1;
        }
    };
    match runtime.block_on(serve(file, env)) {
        Ok(()) => 0,
        Err(text) => {
            log::critical!(LOG, "{text}");
            1
        }
    }
}

/// The file that --config names; Ok(None) where only the version is asked for.
fn arguments(args: &[String]) -> Result<Option<Option<PathBuf>>, (i32, String)> {
    let mut file = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'));
        match flag.map(|flag| {
            flag.split_once('=')
                .map_or((flag, None), |(name, value)| (name, Some(value)))
        }) {
            Some(("version", None)) => return Ok(None),
            Some(("config", value)) => match value.map(str::to_string).or_else(|| args.next().cloned()) {
                Some(path) => file = Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty()),
                None => return Err((2, format!("flag needs an argument: -config\n{USAGE}"))),
            },
            Some(("h" | "help", None)) => return Err((0, USAGE.into())),
            Some((name, _)) => return Err((2, format!("flag provided but not defined: -{name}\n{USAGE}"))),
            None if arg == "version" => return Ok(None),
            None => return Err((1, USAGE.into())),
        }
    }
    Ok(Some(file))
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

fn listener(socket: OwnedFd) -> std::io::Result<Listener> {
    let socket = socket2::Socket::from(socket);
    socket.set_nonblocking(true)?;
    if socket.local_addr()?.domain() == socket2::Domain::UNIX {
        return UnixListener::from_std(socket.into()).map(Listener::Unix);
    }
    TcpListener::from_std(socket.into()).map(Listener::Tcp)
}

async fn serve(file: Option<PathBuf>, env: &[(String, String)]) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(text)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(text)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(text)?;
    let sockets = sys::take_listen_fds().into_iter().map(listener);
    let sockets: Vec<Arc<Listener>> = sockets
        .map(|listener| listener.map(Arc::new))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot use a socket of systemd's: {error}"))?;
    if sockets.is_empty() {
        log::warning!(LOG, "systemd hands over no socket: there is no API; start fleet.socket");
    }
    let mut config = config::load(file.as_deref(), env)?;
    sys::notify_ready();
    loop {
        log::init(
            if config.verbosity > 0 {
                Level::Debug
            } else {
                Level::Info
            },
            &[],
        );
        config.notes.iter().for_each(|note| log::info!(LOG, "{note}"));
        let (machine, mut connections) = start(&config, &sockets, env)?;
        log::info!(LOG, "Starting server components");
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => match config::load(file.as_deref(), env) {
                    Ok(new) => {
                        log::info!(LOG, "Restarting server components");
                        config = new;
                        break;
                    }
                    Err(error) => {
                        log::error!(LOG, "goes on with the settings that it has: {error}");
                        continue;
                    }
                },
            }
            log::info!(LOG, "Gracefully shutting down");
            connections.shutdown().await;
            machine.leave().await;
            return Ok(());
        }
    }
}

fn start(
    config: &Config,
    sockets: &[Arc<Listener>],
    env: &[(String, String)],
) -> Result<(Machine<Host>, JoinSet<()>), String> {
    let bus = env.iter().find(|(name, _)| name == "DBUS_SYSTEM_BUS_ADDRESS");
    let host = Host::new(&config.units_directory, bus.map(|(_, address)| address.clone()));
    let machine = Machine::start(config, host)?;
    let api = Arc::new(Api {
        registry: machine.registry.clone(),
        monitor: machine.monitor.clone(),
        peers: machine.peers.clone(),
        counts: machine.counts.clone(),
        machine_id: config.machine_id.clone(),
        token_limit: config.token_limit,
    });
    let mut connections = JoinSet::new();
    for socket in sockets {
        connections.spawn(accept(socket.clone(), api.clone()));
    }
    Ok((machine, connections))
}

async fn accept(listener: Arc<Listener>, api: Arc<Api>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = match &*listener {
            Listener::Unix(unix) => unix.accept().await.map(|(stream, _)| {
                connections.spawn(connection(stream, api.clone()));
            }),
            Listener::Tcp(tcp) => tcp.accept().await.map(|(stream, _)| {
                connections.spawn(connection(stream, api.clone()));
            }),
        };
        if let Err(error) = accepted {
            log::error!(LOG, "accept error: {error}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, api: Arc<Api>) {
    let served = match conn::serve(stream, BytesMut::new(), &*api).await {
        Ok(Some(taken)) => tail::pass(taken).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        log::debug!(LOG, "a connection broke: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Result<Option<Option<PathBuf>>, i32> {
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        arguments(&args).map_err(|(code, _)| code)
    }

    #[test]
    fn arguments_are_read_as_by_the_original() {
        assert_eq!(of(&[]), Ok(Some(None)));
        assert_eq!(of(&["-config=/a"]), Ok(Some(Some("/a".into()))));
        assert_eq!(of(&["--config", "/a"]), Ok(Some(Some("/a".into()))));
        assert_eq!(of(&["version"]), Ok(None));
        assert_eq!(of(&["--version"]), Ok(None));
        assert_eq!(of(&["word"]), Err(1));
        assert_eq!(of(&["--frob"]), Err(2));
    }
}
