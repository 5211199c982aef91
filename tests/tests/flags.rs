//! The program as a supervisor sees it: flags, variables, exit codes, signals, readiness.
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::process::{self, Process};
use corelab_tests::{LIMIT, eventually, http, ports, tools};
use rustix::process::Signal;

/// Runs a configuration that has to be refused at once, in a directory of its own.
#[track_caller]
fn refused(args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a temporary directory");
    tools::run(
        Command::new(tools::labnode())
            .arg("etcd")
            .args(args)
            .current_dir(dir.path()),
    )
}

#[test]
fn a_bad_configuration_exits_with_its_code_and_text() {
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--nonsense"], 2, "flag provided but not defined: -nonsense"),
        (
            &["--snapshot-count", "many"],
            2,
            "invalid value \"many\" for flag -snapshot-count",
        ),
        (&["--proxy", "perhaps"], 2, "invalid value \"perhaps\" for flag -proxy"),
        (&["-peers", "127.0.0.1:7001"], 2, "-peers"),
        (
            &["word"],
            1,
            "error verifying flags, 'word' is not a valid flag. See 'etcd --help'.",
        ),
        (
            &["--listen-client-urls", "http://127.0.0.1:1"],
            1,
            "-advertise-client-urls is required when -listen-client-urls is set explicitly",
        ),
        (
            &["--heartbeat-interval", "1000", "--election-timeout", "1000"],
            1,
            "should be at least as 5 times as -heartbeat-interval",
        ),
        (
            &["--election-timeout", "60000"],
            1,
            "is too long, and should be set less than 50000ms",
        ),
        (
            &[
                "--initial-cluster",
                "default=http://localhost:2380",
                "--discovery",
                "http://127.0.0.1:1/x",
            ],
            1,
            "multiple discovery or bootstrap flags are set",
        ),
        (&["--experimental-v3demo"], 1, "not available yet"),
        (
            &["--listen-peer-urls", "http://example.com:2380"],
            1,
            "expected IP in URL for binding",
        ),
    ];
    for (args, code, text) in cases {
        let output = refused(args);
        let all = tools::outputs(&output);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {all}");
        assert!(all.contains(text), "{args:?}: no {text:?} in: {all}");
    }
}

/// A member whose flags are not the harness's: started in the cluster's directory with these, and waited for.
#[track_caller]
fn exits(cluster: &Cluster, args: &[String]) -> Output {
    tools::run(
        Command::new(tools::labnode())
            .arg("etcd")
            .args(args)
            .current_dir(cluster.dir.path()),
    )
}

fn own_ports(claimed: &[ports::Port; 2]) -> Vec<String> {
    let url = |port: &ports::Port| format!("http://127.0.0.1:{}", port.number);
    let (client, peer) = (url(&claimed[0]), url(&claimed[1]));
    let flags = [
        ("listen-client-urls", &client),
        ("advertise-client-urls", &client),
        ("listen-peer-urls", &peer),
    ];
    flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect()
}

#[test]
fn a_taken_port_exits_1_and_names_the_address() {
    let cluster = Setup::members(1).start();
    let claimed = [ports::claim(), ports::claim()];
    let mut args = own_ports(&claimed);
    args[0] = format!("--listen-client-urls={}", cluster.members[0].url());
    let output = exits(&cluster, &args);
    let text = format!("listen tcp {}: bind: address already in use", cluster.members[0].client);
    assert!(
        output.status.code() == Some(1) && tools::outputs(&output).contains(&text),
        "{}",
        tools::outputs(&output)
    );
}

#[test]
fn a_directory_of_both_a_member_and_a_proxy_exits_1() {
    let cluster = Setup::members(1).prepare();
    for kind in ["member", "proxy"] {
        std::fs::create_dir_all(cluster.dir.path().join("both").join(kind)).expect("a directory");
    }
    let claimed = [ports::claim(), ports::claim()];
    let mut args = own_ports(&claimed);
    args.push("--data-dir=both".into());
    let output = exits(&cluster, &args);
    let text = "invalid datadir. Both member and proxy directories exist.";
    assert!(
        output.status.code() == Some(1) && tools::outputs(&output).contains(text),
        "{}",
        tools::outputs(&output)
    );
}

#[test]
fn an_initial_cluster_that_does_not_fit_the_member_exits_1_and_says_what_to_set() {
    let cluster = Setup::members(1).prepare();
    let claimed = [ports::claim(), ports::claim()];
    for (name, text) in [
        (
            "you",
            "couldn't find local name \"me\" in the initial cluster configuration",
        ),
        ("me", "forgot to set --initial-advertise-peer-urls"),
    ] {
        let mut args = own_ports(&claimed);
        args.extend([
            "--name=me".into(),
            format!("--initial-cluster={name}=http://127.0.0.1:1"),
        ]);
        let output = exits(&cluster, &args);
        let all = tools::outputs(&output);
        assert!(
            output.status.code() == Some(1) && all.contains(text),
            "no {text:?} in {all}"
        );
    }
}

#[test]
fn one_dash_and_two_and_variables_all_set_flags_and_used_variables_are_logged() {
    let cluster = Setup::members(1).prepare();
    let claimed = [ports::claim(), ports::claim()];
    let peer = format!("http://127.0.0.1:{}", claimed[1].number);
    let mut command = Command::new(tools::labnode());
    command
        .arg("etcd")
        .args(own_ports(&claimed))
        .current_dir(cluster.dir.path());
    command.args([
        "-name",
        "x",
        "-data-dir=of-x",
        "--initial-cluster",
        &format!("x={peer}"),
    ]);
    command.args(["-initial-advertise-peer-urls", &peer]);
    command
        .env("ETCD_SNAPSHOT_COUNT", "123")
        .env("ETCD_NAME", "shadowed")
        .env("ETCD_NONSENSE", "1");
    let mut server = Process::spawn(command, &cluster.dir.path().join("log"));
    server.wait_log("published {\"name\":\"x\"");
    let log = server.log();
    for text in [
        "I | flags: recognized and used environment variable ETCD_SNAPSHOT_COUNT=123",
        "I | flags: recognized environment variable ETCD_NAME, but unused: shadowed by corresponding flag ",
        "W | flags: unrecognized environment variable ETCD_NONSENSE=1",
    ] {
        assert!(log.contains(text), "no {text:?} in:\n{log}");
    }
    assert!(cluster.dir.path().join("of-x/member/wal").is_dir());
}

