//! What the server does with what it is told.
use std::net::{IpAddr, Ipv4Addr};

use super::table::{FLAGS, Fate, Kind};
use super::*;
use crate::etcd::urls;

fn run(args: &[&str], env: &[(&str, &str)]) -> Outcome {
    let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
    let env: Vec<(String, String)> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    parse(&args, &env)
}

fn config(args: &[&str]) -> Config {
    config_env(args, &[]).0
}

fn config_env(args: &[&str], env: &[(&str, &str)]) -> (Config, Vec<String>) {
    match run(args, env) {
        Outcome::Run(config, log) => (*config, shown(&log)),
        exit => panic!("{args:?} {env:?}: {exit:?}"),
    }
}

fn shown(log: &[LogLine]) -> Vec<String> {
    log.iter()
        .map(|l| format!("{} | {}: {}", l.level.letter(), l.pkg, l.text))
        .collect()
}

struct Exit {
    code: i32,
    stdout: String,
    stderr: String,
    log: Vec<String>,
}

fn exit(args: &[&str], env: &[(&str, &str)]) -> Exit {
    match run(args, env) {
        Outcome::Exit {
            code,
            stdout,
            stderr,
            log,
        } => Exit {
            code,
            stdout,
            stderr,
            log: shown(&log),
        },
        Outcome::Run(..) => panic!("{args:?} {env:?} was taken"),
    }
}

/// Exit 2: one line on stderr, the usage on stdout.
fn bad_flag(args: &[&str], text: &str) {
    let exit = exit(args, &[]);
    assert_eq!(
        (exit.code, exit.stderr.as_str()),
        (2, format!("{text}\n").as_str()),
        "{args:?}"
    );
    assert!(exit.stdout.starts_with("usage: etcd [flags]"), "{args:?}");
    assert!(exit.log.is_empty(), "{args:?}");
}

/// Exit 1, `error verifying flags`.
fn unverified(args: &[&str], text: &str) {
    let exit = exit(args, &[]);
    let want = format!("E | etcdmain: error verifying flags, {text}. See 'etcd --help'.");
    assert_eq!(
        (exit.code, exit.log.iter().find(|l| l.starts_with("E "))),
        (1, Some(&want)),
        "{args:?}"
    );
    assert!(exit.stdout.is_empty() && exit.stderr.is_empty(), "{args:?}");
}

fn localhost(host: &str) -> Option<IpAddr> {
    (host == "localhost")
        .then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .or_else(|| host.parse().ok())
}

fn unbootstrapped(args: &[&str]) -> Vec<String> {
    shown(&config(args).verify_bootstrap(&localhost).unwrap_err())
}

#[test]
fn the_defaults_are_etcds() {
    let (config, log) = config_env(&[], &[]);
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(config.wal_dir, None);
    assert_eq!(
        (config.snapshot_count, config.heartbeat_ms, config.election_ms),
        (10_000, 100, 1000)
    );
    assert_eq!(
        (config.max_snapshots, config.max_wals, config.event_history_size),
        (5, 5, 1000)
    );
    assert_eq!(
        urls::join(&config.listen_peer_urls),
        "http://localhost:2380,http://localhost:7001"
    );
    assert_eq!(
        urls::join(&config.listen_client_urls),
        "http://localhost:2379,http://localhost:4001"
    );
    assert_eq!(config.initial_advertise_peer_urls, config.listen_peer_urls);
    assert_eq!(config.advertise_client_urls, config.listen_client_urls);
    assert_eq!(config.initial_cluster["default"], config.listen_peer_urls);
    assert_eq!(config.initial_cluster_state, ClusterState::New);
    assert_eq!(config.initial_cluster_token, "etcd-cluster");
    assert!(config.cors.is_empty() && config.log_package_levels.is_empty());
    assert_eq!(config.log_level, Level::Info);
    assert_eq!(
        log,
        ["W | etcdmain: no data-dir provided, using default data-dir ./default.etcd"]
    );
    assert_eq!(config.verify_bootstrap(&|_| None), Ok(()));
}

#[test]
fn every_default_in_the_table_is_a_value_of_its_kind() {
    for flag in FLAGS.iter().filter(|f| f.kind != Kind::Addr) {
        assert!(values::parse(flag.kind, flag.default).is_ok(), "{}", flag.name);
    }
}

#[test]
fn no_flag_is_in_the_table_twice() {
    let mut names: Vec<_> = FLAGS.iter().map(|f| f.env()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), FLAGS.len());
}

#[test]
fn two_ways_to_bootstrap_are_refused() {
    let text = "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\" or \"discovery-srv\"";
    unverified(&["--initial-cluster=a=http://a:1", "--discovery=http://d"], text);
    unverified(&["--initial-cluster=a=http://a:1", "--discovery-srv=d"], text);
    unverified(&["--discovery=http://d", "--discovery-srv=d"], text);
    for other in [
        "--initial-cluster=a=http://a:1",
        "--discovery=http://d",
        "--discovery-srv=d",
    ] {
        let text = "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\", \"discovery-srv\" or \"discovery-ec2\"";
        unverified(&[other, "--discovery-ec2=etcd=prod"], text);
    }
}

#[test]
fn listening_on_chosen_addresses_without_advertising_is_refused_with_the_reason() {
    let text = "-advertise-client-urls is required when -listen-client-urls is set explicitly";
    unverified(&["--listen-client-urls=http://127.0.0.1:2379"], text);
    let log = exit(&["--listen-client-urls=http://127.0.0.1:2379"], &[]).log;
    let reason = "E | etcdmain: When listening on specific address(es), this etcd process must advertise accessible url(s) to each connected client.";
    assert_eq!(log.last().map(String::as_str), Some(reason));
}

