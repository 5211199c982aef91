//! Nothing of a lab outlives it, however it ends; and the machine does not notice that there was one.
//!
//! `CORELAB_KILLS=100` for more ends than the few of every day, `CORELAB_SEED` for others.
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use corelab_tests::lab::{Lab, Machine};
use corelab_tests::process::kill;
use corelab_tests::{eventually, tools};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;

/// By then three nodes are up on an idle machine.
const MOMENTS: u64 = 2_500;

fn number(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    set.unwrap_or(default)
}

fn begin(lab: &Lab) -> Child {
    let mut command = Command::new(tools::lab());
    command.arg("up").stdout(Stdio::null()).stderr(Stdio::null());
    lab.surround(&mut command);
    command.stdout(Stdio::null()).spawn().expect("start lab")
}

#[track_caller]
fn nothing_is_left(lab: &Lab, round: &str) {
    let mut left = Vec::new();
    eventually(&format!("{round}: nothing is left"), || {
        left = lab.leftovers();
        left.is_empty().then_some(())
    });
}

#[test]
fn after_a_kill_at_any_moment_everything_can_be_removed_or_goes_on() {
    let (rounds, seed) = (number("CORELAB_KILLS", 8), number("CORELAB_SEED", 1));
    let mut random = StdRng::seed_from_u64(seed);
    let lab = Lab::bare(3);
    for round in 0..rounds {
        let after = random.random_range(0..MOMENTS);
        let (of_supervisor, of_command) = [(true, false), (false, true), (true, true)][random.random_range(0..3)];
        let then = random.random_range(0..3);
        let round = format!(
            "seed {seed}, round {round}, after {after} ms, supervisor {of_supervisor}, command {of_command}, then {then}"
        );
        let mut command = begin(&lab);
        // The moment itself, not a wait for something.
        std::thread::sleep(Duration::from_millis(after));
        if of_command {
            let _ = command.kill();
        }
        if let Some(pid) = lab.supervisor().filter(|_| of_supervisor) {
            kill(pid, Signal::KILL);
        }
        let _ = command.wait();
        match then {
            0 => {
                let output = lab.lab(&["up"]);
                assert!(output.status.success(), "{round}: {}", tools::outputs(&output));
                assert_eq!(lab.on("core-03", "hostname").trim(), "core-03", "{round}");
                if let Some(pid) = lab.supervisor() {
                    kill(pid, Signal::KILL);
                }
                lab.ok(&["destroy", "-f"]);
            }
            1 if lab.id().is_some() => drop(lab.ok(&["destroy", "-f"])),
            _ => {
                let _ = std::fs::remove_dir_all(lab.dir().join(".lab"));
                lab.ok(&["gc"]);
            }
        }
        // A lab that never came to have a record is for gc alone.
        lab.ok(&["gc"]);
        nothing_is_left(&lab, &round);
    }
}

#[test]
fn the_death_of_the_supervisor_is_the_end_of_its_nodes() {
    let lab = Lab::bare(2);
    lab.ok(&["up"]);
    let state = lab.state().display().to_string();
    kill(lab.supervisor().expect("a supervisor"), Signal::KILL);
    eventually("all its processes are gone", || {
        let left = lab.leftovers();
        (!left.iter().any(|line| line.starts_with("process"))).then_some(())
    });
    assert_eq!(lab.node("core-01")["state"], "halted", "{state}");
    let why = lab.fails(&["ssh", "core-01", "--", "true"], 1);
    assert!(why.contains("the lab is down"), "{why}");
    lab.ok(&["up"]);
    assert_eq!(lab.on("core-02", "hostname").trim(), "core-02");
    lab.gone();
}

#[test]
fn gc_leaves_a_lab_alone_that_its_directory_knows() {
    let (lab, other) = (Lab::bare(1), Lab::bare(1));
    lab.ok(&["up"]);
    let mut gc = other.command(tools::lab());
    gc.env("XDG_STATE_HOME", lab.state()).arg("gc");
    assert!(tools::run(&mut gc).status.success());
    assert_eq!(lab.node("core-01")["state"], "ready");
    lab.ok(&["halt"]);
    lab.ok(&["gc"]);
    lab.ok(&["up"]);
    assert_eq!(lab.node("core-01")["boots"], 1);
    // Its directory is gone: what ran for it is out of reach.
    std::fs::remove_dir_all(lab.dir().join(".lab")).expect("remove the record");
    assert!(lab.ok(&["gc", "--dry-run"]).contains(&lab.dir().display().to_string()));
    assert!(lab.supervisor().is_some());
    lab.ok(&["gc"]);
    nothing_is_left(&lab, "after gc");
}

#[test]
fn the_machine_is_the_same_before_during_and_after() {
    let lab = Lab::bare(2);
    let clock = || {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        wall.as_secs_f64() - now.tv_sec as f64 - now.tv_nsec as f64 / 1e9
    };
    let mut differences = Vec::new();
    // Somebody else may change this machine, too, but hardly every time.
    for _ in 0..3 {
        let (before, time) = (Machine::look(), clock());
        lab.ok(&["up"]);
        for attempt in [
            "sudo date -s 2001-01-01",
            "sudo sysctl -w kernel.panic=7",
            "sudo sysctl -w vm.swappiness=1",
            "sudo mount -o remount,rw /proc/sys && sudo sysctl -w kernel.panic=7",
            "sudo mknod /dev/disk b 8 0 && sudo head -c 1 /dev/disk",
            "echo b | sudo tee /proc/sysrq-trigger",
        ] {
            let output = lab.lab(&["ssh", "core-01", "--", attempt]);
            assert!(!output.status.success(), "{attempt}: {}", tools::outputs(&output));
        }
        // Its own network is its own.
        lab.on(
            "core-01",
            "sudo ip link add dummy7 type dummy; sudo sysctl -qw net.ipv4.ip_forward=1",
        );
        let during = Machine::look();
        lab.ok(&["destroy", "-f"]);
        let after = Machine::look();
        assert!((clock() - time).abs() < 0.5, "the clock was set");
        differences = vec![before.difference(&during), before.difference(&after)];
        if differences.iter().all(String::is_empty) {
            break;
        }
    }
    assert_eq!(differences, ["", ""]);
    lab.gone();
}
