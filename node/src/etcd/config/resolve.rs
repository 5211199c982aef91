//! From the flags as given to a `Config`, or to what is wrong with them.
use std::path::PathBuf;
use std::time::Duration;

use super::table::{DEFAULT_INITIAL_CLUSTER, DEFAULT_NAME, DEFAULT_SNAPSHOT_COUNT, FLAGS, Fate, Missing};
use super::values::Given;
use super::{ClusterState, Config, Discovery, Proxy, ProxyMode, bootstrap};
use crate::etcd::urls::Url;
use crate::log::{self, Level, LogLine};
use crate::tls;

/// Longer elections than this help nobody, and hide a wrong unit.
const MAX_ELECTION_MS: u64 = 50_000;

const V04: [&str; 4] = ["addr", "bind-addr", "peer-addr", "peer-bind-addr"];

pub enum Problem {
    /// `error verifying flags, ...`
    Flags(String),
    /// Raw text on stderr.
    NotYet(String),
    /// A line of level C.
    Fatal(String),
}

pub fn resolve(given: &mut Given) -> Result<Config, Problem> {
    let bootstraps = ["discovery", "initial-cluster", "discovery-srv", "discovery-ec2"];
    if bootstraps.iter().filter(|name| given.is_set(name)).count() > 1 {
        // etcd's words, as long as it is about etcd's flags.
        let last = match given.is_set("discovery-ec2") {
            true => "\"discovery\", \"discovery-srv\" or \"discovery-ec2\"",
            false => "\"discovery\" or \"discovery-srv\"",
        };
        let text = format!("multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", {last}");
        return Err(Problem::Flags(text));
    }
    refuse_missing(given)?;

    let listen_peer_urls = listen_urls(given, "listen-peer-urls", "peer-bind-addr", "peer-addr")?;
    let initial_advertise_peer_urls = urls(given, "initial-advertise-peer-urls", "peer-addr")?;
    let listen_client_urls = listen_urls(given, "listen-client-urls", "bind-addr", "addr")?;
    let advertise_client_urls = urls(given, "advertise-client-urls", "addr")?;
    let (discovery, proxy) = (discovery(given), proxy(given));
    // A proxy has no clients to tell the cluster about.
    let may_be_proxy = proxy.mode != ProxyMode::Off || !discovery.url.is_empty() && discovery.fall_back;
    if given.is_set("listen-client-urls") && !given.is_set("advertise-client-urls") && !may_be_proxy {
        let text = "-advertise-client-urls is required when -listen-client-urls is set explicitly";
        return Err(Problem::Flags(text.into()));
    }
    if discovery.ec2.is_some() && proxy.mode == ProxyMode::Off {
        ec2_needs(given)?;
    }
    let (heartbeat_ms, election_ms) = timing(given)?;
    let event_history_size = given.uint("event-history-size");
    if event_history_size == 0 {
        return Err(Problem::Flags("-event-history-size must be >0 (set to 0)".into()));
    }

    let name = given.text("name");
    let (log_level, log_package_levels) = log_levels(given);
    let initial_cluster_text = match given.text("initial-cluster") {
        text if name != DEFAULT_NAME && text == DEFAULT_INITIAL_CLUSTER => bootstrap::default_for(&name),
        text => text,
    };
    let initial_cluster = bootstrap::parse(&initial_cluster_text)
        .map_err(|e| Problem::Fatal(format!("error setting up initial cluster: {e}")))?;
    let (client_tls, client_auto_tls) = tls_files(given, "");
    let (peer_tls, peer_auto_tls) = tls_files(given, "peer-");
    Ok(Config {
        data_dir: data_dir(given, &name),
        wal_dir: Some(given.text("wal-dir"))
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from),
        name,
        snapshot_count: snapshot_count(given),
        heartbeat_ms,
        election_ms,
        listen_peer_urls,
        listen_client_urls,
        max_snapshots: given.uint("max-snapshots"),
        max_wals: given.uint("max-wals"),
        cors: given.cors(),
        event_history_size: usize::try_from(event_history_size).unwrap_or(usize::MAX),
        initial_advertise_peer_urls,
        initial_cluster,
        initial_cluster_text,
        initial_cluster_state: match given.text("initial-cluster-state").as_str() {
            "existing" => ClusterState::Existing,
            _ => ClusterState::New,
        },
        initial_cluster_token: match &discovery.ec2 {
            // An address may have been in a cluster with another tag before.
            Some(tag) if !given.is_set("initial-cluster-token") => tag.to_string(),
            _ => given.text("initial-cluster-token"),
        },
        advertise_client_urls,
        force_new_cluster: given.bool("force-new-cluster"),
        v04: V04.iter().any(|name| given.is_set(name)),
        client_tls,
        client_auto_tls,
        peer_tls,
        peer_auto_tls,
        discovery,
        proxy,
        log_level,
        log_package_levels,
    })
}

