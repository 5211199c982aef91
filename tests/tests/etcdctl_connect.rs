//! How etcdctl gets in: a password asked for on a terminal, and servers of 0.4 over TLS.
use std::process::Command;

use corelab_tests::ca::Ca;
use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::process::Process;
use corelab_tests::{ports, tools};

/// Types the answer to a question on a terminal; what the terminal showed, and how the program ended.
#[track_caller]
fn on_a_terminal(question: &str, answer: &str, program: &[&str]) -> String {
    let script = tools::repository().join("tests/scripts/terminal.py");
    let mut python = Command::new("python3");
    python
        .arg("-B")
        .arg(script)
        .args([question, answer])
        .arg(tools::labnode());
    let output = tools::run(python.args(program));
    assert!(output.status.success(), "{}", tools::outputs(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn etcdctl(cluster: &Cluster, args: &[&str]) -> String {
    let mut command = Command::new(tools::labnode());
    let output = tools::run(command.args(["etcdctl", "--endpoints", &cluster.urls()]).args(args));
    tools::outputs(&output)
}

#[test]
fn a_password_typed_on_a_terminal_is_not_shown_and_counts() {
    let cluster = Setup::members(1).start();
    let urls = cluster.urls();
    let ctl = |rest: &[&'static str]| [&["etcdctl", "--endpoints", &urls][..], rest].concat();
    let shown = on_a_terminal("New password: ", "s3cret", &ctl(&["user", "add", "root"]));
    assert_eq!(shown, "New password: \nUser root created\n0 shown again\n");
    assert!(etcdctl(&cluster, &["auth", "enable"]).contains("Authentication Enabled"));
    let wrong = etcdctl(&cluster, &["-u", "root:other", "user", "list"]);
    assert!(wrong.contains("exit status: 1"), "{wrong}");
    let shown = on_a_terminal("Password: ", "s3cret", &ctl(&["-u", "root", "user", "list"]));
    assert_eq!(shown, "Password: \nroot\n0 shown again\n");
    // Interrupted: ended by the signal, and the terminal is as it was.
    let shown = on_a_terminal(
        "New password: ",
        "^C",
        &ctl(&["-u", "root:s3cret", "user", "passwd", "root"]),
    );
    assert_eq!(shown, "New password: -2 shown again\n");
}

#[test]
fn a_passphrase_of_etcd_ca_can_be_interrupted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let depot = dir.path().join("depot").display().to_string();
    let init = ["etcd-ca", "--depot-path", &depot, "init", "--key-bits", "2048"];
    let shown = on_a_terminal("Enter passphrase (empty for no passphrase): ", "^C", &init);
    assert!(shown.ends_with(": -2 shown again\n"), "{shown}");
    assert!(!dir.path().join("depot/ca.crt").exists());
}

#[test]
fn a_cluster_of_0_4_over_tls_is_found_by_its_machines_and_followed_to_its_leader() {
    let ca = Ca::default();
    let host = ca.host("infra0", "127.0.0.1");
    let ports = [ports::claim(), ports::claim()];
    let mut python = Command::new("python3");
    python
        .arg("-B")
        .arg(tools::repository().join("tests/scripts/etcd04.py"))
        .args([&host.crt, &host.key])
        .args(ports.each_ref().map(|port| port.number.to_string()));
    let mut server = Process::spawn(python, &ca.dir().join("etcd04.log"));
    server.wait_log("serving");
    let run = |args: &[&str]| {
        let mut command = Command::new(tools::labnode());
        let follower = format!("https://127.0.0.1:{}", ports[0].number);
        command
            .args(["etcdctl", "--peers", &follower, "--ca-file"])
            .arg(&ca.crt);
        tools::outputs(&tools::run(command.args(args)))
    };
    assert_eq!(run(&["set", "/a", "1"]), "exit status: 0\nstdout:\n1\n\nstderr:\n");
    assert_eq!(run(&["get", "/a"]), "exit status: 0\nstdout:\n1\n\nstderr:\n");
}
