//! A cluster that grows, shrinks, loses members and begins again from what one of them kept.
use std::process::Command;

use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::http::Conn;

fn quick(size: usize) -> Setup {
    Setup::members(size)
        .flag("heartbeat-interval", 50)
        .flag("election-timeout", 500)
}

fn value(cluster: &Cluster, at: usize, key: &str) -> String {
    let node = cluster.members[at].key(&format!("{key}?quorum=true"));
    node["node"]["value"].as_str().unwrap_or_default().to_string()
}

/// Starts the last member and returns what its log says when it gives up, with exit status 1.
#[track_caller]
fn refused_start(cluster: &mut Cluster) -> String {
    let member = cluster.members.last_mut().expect("a member");
    member.start();
    let status = member.wait_exit();
    assert_eq!(status.code(), Some(1), "{}", member.log());
    member.log()
}

#[test]
fn one_member_becomes_three_and_then_any_of_them_may_die() {
    let mut cluster = quick(1).start();
    cluster.members[0].set("/before", "value=1");
    cluster.grow("m1");
    cluster.grow("m2");
    for at in 0..3 {
        assert_eq!(value(&cluster, at, "/before"), "1");
    }
    cluster.members[0].kill9();
    cluster.members[1].set("/after", "value=2");
    assert_eq!(value(&cluster, 2, "/after"), "2");
    cluster.members[0].restart();
    assert_eq!(value(&cluster, 0, "/after"), "2");
}

#[test]
fn a_member_that_is_declared_and_never_started_costs_nothing_and_can_be_taken_back() {
    let mut cluster = quick(1).start();
    let peer_url = cluster.newcomer("m1").peer_url.clone();
    let id = cluster.members[0].declare(&peer_url);
    cluster.members[0].set("/with", "value=1");
    assert_eq!(cluster.members[0].members("DELETE", &format!("/{id}"), "").status, 204);
    cluster.members[0].set("/without", "value=1");
    assert_eq!(cluster.members[0].members("DELETE", &format!("/{id}"), "").status, 410);
    let log = refused_start(&mut cluster);
    assert!(log.contains("member count is unequal"), "{log}");
}

#[test]
fn two_members_need_both() {
    let mut cluster = quick(1).start();
    cluster.grow("m1");
    cluster.members[1].stop();
    let answer = cluster.members[0].put("/alone", "value=1").expect("an answer");
    assert_eq!(answer.status, 500, "{}", answer.text());
    cluster.members[1].restart();
    cluster.members[0].set("/again", "value=1");
}

#[test]
fn a_removed_member_leaves_by_itself_and_stays_out() {
    let mut cluster = quick(3).start();
    let gone = (cluster.leader() + 1) % 3;
    let peer_url = cluster.members[gone].peer_url.clone();
    let other = (gone + 1) % 3;
    let id = cluster.members[other].id_of(&peer_url).expect("a member");
    let path = format!("/{id}");
    assert_eq!(cluster.members[other].members("DELETE", &path, "").status, 204);
    assert_eq!(cluster.members[gone].wait_exit().code(), Some(0));
    let log = cluster.members[gone].log();
    assert!(
        log.contains("the member has been permanently removed from the cluster"),
        "{log}"
    );
    // With its old data, and under its old id without them.
    cluster.members[gone].start();
    assert_eq!(cluster.members[gone].wait_exit().code(), Some(0));
    std::fs::remove_dir_all(&cluster.members[gone].data_dir).expect("its data");
    cluster.members[gone].start();
    assert_eq!(cluster.members[gone].wait_exit().code(), Some(0));
    cluster.members[other].set("/two", "value=1");
    // Declared again it has another id, and is welcome.
    cluster.members[other].declare(&peer_url);
    std::fs::remove_dir_all(&cluster.members[gone].data_dir).expect("its data");
    cluster.members[gone]
        .args
        .extend(["--initial-cluster-state".into(), "existing".into()]);
    cluster.members[gone].restart();
    assert_eq!(value(&cluster, gone, "/two"), "1");
    assert_ne!(cluster.members[gone].id_of(&peer_url), Some(id));
}

#[test]
fn the_leader_can_be_removed() {
    let mut cluster = quick(3).start();
    let leader = cluster.leader();
    let other = (leader + 1) % 3;
    let peer_url = cluster.members[leader].peer_url.clone();
    let id = cluster.members[other].id_of(&peer_url).expect("a member");
    assert_eq!(
        cluster.members[other].members("DELETE", &format!("/{id}"), "").status,
        204
    );
    assert_eq!(cluster.members[leader].wait_exit().code(), Some(0));
    cluster.members[other].set("/two", "value=1");
}

