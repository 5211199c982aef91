//! The ETCD_ variables.
use super::*;

#[test]
fn every_flag_has_its_variable() {
    for flag in FLAGS {
        let value = match (flag.fate, flag.kind) {
            (Fate::NotYet(_) | Fate::Removed, _) => continue,
            (_, Kind::Bool) => "true",
            (_, Kind::Uint) => "2000",
            (_, Kind::OneOf(values)) => values.iter().find(|value| **value != flag.default).expect("two values"),
            (_, Kind::Urls) => "http://127.0.0.1:1",
            (_, Kind::Addr) => "127.0.0.1:1",
            _ if flag.name == "initial-cluster" => "a=http://127.0.0.1:1",
            _ if flag.name == "log-package-levels" => "raft=INFO",
            (_, Kind::Text | Kind::Cors) => "x",
            (_, Kind::Ec2) => "etcd=prod",
        };
        let key = flag.env();
        // What else these flags need to be accepted.
        let args: &[&str] = match flag.name {
            "heartbeat-interval" => &["--election-timeout=10000"],
            "discovery-ec2" => &[
                "--advertise-client-urls=http://127.0.0.1:1",
                "--initial-advertise-peer-urls=http://127.0.0.1:1",
            ],
            "listen-client-urls" => &["--advertise-client-urls=http://127.0.0.1:1"],
            _ => &[],
        };
        let (with, log) = config_env(args, &[(&key, value)]);
        let line = format!("I | flags: recognized and used environment variable {key}={value}");
        assert!(log.contains(&line), "{key}: {log:?}");
        // --version is only looked at before the variables are; the others that change nothing are of 0.4.
        let silent = matches!(flag.name, "version" | "strict-reconfig-check");
        assert!(
            with != config(args) || silent || flag.fate == Fate::Ignored,
            "{key} has no effect"
        );
    }
}

#[test]
fn a_variables_name_is_the_flags_in_capitals() {
    for (flag, key) in [
        ("data-dir", "ETCD_DATA_DIR"),
        ("experimental-gRPC-addr", "ETCD_EXPERIMENTAL_GRPC_ADDR"),
    ] {
        assert_eq!(table::find(flag).unwrap().env(), key);
    }
}

#[test]
fn a_flag_beats_its_variable_and_the_log_says_so() {
    let (config, log) = config_env(&["--name=y", "--data-dir=d"], &[("ETCD_NAME", "x")]);
    assert_eq!(config.name, "y");
    assert_eq!(
        log,
        ["I | flags: recognized environment variable ETCD_NAME, but unused: shadowed by corresponding flag "]
    );
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let env = [("ETCD_FOO", "bar"), ("ETCDCTL_PEERS", "p"), ("HOME", "/")];
    let (_, log) = config_env(&["--data-dir=d"], &env);
    assert_eq!(log, ["W | flags: unrecognized environment variable ETCD_FOO=bar"]);
}

#[test]
fn an_empty_variable_is_not_used() {
    let (config, log) = config_env(&["--data-dir=d"], &[("ETCD_NAME", ""), ("ETCD_DEBUG", "")]);
    assert_eq!(config.name, "default");
    assert_eq!(log[0], "W | flags: unrecognized environment variable ETCD_NAME=");
}

#[test]
fn variables_are_told_by_flag_name() {
    let (_, log) = config_env(&[], &[("ETCD_NAME", "x"), ("ETCD_DATA_DIR", "q")]);
    assert!(log[0].ends_with("ETCD_DATA_DIR=q") && log[1].ends_with("ETCD_NAME=x"));
}

#[test]
fn a_bad_value_in_a_variable_is_fatal_after_the_log_of_variables() {
    for (key, value, why) in [
        ("ETCD_MAX_WALS", "x", "parse error"),
        ("ETCD_DEBUG", "maybe", "parse error"),
        ("ETCD_INITIAL_CLUSTER_STATE", "ggg", "invalid value"),
        ("ETCD_LISTEN_PEER_URLS", "x", "URL scheme must be http or https: x"),
        ("ETCD_PEERS", "x", "flag \"-peers\" is no longer supported."),
    ] {
        let exit = exit(&[], &[(key, value), ("ETCD_FOO", "bar")]);
        assert_eq!((exit.code, exit.stdout.as_str(), exit.stderr.as_str()), (1, "", ""));
        assert_eq!(
            exit.log.last(),
            Some(&format!("C | etcdmain: invalid value {value:?} for {key}: {why}"))
        );
        assert!(
            exit.log
                .contains(&"W | flags: unrecognized environment variable ETCD_FOO=bar".to_string())
        );
    }
}

#[test]
fn variables_count_as_given_when_flags_are_checked() {
    let exit = exit(&[], &[("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:1")]);
    assert_eq!(exit.code, 1);
    assert!(exit.log[1].contains("-advertise-client-urls is required"));
}

#[test]
fn a_units_drop_in_gives_the_configuration_it_names() {
    let env = [
        ("ETCD_NAME", "core-01"),
        ("ETCD_ADVERTISE_CLIENT_URLS", "http://172.17.8.101:2379"),
        ("ETCD_LISTEN_CLIENT_URLS", "http://0.0.0.0:2379,http://0.0.0.0:4001"),
        ("ETCD_LISTEN_PEER_URLS", "http://172.17.8.101:2380"),
        ("ETCD_DATA_DIR", "/var/lib/etcd2"),
    ];
    let (config, _) = config_env(&[], &env);
    assert_eq!(config.name, "core-01");
    assert_eq!(
        urls::join(&config.listen_client_urls),
        "http://0.0.0.0:2379,http://0.0.0.0:4001"
    );
    assert_eq!(
        urls::join(&config.initial_advertise_peer_urls),
        "http://localhost:2380,http://localhost:7001"
    );
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/etcd2"));
}
