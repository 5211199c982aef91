//! etcdctl's watches: none of them loses a change without a word.
use std::process::Command;

use corelab_tests::cluster::{Member, Setup};
use corelab_tests::process::Process;
use corelab_tests::{eventually, tools};
use rustix::process::Signal;

fn etcdctl(args: &[&str]) -> Command {
    let mut command = Command::new(tools::labnode());
    command.arg("etcdctl").args(args);
    command
}

/// Waits until a watch is open.
#[track_caller]
fn watched(member: &Member) {
    eventually("the watch is open", || {
        let stats = member.get("/v2/stats/store").ok()?.json();
        (stats["watchers"] == 1).then_some(())
    });
}

#[test]
fn a_watch_that_falls_behind_says_what_it_missed_and_goes_on() {
    let exec = ["exec-watch", "/a", "--", "sh", "-c", "echo $ETCD_WATCH_VALUE"];
    // The commands of exec-watch run side by side: which of them is the first to print is up to them.
    for (words, waits) in [(&["watch", "--forever", "/a"][..], true), (&exec, false)] {
        let cluster = Setup::members(1).flag("event-history-size", 10).start();
        let member = &cluster.members[0];
        let url = member.url();
        let args = [&["--endpoints", &url][..], words].concat();
        let mut watch = Process::spawn(etcdctl(&args), &cluster.dir.path().join("watch.log"));
        watched(member);
        member.set("/a", "value=first");
        watch.wait_log("first");
        watched(member);

        watch.signal(Signal::STOP);
        let behind = member.set("/a", "value=second").number("X-Etcd-Index");
        for number in 0..50 {
            member.set("/other", &format!("value={number}"));
        }
        let last = member.set("/a", "value=third").number("X-Etcd-Index");
        watch.signal(Signal::CONT);
        watch.wait_log("third");
        watch.wait_log("second");
        let (from, to) = (behind + 1, last - 10);
        let said = format!("missed what happened at the indexes {from} to {to}:");
        let lines: Vec<String> = watch.log().lines().map(str::to_string).collect();
        let mut order = vec!["first", "second", &said, "third"];
        order.retain(|text| waits || *text != "second");
        let order: Vec<_> = order
            .iter()
            .map(|text| lines.iter().position(|line| line.contains(text)))
            .collect();
        assert!(order.is_sorted() && order[0].is_some(), "{lines:?}");
        member.set("/a", "value=fourth");
        watch.wait_log("fourth");
    }
}

#[test]
fn an_index_that_is_gone_from_the_beginning_is_an_error() {
    let cluster = Setup::members(1).flag("event-history-size", 10).start();
    let member = &cluster.members[0];
    for number in 0..20 {
        member.set("/a", &format!("value={number}"));
    }
    let output = tools::run(&mut etcdctl(&[
        "--endpoints",
        &member.url(),
        "watch",
        "--forever",
        "--after-index",
        "5",
        "/a",
    ]));
    assert_eq!(output.status.code(), Some(4));
    let said = tools::outputs(&output);
    assert!(
        said.contains("Error:  401: The event in requested index is outdated and cleared"),
        "{said}"
    );
}

#[test]
fn a_watch_whose_member_dies_goes_on_at_another_one_with_what_happened_meanwhile() {
    let mut cluster = Setup::members(3).start();
    let leader = cluster.leader();
    let (dying, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let endpoints = format!("{},{}", cluster.members[dying].url(), cluster.members[other].url());
    let args = ["--no-sync", "--endpoints", &endpoints, "watch", "--forever", "/a"];
    let mut watch = Process::spawn(etcdctl(&args), &cluster.dir.path().join("watch.log"));
    watched(&cluster.members[dying]);
    watch.signal(Signal::STOP);
    cluster.members[dying].kill9();
    cluster.members[leader].set("/a", "value=meanwhile");
    watch.signal(Signal::CONT);
    watch.wait_log("meanwhile");
    watched(&cluster.members[other]);
    cluster.members[leader].set("/a", "value=afterwards");
    watch.wait_log("afterwards");
}

#[test]
fn after_index_begins_with_the_next_one_and_exec_watch_one_later_as_in_2_3() {
    let cluster = Setup::members(1).start();
    let member = &cluster.members[0];
    let first = member.set("/a", "value=0").number("X-Etcd-Index");
    for number in 1..4 {
        member.set("/a", &format!("value={number}"));
    }
    let (url, after) = (member.url(), first.to_string());
    let watch = ["--endpoints", &url, "watch", "--after-index", &after, "/a"];
    assert_eq!(String::from_utf8_lossy(&tools::run(&mut etcdctl(&watch)).stdout), "1\n");
    let mut exec = etcdctl(&["--endpoints", &url, "exec-watch", "--after-index", &after, "/a"]);
    exec.args(["--", "sh", "-c", "echo at $ETCD_WATCH_MODIFIED_INDEX"]);
    let mut exec = Process::spawn(exec, &cluster.dir.path().join("exec.log"));
    exec.wait_log(&format!("at {}", first + 2));
    exec.wait_log(&format!("at {}", first + 3));
    assert!(!exec.log().contains(&format!("at {}\n", first + 1)), "{}", exec.log());
}
