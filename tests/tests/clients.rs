//! Programs that know nothing of us: Debian's etcdctl and python-etcd.
use std::process::{Command, Output};

use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::process::{self, Process};
use corelab_tests::{eventually, python, tools};
use rustix::process::Signal;

fn etcdctl(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "2")
        .arg("--endpoints")
        .arg(cluster.urls())
        .args(args);
    command
}

#[track_caller]
fn run(cluster: &Cluster, args: &[&str]) -> Output {
    tools::run(&mut etcdctl(cluster, args))
}

/// Runs etcdctl, which has to succeed, and returns what it prints.
#[track_caller]
fn ctl(cluster: &Cluster, args: &[&str]) -> String {
    let output = run(cluster, args);
    assert!(output.status.success(), "etcdctl {args:?}: {}", tools::outputs(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn fails(cluster: &Cluster, args: &[&str], text: &str) {
    let output = run(cluster, args);
    assert!(
        output.status.code() == Some(4) && tools::outputs(&output).contains(text),
        "etcdctl {args:?}: {}",
        tools::outputs(&output)
    );
}

#[track_caller]
fn keys_and_directories(size: usize) {
    let c = Setup::members(size).start();
    assert_eq!(ctl(&c, &["set", "/a/b", "1"]), "1\n");
    assert_eq!(ctl(&c, &["get", "/a/b"]), "1\n");
    assert_eq!(ctl(&c, &["get", "--quorum", "/a/b"]), "1\n");
    assert_eq!(ctl(&c, &["mk", "/a/c", "2"]), "2\n");
    fails(&c, &["mk", "/a/c", "2"], "Error:  105: Key already exists (/a/c)");
    assert_eq!(ctl(&c, &["update", "/a/c", "3"]), "3\n");
    fails(&c, &["update", "/a/none", "3"], "Error:  100: Key not found (/a/none)");
    assert_eq!(ctl(&c, &["set", "--swap-with-value", "3", "/a/c", "4"]), "4\n");
    fails(
        &c,
        &["set", "--swap-with-value", "3", "/a/c", "5"],
        "Error:  101: Compare failed ([3 != 4])",
    );
    ctl(&c, &["mkdir", "/d"]);
    ctl(&c, &["mkdir", "--ttl", "500", "/d/e"]);
    ctl(&c, &["updatedir", "--ttl", "1000", "/d/e"]);
    ctl(&c, &["setdir", "/f"]);
    assert_eq!(
        ctl(&c, &["ls", "-r", "--sort", "-p", "/"]),
        "/a/\n/a/b\n/a/c\n/d/\n/d/e/\n/f/\n"
    );
    fails(&c, &["rmdir", "/d"], "Error:  108: Directory not empty (/d)");
    ctl(&c, &["rmdir", "/f"]);
    fails(
        &c,
        &["rm", "--with-value", "0", "/a/c"],
        "Error:  101: Compare failed ([0 != 4])",
    );
    assert_eq!(ctl(&c, &["rm", "/a/c"]), "PrevNode.Value: 4\n");
    ctl(&c, &["rm", "-r", "/a"]);
    fails(&c, &["get", "/a/b"], "Error:  100: Key not found (/a)");
    assert_eq!(ctl(&c, &["mk", "--in-order", "/q", "x"]), "x\n");
    let json = ctl(&c, &["-o", "json", "set", "--ttl", "100", "/t", "x"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["action"], &json["node"]["ttl"]), (&"set".into(), &100.into()));
    let members = ctl(&c, &["member", "list"]);
    assert_eq!(members.lines().count(), size, "{members}");
    assert_eq!(members.matches("isLeader=true").count(), 1, "{members}");
    let health = ctl(&c, &["cluster-health"]);
    assert_eq!(health.matches("got healthy result from").count(), size, "{health}");
    assert!(health.ends_with("cluster is healthy\n"), "{health}");
}

#[test]
fn etcdctl_works_on_keys_and_directories_of_one_member() {
    keys_and_directories(1);
}

#[test]
fn etcdctl_works_on_keys_and_directories_of_three_members() {
    keys_and_directories(3);
}

#[test]
fn etcdctl_watches() {
    let cluster = Setup::members(1).start();
    let member = &cluster.members[0];
    let watchers = |count: u64| {
        eventually("the watch is open", || {
            let stats = member.get("/v2/stats/store").ok()?.json();
            (stats["watchers"] == count).then_some(())
        })
    };
    let log = |name: &str| cluster.dir.path().join(name);
    let mut once = Process::spawn(etcdctl(&cluster, &["watch", "/w"]), &log("once"));
    let mut forever = Process::spawn(etcdctl(&cluster, &["watch", "-r", "-f", "/"]), &log("forever"));
    let exec = [
        "exec-watch",
        "-r",
        "/",
        "--",
        "sh",
        "-c",
        "echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE",
    ];
    let mut exec = Process::spawn(etcdctl(&cluster, &exec), &log("exec"));
    watchers(3);
    let index = member.set("/w", "value=1").number("X-Etcd-Index");
    once.wait_log("1");
    assert!(once.wait().success());
    forever.wait_log("[set] /w");
    exec.wait_log("set /w 1");
    member.set("/x", "value=2");
    forever.wait_log("[set] /x");
    exec.wait_log("set /x 2");
    for child in [&mut forever, &mut exec] {
        process::kill(child.pid(), Signal::INT);
        child.wait();
    }
    let past = ctl(&cluster, &["watch", "--after-index", &(index - 1).to_string(), "/w"]);
    assert_eq!(past, "1\n");
}

#[track_caller]
fn python_etcd(size: usize) {
    let cluster = Setup::members(size).start();
    let hosts: Vec<String> = cluster.members.iter().map(|member| member.client.to_string()).collect();
    let python = python::bin("python-etcd", &["setuptools", "python-etcd==0.4.5"]);
    let script = tools::repository().join("tests/conformance/python_etcd.py");
    let output = tools::run(
        Command::new(python.join("python"))
            .arg("-B")
            .arg(script)
            .arg(hosts.join(",")),
    );
    assert!(output.status.success(), "{}", tools::outputs(&output));
}

#[test]
fn python_etcd_works_with_one_member() {
    python_etcd(1);
}

#[test]
fn python_etcd_works_with_three_members() {
    python_etcd(3);
}