#[test]
fn a_start_without_any_flag_is_member_ce2a822cea30bfca_on_the_default_ports() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // A network of its own: the default ports of this machine may be taken.
    let mut command = Command::new("unshare");
    command
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" etcd"])
        .arg(tools::labnode());
    command.current_dir(dir.path());
    let mut server = Process::spawn(command, &dir.path().join("log"));
    server.wait_log("starting member ce2a822cea30bfca in cluster 7e27652122e8b2ae");
    server.wait_log(
        "published {\"name\":\"default\",\"clientURLs\":[\"http://localhost:2379\",\"http://localhost:4001\"]}",
    );
    for port in [2379, 4001] {
        let mut curl = Command::new("nsenter");
        curl.args(["--net", "--target", &server.pid().to_string(), "curl", "-sS"]);
        let output = tools::run(curl.arg(format!("http://localhost:{port}/v2/stats/self")));
        assert!(
            tools::outputs(&output).contains("\"id\":\"ce2a822cea30bfca\""),
            "{}",
            tools::outputs(&output)
        );
    }
    assert!(dir.path().join("default.etcd/member/wal").is_dir());
}

#[test]
fn a_signal_is_logged_and_is_what_the_process_dies_of() {
    for (signal, number, name) in [(Signal::TERM, 15, "terminated"), (Signal::INT, 2, "interrupt")] {
        let mut cluster = Setup::members(1).start();
        let member = &mut cluster.members[0];
        member.set("/kept", "value=1");
        member.kill_softly(signal);
        let status = member.wait_exit();
        assert_eq!(status.signal(), Some(number), "{status:?}");
        let line = format!(" N | osutil: received {name} signal, shutting down...");
        assert!(member.log().contains(&line), "{}", member.log());
        member.restart();
        assert_eq!(member.key("/kept")["node"]["value"], "1");
    }
}

#[test]
fn as_process_1_a_signal_ends_it_with_exit_0() {
    let cluster = Setup::members(1).prepare();
    let claimed = [ports::claim(), ports::claim()];
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(tools::labnode())
        .arg("etcd");
    command.args(own_ports(&claimed)).current_dir(cluster.dir.path());
    let mut unshare = Process::spawn(command, &cluster.dir.path().join("log"));
    unshare.wait_log("published");
    let children = format!("/proc/{0}/task/{0}/children", unshare.pid());
    let child = eventually("the pid outside", || {
        std::fs::read_to_string(&children).ok()?.trim().parse().ok()
    });
    process::kill(child, Signal::TERM);
    let status = unshare.wait();
    assert_eq!(status.code(), Some(0), "{}", unshare.log());
}

#[test]
fn systemd_is_told_when_the_member_is_ready() {
    let cluster = Setup::members(1).prepare();
    let claimed = [ports::claim(), ports::claim()];
    let path = cluster.dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let mut command = Command::new(tools::labnode());
    command
        .arg("etcd")
        .args(own_ports(&claimed))
        .current_dir(cluster.dir.path())
        .env("NOTIFY_SOCKET", &path);
    let _server = Process::spawn(command, &cluster.dir.path().join("log"));
    let mut message = [0; 100];
    let len = socket.recv(&mut message).expect("a message");
    assert_eq!(&message[..len], b"READY=1");
    let client = ([127, 0, 0, 1], claimed[0].number).into();
    let answer = http::ask(client, "PUT", "/v2/keys/ready", Some("value=1")).expect("a ready server answers");
    assert_eq!(answer.status, 201);
}

#[test]
fn the_first_write_of_a_fresh_member_has_index_4_and_each_restart_takes_one() {
    let mut cluster = Setup::members(1).start();
    let member = &mut cluster.members[0];
    // Its own two writes, the version and its name, come first.
    eventually("the member has set itself up", || {
        member.get("/v2/keys/").ok().filter(|a| a.number("X-Etcd-Index") == 3)
    });
    assert_eq!(member.set("/a", "value=1").json()["node"]["createdIndex"], 4);
    for index in [6, 8] {
        member.stop();
        member.restart();
        eventually("it has published its name", || {
            member
                .get("/v2/keys/")
                .ok()
                .filter(|answer| answer.number("X-Etcd-Index") == index - 1)
        });
        assert_eq!(member.set("/a", "value=1").json()["node"]["modifiedIndex"], index);
    }
}

#[test]
fn the_log_level_can_be_set_while_it_runs() {
    let mut cluster = Setup::members(1).start();
    let member = &mut cluster.members[0];
    let set = |client, level: &str| {
        http::ask(
            client,
            "PUT",
            "/config/local/log",
            Some(&format!("{{\"Level\":\"{level}\"}}")),
        )
    };
    assert_eq!(set(member.client, "DEBUG").expect("an answer").status, 204);
    member.set("/a", "value=1");
    eventually("there are debug lines", || member.log().contains(" D | ").then_some(()));
    assert_eq!(set(member.client, "INFO").expect("an answer").status, 204);
    assert_eq!(set(member.client, "LOUD").expect("an answer").status, 400);
}