fn discovery(given: &Given) -> Discovery {
    Discovery {
        url: given.text("discovery"),
        fall_back: given.text("discovery-fallback") != "exit",
        proxy: given.text("discovery-proxy"),
        srv: given.text("discovery-srv"),
        ec2: given.ec2("discovery-ec2"),
    }
}

/// The defaults of these are this machine's own: others would not find this member.
fn ec2_needs(given: &Given) -> Result<(), Problem> {
    for (name, old) in [
        ("initial-advertise-peer-urls", "peer-addr"),
        ("advertise-client-urls", "addr"),
    ] {
        if !given.is_set(name) && !given.is_set(old) {
            return Err(Problem::Flags(format!(
                "-{name} is required when -discovery-ec2 is set: the URL at which the other instances reach this member"
            )));
        }
    }
    Ok(())
}

fn proxy(given: &Given) -> Proxy {
    let milliseconds = |name| Duration::from_millis(given.uint(name));
    Proxy {
        mode: match given.text("proxy").as_str() {
            "on" => ProxyMode::On,
            "readonly" => ProxyMode::Readonly,
            _ => ProxyMode::Off,
        },
        failure_wait: milliseconds("proxy-failure-wait"),
        refresh_interval: milliseconds("proxy-refresh-interval"),
        dial_timeout: milliseconds("proxy-dial-timeout"),
        write_timeout: milliseconds("proxy-write-timeout"),
        read_timeout: milliseconds("proxy-read-timeout"),
    }
}

fn not_yet(subject: &str, missing: &Missing) -> Problem {
    Problem::NotYet(format!(
        "etcd: {subject} is not available yet: {}; {}\n",
        missing.why, missing.instead
    ))
}

fn refuse_missing(given: &mut Given) -> Result<(), Problem> {
    for flag in FLAGS {
        let (Fate::NotYet(missing), Some(text)) = (flag.fate, given.text_of(flag.name)) else {
            continue;
        };
        let asks_nothing = match missing.harmless {
            Some("false") => !given.bool(flag.name),
            harmless => harmless == Some(text),
        };
        if !asks_nothing {
            return Err(not_yet(&format!("--{}", flag.name), &missing));
        }
    }
    if given.is_set("strict-reconfig-check") && !given.bool("strict-reconfig-check") {
        let text = "flag \"-strict-reconfig-check\" cannot be turned off: membership changes are always checked.";
        given.log.push(LogLine::new(Level::Warning, "etcdmain", text));
    }
    Ok(())
}

/// The URLs of a flag, or of its 0.4 spelling.
fn urls(given: &Given, name: &str, addr_name: &str) -> Result<Vec<Url>, Problem> {
    match given.text_of(addr_name) {
        Some(_) if given.is_set(name) => Err(Problem::Flags(format!(
            "Set only one of flags -{name} and -{addr_name}"
        ))),
        Some(_) => Ok(vec![addr_url(given, addr_name, &given.addr(addr_name))?]),
        None => Ok(given.urls(name)),
    }
}

