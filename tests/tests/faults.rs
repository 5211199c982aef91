//! Members that die, hang and come back: what clients see of it.
use std::time::{Duration, Instant};

use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::eventually;
use corelab_tests::http::Conn;
use rustix::process::Signal;

/// A cluster that notices a dead leader soon; its requests time out after 5 s and two elections.
fn quick(size: usize) -> Setup {
    Setup::members(size)
        .flag("heartbeat-interval", 50)
        .flag("election-timeout", 500)
}

fn followers(cluster: &Cluster) -> Vec<usize> {
    let leader = cluster.leader();
    (0..cluster.members.len()).filter(|at| *at != leader).collect()
}

/// Everything a client can see, as each member has it once they are level.
#[track_caller]
fn assert_same_everywhere(cluster: &Cluster) {
    let mut listings = Vec::new();
    for member in &cluster.members {
        // A quorum read is as new as the newest acknowledged write.
        let answer = member
            .get("/v2/keys/?recursive=true&sorted=true&quorum=true")
            .expect("a listing");
        assert_eq!(answer.status, 200, "{}: {}", member.name, answer.text());
        listings.push(answer.text());
    }
    for (member, listing) in cluster.members.iter().zip(&listings) {
        assert_eq!(
            listing, &listings[0],
            "{} and {} differ",
            member.name, cluster.members[0].name
        );
    }
}

#[test]
fn a_write_sent_to_a_follower_while_the_leader_dies_succeeds() {
    let mut cluster = quick(3).start();
    for round in 0..3 {
        let leader = cluster.leader();
        let follower = followers(&cluster)[round % 2];
        let mut conn = Conn::open(cluster.members[follower].client).expect("connect");
        cluster.members[leader].kill_softly(Signal::KILL);
        let path = format!("/v2/keys/round{round}");
        let answer = conn.ask("PUT", &path, Some("value=1")).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        cluster.members[leader].wait_exit();
        cluster.members[leader].restart();
    }
    assert_same_everywhere(&cluster);
}

#[test]
fn a_dead_leader_is_replaced_within_two_election_timeouts() {
    let mut cluster = Setup::members(3)
        .flag("heartbeat-interval", 100)
        .flag("election-timeout", 3000)
        .start();
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    cluster.members[leader].kill9();
    let began = Instant::now();
    cluster.members[follower].set("/after", "value=1");
    let taken = began.elapsed();
    // Two timeouts, and time for a machine that is busy; half as much again would be another rule.
    assert!(taken < Duration::from_millis(8500), "took {taken:?}");
    assert!(
        taken > Duration::from_millis(3000) / 2,
        "took {taken:?}: nobody was sure that it is dead"
    );
}

#[test]
fn without_a_quorum_plain_reads_answer_and_all_else_says_so_until_it_is_back() {
    let mut cluster = quick(3).start();
    cluster.members[0].set("/before", "value=1");
    cluster.members[1].kill9();
    cluster.members[2].kill9();
    let left = &cluster.members[0];
    assert_eq!(left.key("/before")["node"]["value"], "1");
    let client = left.client;
    // At the same time, as each takes the whole of a request's time.
    let asked: Vec<_> = [
        ("PUT", "/v2/keys/lost", Some("value=1")),
        ("GET", "/v2/keys/before?quorum=true", None),
    ]
    .map(|(method, path, form)| std::thread::spawn(move || corelab_tests::http::ask(client, method, path, form)))
    .into();
    for thread in asked {
        let answer = thread.join().expect("a client").expect("an answer");
        let error = answer.json();
        assert_eq!((answer.status, &error["errorCode"]), (500, &300.into()), "{error}");
        assert!(
            error["cause"]
                .as_str()
                .is_some_and(|cause| cause.starts_with("etcdserver: request timed out")),
            "{error}"
        );
    }
    let health = left.get("/health").expect("an answer");
    assert_eq!(
        (health.status, health.text().as_str()),
        (503, "{\"health\": \"false\"}")
    );
    cluster.members[1].start();
    cluster.members[0].wait_ready();
    cluster.members[0].set("/after", "value=1");
    eventually("the member is healthy", || {
        cluster.members[0]
            .get("/health")
            .ok()
            .filter(|answer| answer.status == 200)
    });
    cluster.members[2].restart();
    assert_same_everywhere(&cluster);
}

#[test]
fn a_leader_that_hangs_is_replaced_and_follows_when_it_wakes_up() {
    let mut cluster = quick(3).start();
    let hung = cluster.leader();
    let others: Vec<usize> = followers(&cluster);
    cluster.members[hung].kill_softly(Signal::STOP);
    for (at, number) in others.iter().cycle().zip(0..20) {
        cluster.members[*at].set(&format!("/k{number}"), "value=1");
    }
    cluster.members[hung].kill_softly(Signal::CONT);
    // What it says now has a quorum behind it: it has heard of the others' writes.
    cluster.wait_ready();
    assert_same_everywhere(&cluster);
    cluster.members[hung].set("/awake", "value=1");
    assert_same_everywhere(&cluster);
}

#[test]
fn a_member_that_missed_more_than_the_log_keeps_catches_up_by_a_snapshot() {
    let mut cluster = quick(3).flag("snapshot-count", 1000).start();
    let away = followers(&cluster)[0];
    cluster.members[away].kill9();
    let leader = cluster.leader();
    let client = cluster.members[leader].client;
    let mut conn = Conn::open(client).expect("connect");
    let log_kept = 5000;
    // One after the other: each is an entry of its own.
    for number in 0..log_kept + 2500 {
        let answer = conn.ask(
            "PUT",
            &format!("/v2/keys/k{}", number % 100),
            Some(&format!("value={number}")),
        );
        assert!(answer.expect("an answer").status < 300);
    }
    cluster.members[away].restart();
    assert_same_everywhere(&cluster);
    let log = cluster.members[away].log();
    assert!(log.contains("snapshot"), "{log}");
}

#[test]
fn five_members_go_on_with_two_dead() {
    let mut cluster = quick(5).start();
    cluster.members[0].set("/five", "value=1");
    let leader = cluster.leader();
    let other = followers(&cluster)[0];
    cluster.members[leader].kill9();
    cluster.members[other].kill9();
    let alive = (0..5).find(|at| *at != leader && *at != other).expect("three are left");
    cluster.members[alive].set("/three", "value=1");
    cluster.members[leader].restart();
    cluster.members[other].restart();
    assert_same_everywhere(&cluster);
}
