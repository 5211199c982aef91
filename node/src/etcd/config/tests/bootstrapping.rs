//! --initial-cluster against the other flags, and the features that are refused.
use super::*;

#[test]
fn the_default_cluster_follows_the_name() {
    let (config, log) = config_env(&["--name", "core-01"], &[]);
    assert_eq!(config.initial_cluster.keys().collect::<Vec<_>>(), ["core-01"]);
    assert_eq!(config.verify_bootstrap(&|_| None), Ok(()));
    assert_eq!(
        log,
        ["W | etcdmain: no data-dir provided, using default data-dir ./core-01.etcd"]
    );
}

#[test]
fn a_name_that_comes_twice_has_two_urls() {
    let config = config(&["--initial-cluster", "a=http://a:2,b=http://b:1,,a=http://a:1"]);
    assert_eq!(urls::join(&config.initial_cluster["a"]), "http://a:1,http://a:2");
    assert_eq!(config.initial_cluster.len(), 2);
}

#[test]
fn a_cluster_that_cannot_be_read_is_fatal() {
    for (cluster, text) in [
        ("foo", "URL scheme must be http or https: "),
        (
            "a=b=http://a:1",
            "parse \"b=http://a:1\": first path segment in URL cannot contain colon",
        ),
        (
            "a=http://a",
            "URL address does not have the form \"host:port\": http://a",
        ),
        ("a=http://a:1/x", "URL must not contain a path: http://a:1/x"),
    ] {
        let exit = exit(&["--data-dir=d", "--initial-cluster", cluster], &[]);
        assert_eq!((exit.code, exit.stderr.as_str()), (1, ""), "{cluster}");
        assert_eq!(
            exit.log,
            [format!("C | etcdmain: error setting up initial cluster: {text}")],
            "{cluster}"
        );
    }
}

#[test]
fn the_cluster_must_hold_this_member() {
    let want = ["C | etcdmain: couldn't find local name \"default\" in the initial cluster configuration"];
    assert_eq!(unbootstrapped(&["--initial-cluster=a=http://x:1"]), want);
    assert_eq!(unbootstrapped(&["--initial-cluster="]), want);
}

#[test]
fn a_cluster_without_the_advertised_url_is_told_with_what_was_forgotten() {
    assert_eq!(
        unbootstrapped(&["--initial-advertise-peer-urls=http://10.0.0.1:2380"]),
        [
            "I | etcdmain: --initial-cluster must include default=http://10.0.0.1:2380 given --initial-advertise-peer-urls=http://10.0.0.1:2380",
            "I | etcdmain: forgot to set --initial-cluster flag?",
            "I | etcdmain: if you want to use discovery service, please set --discovery flag.",
        ]
    );
    assert_eq!(
        unbootstrapped(&["--initial-cluster=default=http://10.0.0.1:2380"]),
        [
            "I | etcdmain: --initial-cluster must include default=http://localhost:2380,default=http://localhost:7001 given --initial-advertise-peer-urls=http://localhost:2380,http://localhost:7001",
            "I | etcdmain: forgot to set --initial-advertise-peer-urls flag?",
        ]
    );
}

#[test]
fn the_cluster_must_not_hold_more_urls_of_this_member_than_are_advertised() {
    let args = [
        "--initial-cluster=default=http://a:1,default=http://a:2",
        "--initial-advertise-peer-urls=http://a:1",
    ];
    assert_eq!(unbootstrapped(&args).len(), 1);
}

#[test]
fn a_name_and_its_address_agree() {
    let args = [
        "--initial-cluster=default=http://127.0.0.1:1",
        "--initial-advertise-peer-urls=http://localhost:1",
    ];
    assert_eq!(config(&args).verify_bootstrap(&localhost), Ok(()));
    assert!(config(&args).verify_bootstrap(&|_| None).is_err());
}