#[test]
fn what_was_forgotten_when_joining_is_named() {
    let mut cluster = quick(2).start();
    cluster.newcomer("m2");
    let log = refused_start(&mut cluster);
    assert!(
        log.contains("member count is unequal: the running cluster has 2"),
        "{log}"
    );
    assert!(
        log.contains("declare this member first: etcdctl member add m2 http://"),
        "{log}"
    );

    // Declared at another URL.
    cluster.members[0].declare("http://127.0.0.1:1");
    let log = refused_start(&mut cluster);
    assert!(log.contains("unmatched member while checking PeerURLs"), "{log}");

    // A member that lost its data is not let in under its old id.
    let id = cluster.members[0].id_of("http://127.0.0.1:1").expect("a member");
    assert_eq!(cluster.members[0].members("DELETE", &format!("/{id}"), "").status, 204);
    cluster.members.pop();
    cluster.members[1].kill9();
    std::fs::remove_dir_all(&cluster.members[1].data_dir).expect("its data");
    cluster.members[1]
        .args
        .extend(["--initial-cluster-state".into(), "existing".into()]);
    let log = refused_start(&mut cluster);
    assert!(
        log.contains("has already been bootstrapped") && log.contains("etcdctl member remove"),
        "{log}"
    );

    // Nobody to ask.
    cluster.members[0].stop();
    let log = refused_start(&mut cluster);
    assert!(log.contains("cannot fetch cluster info from peer urls"), "{log}");
    assert!(log.contains("Connection refused"), "{log}");
}

#[test]
fn a_removal_that_would_cost_the_quorum_is_refused_unless_forced() {
    let mut cluster = quick(3).start();
    let leader = cluster.leader();
    let (dead, live) = ((leader + 1) % 3, (leader + 2) % 3);
    let id = |cluster: &Cluster, at: usize| {
        let url = &cluster.members[at].peer_url;
        cluster.members[leader].id_of(url).expect("a member")
    };
    let live_id = id(&cluster, live);
    cluster.members[dead].kill9();
    let refused = cluster.members[live].members("DELETE", &format!("/{live_id}"), "");
    assert_eq!(refused.status, 412, "{}", refused.text());
    assert!(
        refused.text().contains("1 can be reached and 2 are needed"),
        "{}",
        refused.text()
    );
    let forced = Conn::open(cluster.members[leader].client).and_then(|mut conn| {
        conn.send("DELETE", &format!("/v2/members/{live_id}?force=true"), None)?;
        cluster.members[dead].restart();
        conn.answer(false)
    });
    assert_eq!(forced.expect("an answer").status, 204);
    assert_eq!(cluster.members[live].wait_exit().code(), Some(0));
    cluster.members[dead].set("/two", "value=1");
}

#[test]
fn a_stranger_with_another_token_stays_outside() {
    let mut cluster = quick(1).start();
    let name = "m1";
    cluster.newcomer(name);
    let stranger = cluster.members.last_mut().expect("a member");
    let existing = stranger
        .args
        .iter()
        .position(|arg| arg == "existing")
        .expect("the state");
    stranger.args[existing] = "new".into();
    stranger
        .args
        .extend(["--initial-cluster-token".into(), "another".into()]);
    stranger.start();
    stranger.process().wait_log("request cluster ID mismatch");
    cluster.members[0].set("/mine", "value=1");
}

#[test]
fn a_copy_of_one_data_directory_begins_a_new_cluster_that_grows_again() {
    let mut cluster = quick(3).start();
    for number in 0..50 {
        cluster.members[number % 3].set(&format!("/data/{number}"), &format!("value={number}"));
    }
    let member = cluster.leader();
    let copy = cluster.dir.path().join("copy");
    // Of a running member, as the walk-through has it.
    let tar = format!(
        "mkdir {0} && tar -C {1} -cf - . | tar -C {0} -xf -",
        copy.display(),
        cluster.members[member].data_dir.display()
    );
    assert!(Command::new("sh").args(["-c", &tar]).status().expect("tar").success());
    for member in &mut cluster.members {
        member.kill9();
    }
    let mut restored = quick(1).data_dir(0, &copy).prepare();
    restored.members[0].args.push("--force-new-cluster".into());
    restored.members[0].restart();
    for number in 0..50 {
        assert_eq!(value(&restored, 0, &format!("/data/{number}")), number.to_string());
    }
    let members = restored.members[0].members("GET", "", "").json();
    let members = members["members"].as_array().expect("members");
    assert_eq!(members.len(), 1);
    assert_eq!(members[0]["peerURLs"][0], restored.members[0].peer_url.as_str());
    restored.members[0].set("/new", "value=1");
    // The flag may stay while it grows; then it must go.
    restored.members[0].stop();
    restored.members[0].args.retain(|arg| arg != "--force-new-cluster");
    restored.members[0].restart();
    assert_eq!(value(&restored, 0, "/new"), "1");
    restored.grow("m1");
    assert_eq!(value(&restored, 1, "/data/7"), "7");
}

#[test]
fn a_member_that_was_away_follows_a_leader_that_it_does_not_know_yet() {
    let mut cluster = quick(3).start();
    cluster.members[2].kill9();
    cluster.grow("m3");
    // What is left of those that the third one knows goes, too: then only the new one can lead it.
    let first = cluster.members[0].peer_url.clone();
    let id = cluster.members[1].id_of(&first).expect("a member");
    assert_eq!(cluster.members[1].members("DELETE", &format!("/{id}"), "").status, 204);
    assert_eq!(cluster.members[0].wait_exit().code(), Some(0));
    cluster.members[1].kill9();
    cluster.members[2].restart();
    cluster.members[3].set("/with-the-new-one", "value=1");
    assert_eq!(value(&cluster, 2, "/with-the-new-one"), "1");
}
