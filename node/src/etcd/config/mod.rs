//! The server's configuration: arguments and ETCD_ variables in, a checked `Config` or the way to exit out. Nothing here
//! prints, reads the environment or touches a disk.
pub use bootstrap::same;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::etcd::urls::Url;
use crate::log::{Level, LogLine};
use crate::tls;

mod bootstrap;
mod ec2;
mod env;
mod goflag;
mod resolve;
mod table;
mod usage;
mod values;

pub use bootstrap::{Members, parse as parse_members};
pub use ec2::{Ec2, endpoint, is_region, parse as parse_ec2};
pub use table::DEFAULT_NAME;

/// The version whose behaviour this is, as tools read it.
pub const VERSION: &str = "2.3.8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    New,
    Existing,
}

/// How a member without data finds the others, when no list names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The token's URL; empty without discovery.
    pub url: String,
    /// What to do when the token's cluster is full: become a proxy, or exit.
    pub fall_back: bool,
    /// The HTTP proxy on the way to the service; empty for none.
    pub proxy: String,
    /// The domain whose SRV records name the members; empty without.
    pub srv: String,
    /// The tag of the instances that the members run on.
    pub ec2: Option<Ec2>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    Off,
    Readonly,
    On,
}

/// The proxy's flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    pub mode: ProxyMode,
    pub failure_wait: Duration,
    pub refresh_interval: Duration,
    /// Zero is no limit, here and below.
    pub dial_timeout: Duration,
    pub write_timeout: Duration,
    pub read_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    /// Inside the data directory unless given.
    pub wal_dir: Option<PathBuf>,
    pub snapshot_count: u64,
    pub heartbeat_ms: u64,
    pub election_ms: u64,
    pub listen_peer_urls: Vec<Url>,
    pub listen_client_urls: Vec<Url>,
    /// 0 keeps all.
    pub max_snapshots: u64,
    /// 0 keeps all.
    pub max_wals: u64,
    pub cors: BTreeSet<String>,
    pub event_history_size: usize,
    pub initial_advertise_peer_urls: Vec<Url>,
    pub initial_cluster: Members,
    /// As given; the hints compare it with the default.
    pub initial_cluster_text: String,
    pub initial_cluster_state: ClusterState,
    pub initial_cluster_token: String,
    pub advertise_client_urls: Vec<Url>,
    pub force_new_cluster: bool,
    /// Started with etcd 0.4's spellings: its paths are there, too.
    pub v04: bool,
    pub client_tls: tls::Files,
    /// Serves clients with a certificate that it makes itself.
    pub client_auto_tls: bool,
    pub peer_tls: tls::Files,
    pub peer_auto_tls: bool,
    pub discovery: Discovery,
    pub proxy: Proxy,
    pub log_level: Level,
    pub log_package_levels: Vec<(String, Level)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The lines are for the log, before anything else is.
    Run(Box<Config>, Vec<LogLine>),
    /// The log's lines come after stdout and stderr.
    Exit {
        code: i32,
        stdout: String,
        stderr: String,
        log: Vec<LogLine>,
    },
}

/// `args` without the program's name.
pub fn parse(args: &[String], env: &[(String, String)]) -> Outcome {
    let exit = |code, stdout: String, stderr: String, log| Outcome::Exit {
        code,
        stdout,
        stderr,
        log,
    };
    let mut given = values::Given::default();
    let rest = match goflag::parse(args, &mut given) {
        Ok(rest) => rest,
        Err(goflag::Stop::Help) => {
            return exit(
                0,
                format!("{}{}", usage::USAGE, usage::flags()),
                String::new(),
                Vec::new(),
            );
        }
        Err(goflag::Stop::Bad(text)) => {
            return exit(2, usage::USAGE.into(), text + "\n", given.log);
        }
    };
    if let Some(word) = rest.first() {
        return fail(given, resolve::Problem::Flags(format!("'{word}' is not a valid flag")));
    }
    if given.bool("version") {
        let text = format!("etcd Version: {VERSION}\nCorelab: {}\n", env!("CARGO_PKG_VERSION"));
        return exit(0, text, String::new(), given.log);
    }
    if let Err(text) = env::apply(env, &mut given) {
        return fail(given, resolve::Problem::Fatal(text));
    }
    match resolve::resolve(&mut given) {
        Ok(config) => Outcome::Run(Box::new(config), given.log),
        Err(problem) => fail(given, problem),
    }
}

fn fail(given: values::Given, problem: resolve::Problem) -> Outcome {
    let mut log = given.log;
    let mut line = |level, text: String| log.push(LogLine::new(level, "etcdmain", text));
    let mut stderr = String::new();
    match problem {
        resolve::Problem::Flags(text) => {
            let unadvertised = text.starts_with("-advertise-client-urls is required");
            line(
                Level::Error,
                format!("error verifying flags, {text}. See 'etcd --help'."),
            );
            if unadvertised {
                let text = "When listening on specific address(es), this etcd process must advertise accessible url(s) to each connected client.";
                line(Level::Error, text.into());
            }
        }
        resolve::Problem::Fatal(text) => line(Level::Critical, text),
        resolve::Problem::NotYet(text) => stderr = text,
    }
    Outcome::Exit {
        code: 1,
        stdout: String::new(),
        stderr,
        log,
    }
}

#[cfg(test)]
mod tests;