#[test]
fn a_url_that_comes_twice_in_the_cluster_is_fatal() {
    let args = [
        "--initial-cluster=default=http://a:1,b=http://a:1",
        "--initial-advertise-peer-urls=http://a:1",
    ];
    let want = ["C | etcdmain: initial cluster b=http://a:1,default=http://a:1 has duplicate url"];
    assert_eq!(unbootstrapped(&args), want);
}

fn refused(args: &[&str], env: &[(&str, &str)], subject: &str) {
    let exit = exit(args, env);
    assert_eq!((exit.code, exit.stdout.as_str()), (1, ""), "{args:?}");
    assert!(
        exit.stderr
            .starts_with(&format!("etcd: {subject} is not available yet: ")),
        "{}",
        exit.stderr
    );
    assert!(
        exit.stderr.contains("; ") && exit.stderr.ends_with('\n'),
        "{}",
        exit.stderr
    );
}

#[test]
fn what_is_not_available_is_refused_and_never_ignored() {
    for flag in FLAGS {
        let Fate::NotYet(missing) = flag.fate else {
            continue;
        };
        let (value, subject) = match (flag.name, flag.kind, missing.harmless) {
            (name, Kind::Bool, _) => ("true", format!("--{name}")),
            (name, Kind::Uint, _) => ("1", format!("--{name}")),
            (name, Kind::OneOf(values), _) => (values[0], format!("--{name}")),
            (name, ..) => ("x", format!("--{name}")),
        };
        refused(&[&format!("--{}={value}", flag.name)], &[], &subject);
        refused(&[], &[(&flag.env(), value)], &subject);
    }
}

#[test]
fn a_missing_feature_that_is_not_asked_for_is_no_error() {
    for flag in FLAGS {
        if let Fate::NotYet(table::Missing {
            harmless: Some(value), ..
        }) = flag.fate
        {
            config(&[&format!("--{}={value}", flag.name)]);
        }
    }
}

#[test]
fn discovery_and_the_proxy_read_their_flags() {
    let by_default = config(&[]);
    assert!(by_default.discovery.fall_back && by_default.discovery.url.is_empty());
    assert_eq!(by_default.proxy.mode, ProxyMode::Off);
    assert_eq!(by_default.proxy.failure_wait, Duration::from_secs(5));
    let given = config(&[
        "--discovery=http://d/v2/keys/t",
        "--discovery-fallback=exit",
        "--discovery-proxy=http://p:3128",
        "--proxy=readonly",
        "--proxy-dial-timeout=7",
    ]);
    assert_eq!(given.discovery.url, "http://d/v2/keys/t");
    assert_eq!(given.discovery.proxy, "http://p:3128");
    assert!(!given.discovery.fall_back);
    assert_eq!(given.proxy.mode, ProxyMode::Readonly);
    assert_eq!(given.proxy.dial_timeout, Duration::from_millis(7));
}

#[test]
fn what_may_become_a_proxy_need_not_advertise() {
    let listen = "--listen-client-urls=http://127.0.0.1:1";
    config(&[listen, "--proxy=on"]);
    config(&[listen, "--discovery=http://d/t"]);
    unverified(
        &[listen, "--discovery=http://d/t", "--discovery-fallback=exit"],
        "-advertise-client-urls is required when -listen-client-urls is set explicitly",
    );
}

#[test]
fn certificates_are_for_clients_or_peers_and_the_old_ca_flag_asks_for_theirs() {
    let config = config(&[
        "--cert-file=c",
        "--key-file=k",
        "--ca-file=old",
        "--peer-auto-tls",
        "--peer-trusted-ca-file=ca",
        "--listen-client-urls=https://10.0.0.1:1",
        "--advertise-client-urls=https://a:1",
    ]);
    assert!(config.client_tls.client_cert_auth && !config.client_auto_tls);
    assert_eq!(config.client_tls.trusted_ca.as_deref(), Some("old".as_ref()));
    assert_eq!(config.client_tls.key.as_deref(), Some("k".as_ref()));
    assert!(config.peer_auto_tls && !config.peer_tls.client_cert_auth);
    assert_eq!(config.peer_tls.trusted_ca.as_deref(), Some("ca".as_ref()));
    assert_eq!(config.advertise_client_urls[0].as_str(), "https://a:1");
}

