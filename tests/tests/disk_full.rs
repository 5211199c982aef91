//! A full disk: clients hear of it, nothing that was acknowledged is lost, and room is all it takes to go on.
use std::fs;
use std::path::PathBuf;

use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::disk::SmallDisk;
use corelab_tests::eventually;
use corelab_tests::writers::{Record, Writers};

/// MB of the disk, of what is freed later, and bytes of each value.
const DISK: u32 = 40;
const BALLAST: u64 = 20;
const VALUE: usize = 64 << 10;

/// What a client is told.
#[track_caller]
fn assert_no_space(errors: &[serde_json::Value]) {
    let no_space = |error: &&serde_json::Value| {
        error["errorCode"] == 300
            && error["cause"]
                .as_str()
                .is_some_and(|cause| cause.contains("no space left"))
    };
    assert!(!errors.is_empty(), "no client was told");
    let other: Vec<_> = errors.iter().filter(|error| !no_space(error)).collect();
    assert!(other.is_empty(), "clients were told otherwise: {other:?}");
}

/// Writes until a member's log says that its disk is full; not longer, as what the others take meanwhile has to find
/// room there later.
#[track_caller]
fn fill(cluster: &mut Cluster, full: usize) -> Record {
    let mut writers = Writers::start(cluster.members.iter().map(|member| member.client), 3, VALUE);
    cluster.members[full].process().wait_log("no space left for");
    writers.stop()
}

#[test]
fn one_member_with_a_full_disk_refuses_writes_loses_nothing_and_goes_on_when_there_is_room() {
    let disk = SmallDisk::mount(DISK);
    let ballast: PathBuf = disk.ballast(BALLAST);
    let mut cluster = Setup::members(1).data_dir(0, &disk.path().join("data")).start();
    let record = fill(&mut cluster, 0);
    assert_no_space(&record.errors);
    let member = &mut cluster.members[0];
    record.check(member);
    let refused = member.put("/more", "value=1").expect("an answer");
    assert_eq!(refused.status, 500, "{}", refused.text());
    fs::remove_file(ballast).expect("free some space");
    eventually("a write succeeds again", || {
        member.put("/more", "value=2").ok().filter(|answer| answer.status < 300)
    });
    record.check(member);
    member.kill9();
    member.restart();
    assert_eq!(member.key("/more")["node"]["value"], "2");
    record.check(member);
}

#[test]
fn a_member_whose_disk_is_full_stops_when_it_is_told_to() {
    let disk = SmallDisk::mount(DISK);
    let _ballast = disk.ballast(BALLAST);
    let mut cluster = Setup::members(3).data_dir(0, &disk.path().join("data")).start();
    fill(&mut cluster, 0);
    cluster.members[0].stop();
}

#[test]
fn a_member_killed_while_its_disk_is_full_starts_again_once_there_is_room() {
    let disk = SmallDisk::mount(DISK);
    let ballast = disk.ballast(BALLAST);
    let mut cluster = Setup::members(1).data_dir(0, &disk.path().join("data")).start();
    let record = fill(&mut cluster, 0);
    let member = &mut cluster.members[0];
    member.kill9();
    fs::remove_file(ballast).expect("free some space");
    member.restart();
    record.check(member);
    member.set("/more", "value=1");
}

#[test]
fn a_member_started_on_a_full_disk_answers_and_catches_up_once_there_is_room() {
    let disk = SmallDisk::mount(DISK);
    let ballast = disk.ballast(BALLAST);
    let mut cluster = Setup::members(3).data_dir(0, &disk.path().join("data")).start();
    let record = fill(&mut cluster, 0);
    cluster.members[0].kill9();
    // More than fits, so that it is full again before it has told the others its name.
    cluster.leader();
    for number in 0..100 {
        cluster.members[1].set(&format!("/more{number}"), &format!("value={}", "x".repeat(VALUE)));
    }
    let full = |log: String| log.matches("no space left for").count();
    let before = full(cluster.members[0].log());
    cluster.members[0].start();
    eventually("the disk is full again", || {
        (full(cluster.members[0].log()) > before).then_some(())
    });
    // Longer than the 7 s that a request of its own may take, as that with its name does.
    for _ in 0..200 {
        let answer = cluster.members[0].get("/version").expect("it answers");
        assert_eq!(answer.status, 200);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let lines = cluster.members[0].log().lines().count();
    assert!(lines < 1000, "{lines} lines of log");
    fs::remove_file(ballast).expect("free some space");
    cluster.wait_ready();
    record.check(&cluster.members[0]);
    assert_eq!(
        cluster.members[0].key("/more99")["node"]["value"]
            .as_str()
            .map(str::len),
        Some(VALUE)
    );
}

/// Three members; the disk of one, picked by whether it leads, is full.
#[track_caller]
fn one_of_three(leads: bool) {
    let disk = SmallDisk::mount(DISK);
    let ballast = disk.ballast(BALLAST);
    let mut cluster = Setup::members(3).data_dir(0, &disk.path().join("data")).start();
    loop {
        let leader = cluster.leader();
        if (leader == 0) == leads {
            break;
        }
        // It comes back when another one leads.
        cluster.members[leader].stop();
        cluster.leader();
        cluster.members[leader].restart();
    }
    let record = fill(&mut cluster, 0);
    // If it led, it does no more: the others go on without it.
    eventually("the others take writes", || {
        cluster.members[1]
            .put("/more", "value=1")
            .ok()
            .filter(|answer| answer.status < 300)
    });
    record.check(&cluster.members[1]);
    record.check(&cluster.members[2]);
    // What its log had no room for is not in it when it comes back, soon enough to go on as what it was.
    cluster.members[0].kill9();
    fs::remove_file(ballast).expect("free some space");
    cluster.members[0].start();
    eventually("the member takes writes again", || {
        cluster.members[0]
            .put("/more", "value=2")
            .ok()
            .filter(|answer| answer.status < 300)
    });
    for member in &mut cluster.members {
        member.kill9();
    }
    for member in &mut cluster.members {
        member.start();
    }
    cluster.wait_ready();
    for member in &cluster.members {
        record.check(member);
        assert_eq!(member.key("/more")["node"]["value"], "2");
    }
}

#[test]
fn a_cluster_goes_on_while_a_followers_disk_is_full() {
    one_of_three(false);
}

#[test]
fn a_cluster_goes_on_with_another_leader_when_its_leaders_disk_is_full() {
    one_of_three(true);
}