#[test]
fn timing_that_cannot_work_is_refused() {
    unverified(
        &["--heartbeat-interval=500"],
        "-election-timeout[1000ms] should be at least as 5 times as -heartbeat-interval[500ms]",
    );
    unverified(
        &["--heartbeat-interval=0"],
        "-heartbeat-interval must be >0 (set to 0ms)",
    );
    unverified(
        &["--election-timeout=50001"],
        "-election-timeout[50001ms] is too long, and should be set less than 50000ms",
    );
    assert_eq!(
        config(&["--election-timeout=50000", "--heartbeat-interval=10000"]).heartbeat_ms,
        10_000
    );
}

#[test]
fn a_listener_wants_an_address_of_its_own() {
    unverified(
        &["--listen-peer-urls=http://foo.bar:2380"],
        "expected IP in URL for binding (http://foo.bar:2380)",
    );
    let args = [
        "--listen-client-urls=http://foo.bar:1",
        "--advertise-client-urls=http://foo.bar:1",
    ];
    unverified(&args, "expected IP in URL for binding (http://foo.bar:1)");
    assert_eq!(
        config(&["--listen-peer-urls=http://[::1]:2380"]).listen_peer_urls[0].host,
        "::1"
    );
}

#[test]
fn an_empty_history_is_refused() {
    unverified(&["--event-history-size=0"], "-event-history-size must be >0 (set to 0)");
    assert_eq!(config(&["--event-history-size=1"]).event_history_size, 1);
}

#[test]
fn the_old_addresses_advertise_themselves_and_listen_everywhere() {
    let config = config(&["-addr", "10.0.0.1:4001", "-peer-addr", "[fe80::1]:7001"]);
    assert_eq!(urls::join(&config.advertise_client_urls), "http://10.0.0.1:4001");
    assert_eq!(urls::join(&config.listen_client_urls), "http://[::]:4001");
    assert_eq!(urls::join(&config.initial_advertise_peer_urls), "http://[fe80::1]:7001");
    assert_eq!(urls::join(&config.listen_peer_urls), "http://[::]:7001");
}

#[test]
fn the_old_bind_addresses_say_where_to_listen() {
    let args = [
        "-addr",
        "10.0.0.1:4001",
        "-bind-addr",
        "127.0.0.1:4002",
        "-peer-bind-addr",
        "127.0.0.1:7002",
    ];
    let config = config(&args);
    assert_eq!(urls::join(&config.listen_client_urls), "http://127.0.0.1:4002");
    assert_eq!(urls::join(&config.listen_peer_urls), "http://127.0.0.1:7002");
    assert_eq!(urls::join(&config.advertise_client_urls), "http://10.0.0.1:4001");
}

#[test]
fn an_address_in_both_spellings_is_refused() {
    let addr = "10.0.0.1:1";
    let url = "http://10.0.0.1:1";
    for (old, new, named) in [
        ("addr", "advertise-client-urls", "-advertise-client-urls and -addr"),
        ("addr", "listen-client-urls", "-listen-client-urls and -bind-addr"),
        ("bind-addr", "listen-client-urls", "-listen-client-urls and -bind-addr"),
        (
            "peer-addr",
            "initial-advertise-peer-urls",
            "-initial-advertise-peer-urls and -peer-addr",
        ),
        ("peer-addr", "listen-peer-urls", "-listen-peer-urls and -peer-bind-addr"),
        (
            "peer-bind-addr",
            "listen-peer-urls",
            "-listen-peer-urls and -peer-bind-addr",
        ),
    ] {
        unverified(
            &[&format!("-{old}={addr}"), &format!("-{new}={url}")],
            &format!("Set only one of flags {named}"),
        );
    }
}

#[test]
fn bad_package_levels_are_told_and_the_defaults_stay() {
    let (config, log) = config_env(&["--data-dir=d", "--log-package-levels=foo"], &[]);
    assert!(config.log_package_levels.is_empty());
    let text = "W | etcdmain: couldn't parse log level string: oddly structured `pkg=level` option: foo, continuing with default levels";
    assert_eq!(log, [text]);
}

#[test]
fn package_levels_and_origins_are_read() {
    let config = config(&[
        "--log-package-levels=raft=DEBUG,etcdserver=ERROR",
        "--cors",
        "http://a, *,",
    ]);
    let levels = [
        ("raft".to_string(), Level::Debug),
        ("etcdserver".to_string(), Level::Error),
    ];
    assert_eq!(config.log_package_levels, levels);
    assert_eq!(config.cors, BTreeSet::from(["*".to_string(), "http://a".to_string()]));
}

#[test]
fn a_snapshot_count_of_0_is_the_default() {
    let (config, log) = config_env(&["--data-dir=d", "--snapshot-count=0"], &[]);
    assert_eq!(config.snapshot_count, 10_000);
    assert_eq!(log, ["I | etcdserver: set snapshot count to default 10000"]);
}

#[test]
fn the_check_of_membership_changes_cannot_be_turned_off_silently() {
    let (_, log) = config_env(&["--strict-reconfig-check=false"], &[]);
    assert!(log[0].starts_with("W | etcdmain: flag \"-strict-reconfig-check\" cannot be turned off"));
    let (_, log) = config_env(&["--strict-reconfig-check", "--data-dir=d"], &[]);
    assert!(log.is_empty());
}

mod bootstrapping;
mod command_line;
mod variables;