#[test]
fn a_refusal_says_what_why_and_what_to_type() {
    let exit = exit(&["--enable-pprof"], &[]);
    let want =
        "etcd: --enable-pprof is not available yet: this server has no profiles to serve; use perf on the process\n";
    assert_eq!(exit.stderr, want);
}

const REACHABLE: [&str; 2] = [
    "--initial-advertise-peer-urls=http://10.0.0.1:2380",
    "--advertise-client-urls=http://10.0.0.1:2379",
];

#[test]
fn an_ec2_tag_is_read_with_its_options() {
    let (config, _) = config_env(
        &REACHABLE,
        &[(
            "ETCD_DISCOVERY_EC2",
            "aws:autoscaling:groupName=prod,region=eu-west-1,endpoint=http://127.0.0.1:5000,min=3",
        )],
    );
    let tag = config.discovery.ec2.unwrap();
    assert_eq!(
        (tag.key.as_str(), tag.value.as_str(), tag.min),
        ("aws:autoscaling:groupName", "prod", 3)
    );
    assert_eq!(tag.region.as_deref(), Some("eu-west-1"));
    assert_eq!(tag.endpoint.as_deref(), Some("http://127.0.0.1:5000/"));
    assert_eq!(config.initial_cluster_token, "aws:autoscaling:groupName=prod");
    let args = [&REACHABLE[..], &["--discovery-ec2=a=b=c", "--initial-cluster-token=t"]].concat();
    let (config, _) = config_env(&args, &[]);
    let tag = config.discovery.ec2.unwrap();
    assert_eq!(
        (tag.value.as_str(), tag.min, tag.region, tag.endpoint),
        ("b=c", 2, None, None)
    );
    assert_eq!(config.initial_cluster_token, "t");
}

#[test]
fn an_ec2_tag_that_cannot_be_read_is_said() {
    for (text, what) in [
        ("prod", "names no tag: it has to be like etcd=prod"),
        ("=prod", "names no tag"),
        ("etcd=", "names no tag"),
        ("etcd=prod,min=0", "\"min=0\" is no number of instances"),
        ("etcd=prod,region=", "\"region=\" is not understood"),
        ("etcd=prod,zone=a", "\"zone=a\" is not understood"),
        (
            "etcd=prod,endpoint=127.0.0.1:5000",
            "the endpoint \"127.0.0.1:5000\" is no",
        ),
        (
            "etcd=prod,endpoint=http://user:hush@h",
            "must hold no user name, password or query",
        ),
    ] {
        let exit = exit(&["--discovery-ec2", text], &[]);
        assert_eq!(exit.code, 2, "{text}");
        let said = exit
            .stderr
            .split_once("for flag -discovery-ec2: ")
            .map(|(_, said)| said);
        assert!(said.is_some_and(|said| said.contains(what)), "{text}: {}", exit.stderr);
    }
}

#[test]
fn ec2_needs_urls_that_others_reach() {
    for (given, missing) in [
        (REACHABLE[0], "advertise-client-urls"),
        (REACHABLE[1], "initial-advertise-peer-urls"),
    ] {
        let text = format!(
            "-{missing} is required when -discovery-ec2 is set: the URL at which the other instances reach this member"
        );
        unverified(&[given, "--discovery-ec2=etcd=prod"], &text);
    }
    config(&[
        "--discovery-ec2=etcd=prod",
        "--addr=10.0.0.1:4001",
        "--peer-addr=10.0.0.1:7001",
    ]);
    config(&["--discovery-ec2=etcd=prod", "--proxy=on"]);
}
