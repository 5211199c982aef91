//! Nothing that was acknowledged is lost: members are killed under load, one or all at once.
#![allow(clippy::print_stdout)]

use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::writers::Writers;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;

/// Writes acknowledged between two kills.
const PROGRESS: usize = 40;

fn rounds() -> usize {
    let rounds = std::env::var("CORELAB_KILL_ROUNDS").ok();
    rounds.map_or(5, |text| text.parse().expect("CORELAB_KILL_ROUNDS is a number"))
}

/// Kills and restarts members under load, as often as asked for, then compares what clients were told with what is
/// there. `victims` picks who dies in a round.
#[track_caller]
fn kill_under_load(size: usize, mut victims: impl FnMut(&mut SmallRng, &Cluster) -> Vec<usize>) {
    let seed: u64 = std::env::var("CORELAB_SEED").map_or_else(|_| rand::random(), |text| text.parse().expect("a seed"));
    #[allow(clippy::print_stdout, reason = "a failing test shows how to repeat it")]
    {
        println!("CORELAB_SEED={seed}");
    }
    let mut rng = SmallRng::seed_from_u64(seed);
    let setup = Setup::members(size)
        .flag("heartbeat-interval", 50)
        .flag("election-timeout", 500);
    // A small count, so that kills also meet snapshots and purges.
    let mut cluster = setup.flag("snapshot-count", 200).start();
    let mut writers = Writers::start(cluster.members.iter().map(|member| member.client), 4, 100);
    for _ in 0..rounds() {
        writers.wait_for(PROGRESS);
        std::thread::sleep(std::time::Duration::from_micros(rng.random_range(0..50_000)));
        let victims = victims(&mut rng, &cluster);
        // All signals first: members that die together die together.
        victims
            .iter()
            .for_each(|at| cluster.members[*at].kill_softly(Signal::KILL));
        for at in &victims {
            cluster.members[*at].wait_exit();
            cluster.members[*at].start();
        }
        cluster.wait_ready();
    }
    writers.wait_for(PROGRESS);
    let record = writers.stop();
    for member in &cluster.members {
        record.check(member);
    }
}

#[test]
fn one_member_keeps_what_it_acknowledged_when_killed_under_load() {
    kill_under_load(1, |_, _| vec![0]);
}

#[test]
fn three_members_keep_what_was_acknowledged_when_any_one_is_killed_under_load() {
    kill_under_load(3, |rng, _| vec![rng.random_range(0..3)]);
}

#[test]
fn three_members_keep_what_was_acknowledged_when_their_leader_is_killed_under_load() {
    kill_under_load(3, |_, cluster| vec![cluster.leader()]);
}

#[test]
fn three_members_keep_what_was_acknowledged_when_all_are_killed_at_once_under_load() {
    kill_under_load(3, |_, _| vec![0, 1, 2]);
}