/// In 0.4 a member that was only told what to advertise listened on that port of every interface.
fn listen_urls(given: &Given, name: &str, bind_name: &str, addr_name: &str) -> Result<Vec<Url>, Problem> {
    let list = match given.text_of(addr_name) {
        Some(_) if !given.is_set(bind_name) && given.is_set(name) => {
            return Err(Problem::Flags(format!(
                "Set only one of flags -{name} and -{bind_name}"
            )));
        }
        Some(_) if !given.is_set(bind_name) => {
            let addr = given.addr(addr_name);
            let port = addr.rsplit_once(':').map_or("", |(_, port)| port);
            vec![addr_url(given, addr_name, &format!("[::]:{port}"))?]
        }
        _ => urls(given, name, bind_name)?,
    };
    match list.iter().find(|url| !url.can_bind()) {
        Some(url) => Err(Problem::Flags(format!("expected IP in URL for binding ({url})"))),
        None => Ok(list),
    }
}

fn addr_url(given: &Given, addr_name: &str, host_port: &str) -> Result<Url, Problem> {
    let prefix = if addr_name.starts_with("peer-") { "peer-" } else { "" };
    let tls = ["cert-file", "key-file"]
        .iter()
        .any(|f| !given.text(&format!("{prefix}{f}")).is_empty());
    let scheme = if tls { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{host_port}")).map_err(Problem::Flags)
}

/// One side's certificates, and whether it makes its own.
fn tls_files(given: &mut Given, prefix: &str) -> (tls::Files, bool) {
    let flag = |name: &str| format!("{prefix}{name}");
    let path = |name: &str| Some(given.text(&flag(name))).filter(|text| !text.is_empty());
    let old_ca = path("ca-file");
    let files = tls::Files {
        cert: path("cert-file").map(PathBuf::from),
        key: path("key-file").map(PathBuf::from),
        trusted_ca: path("trusted-ca-file").or(old_ca.clone()).map(PathBuf::from),
        client_cert_auth: given.bool(&flag("client-cert-auth")) || old_ca.is_some(),
    };
    let auto = given.bool(&flag("auto-tls"));
    let has_own = files.cert.is_some() || files.key.is_some();
    if auto && has_own {
        let text = format!("ignoring -{prefix}auto-tls, since -{prefix}cert-file or -{prefix}key-file is given");
        given.log.push(LogLine::new(Level::Warning, "etcdmain", text));
    }
    (files, auto && !has_own)
}

fn timing(given: &Given) -> Result<(u64, u64), Problem> {
    let (heartbeat, election) = (given.uint("heartbeat-interval"), given.uint("election-timeout"));
    let bad = |text: String| Err(Problem::Flags(text));
    if heartbeat == 0 {
        return bad("-heartbeat-interval must be >0 (set to 0ms)".into());
    }
    if heartbeat.saturating_mul(5) > election {
        return bad(format!(
            "-election-timeout[{election}ms] should be at least as 5 times as -heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > MAX_ELECTION_MS {
        return bad(format!(
            "-election-timeout[{election}ms] is too long, and should be set less than {MAX_ELECTION_MS}ms"
        ));
    }
    Ok((heartbeat, election))
}

fn log_levels(given: &mut Given) -> (Level, Vec<(String, Level)>) {
    let level = if given.bool("debug") { Level::Debug } else { Level::Info };
    let text = given.text("log-package-levels");
    if text.is_empty() {
        return (level, Vec::new());
    }
    let packages = log::parse_package_levels(&text).unwrap_or_else(|e| {
        let text = format!("couldn't parse log level string: {e}, continuing with default levels");
        given.log.push(LogLine::new(Level::Warning, "etcdmain", text));
        Vec::new()
    });
    (level, packages)
}

fn data_dir(given: &mut Given, name: &str) -> PathBuf {
    let dir = given.text("data-dir");
    if !dir.is_empty() {
        return dir.into();
    }
    let dir = format!("{name}.etcd");
    let text = format!("no data-dir provided, using default data-dir ./{dir}");
    given.log.push(LogLine::new(Level::Warning, "etcdmain", text));
    dir.into()
}

fn snapshot_count(given: &mut Given) -> u64 {
    let count = given.uint("snapshot-count");
    if count > 0 {
        return count;
    }
    let text = format!("set snapshot count to default {DEFAULT_SNAPSHOT_COUNT}");
    given.log.push(LogLine::new(Level::Info, "etcdserver", text));
    DEFAULT_SNAPSHOT_COUNT
}
