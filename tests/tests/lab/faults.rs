//! Things go wrong on purpose: each fault does what it says, ends when it is said to, and leaves nothing.
use std::process::Stdio;

use corelab_tests::eventually;
use corelab_tests::lab::Lab;

fn faults(lab: &Lab) -> Vec<serde_json::Value> {
    let text = lab.ok(&["fault", "ls", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    document["faults"].as_array().expect("a list").clone()
}

/// Does a ping from one node to another come back within a second?
fn reaches(lab: &Lab, from: &str, to: &str) -> bool {
    lab.lab(&["ssh", from, "--", "ping", "-c1", "-W1", to]).status.success()
}

/// Of `count` pings, those that were answered, and how long the fastest answer took in milliseconds.
fn ping(lab: &Lab, from: &str, to: &str, count: u32) -> (u32, f64) {
    let line = format!("ping -q -c{count} -i0.01 -W2 {to} || true");
    let text = lab.on(from, &line);
    let received = text.split(", ").nth(1).and_then(|part| part.split(' ').next());
    let fastest = text.split(" = ").nth(1).and_then(|part| part.split('/').next());
    (
        received
            .and_then(|number| number.parse().ok())
            .expect("pings are counted"),
        fastest.and_then(|number| number.parse().ok()).unwrap_or(0.0),
    )
}

#[test]
fn the_wire_is_cut_slowed_and_mended() {
    let lab = Lab::bare(3);
    lab.ok(&["up"]);

    lab.ok(&["fault", "partition", "core-01"]);
    assert!(!reaches(&lab, "core-01", "core-02"));
    assert!(!reaches(&lab, "core-03", "core-01"));
    assert!(reaches(&lab, "core-02", "core-03"), "only core-01 is cut off");
    assert!(lab.node("core-01")["detail"].to_string().contains("partition core-01"));
    lab.ok(&["heal"]);
    // Who has asked in vain for an address asks again a second later.
    eventually("they reach each other again", || {
        reaches(&lab, "core-01", "core-02").then_some(())
    });

    // An answer has to come back, so that a ping fails either way; what is sent is counted by the other side.
    lab.ok(&["fault", "oneway", "core-01", "core-02"]);
    let count = "awk '/eth0/ {print $3}' /proc/net/dev";
    let before: u64 = lab.on("core-01", count).trim().parse().expect("a number");
    assert!(!reaches(&lab, "core-02", "core-01"));
    let after: u64 = lab.on("core-01", count).trim().parse().expect("a number");
    assert!(after > before, "the way from core-02 works");
    lab.ok(&["heal", "2"]);

    lab.ok(&["fault", "delay", "core-01", "--by", "40ms"]);
    let (_, late) = ping(&lab, "core-02", "core-01", 3);
    assert!(late >= 40.0, "{late} ms");
    lab.ok(&["fault", "delay", "core-02", "--by", "20ms", "--to", "core-01"]);
    let (_, later) = ping(&lab, "core-02", "core-01", 3);
    assert!(later >= 60.0, "{later} ms");
    lab.ok(&["heal", "--all"]);

    let lost = |seed: &str| {
        lab.ok(&["fault", "loss", "core-03", "--percent", "30", "--seed", seed]);
        let (came, _) = ping(&lab, "core-03", "core-02", 60);
        lab.ok(&["heal"]);
        came
    };
    assert!((20..60).contains(&lost("5")));

    assert_eq!(faults(&lab), Vec::<serde_json::Value>::new());
}

#[test]
fn a_fault_ends_when_its_time_is_over() {
    let lab = Lab::bare(2);
    lab.ok(&["up"]);
    lab.ok(&["fault", "partition", "core-01", "--for", "1s"]);
    assert_eq!(faults(&lab).len(), 1);
    eventually("it is over", || faults(&lab).is_empty().then_some(()));
    eventually("they reach each other again", || {
        reaches(&lab, "core-01", "core-02").then_some(())
    });
}

#[test]
fn nodes_units_disks_and_clocks_are_harmed_and_mended() {
    let lab = Lab::bare(2);
    lab.ok(&["up"]);
    lab.on("core-01", "sudo systemctl start etcd2");

    lab.ok(&["fault", "kill", "core-02"]);
    assert_eq!(lab.node("core-02")["state"], "halted");
    lab.ok(&["heal"]);
    assert_eq!(lab.node("core-02")["state"], "ready");
    assert_eq!(lab.node("core-02")["boots"], 2);

    lab.ok(&["fault", "stop", "core-01", "etcd2"]);
    let active = |lab: &Lab| {
        lab.on("core-01", "systemctl is-active etcd2 || true")
            .trim()
            .to_string()
    };
    assert_eq!(active(&lab), "inactive");
    lab.ok(&["heal"]);
    assert!(active(&lab).starts_with("activ"));

    let pid = "systemctl show -p MainPID --value etcd2";
    let before = lab.on("core-01", pid);
    lab.ok(&["fault", "kill", "core-01", "etcd2"]);
    lab.ok(&["heal"]);
    assert_ne!(lab.on("core-01", pid), before);

    lab.ok(&["fault", "clock", "core-01", "--by", "-2h"]);
    let twice = lab.lab(&["fault", "clock", "core-02,core-01", "--by", "1h"]);
    let said = String::from_utf8_lossy(&twice.stderr).into_owned();
    assert_eq!(twice.status.code(), Some(11), "{said}");
    assert!(said.contains("has its clock already; lab heal "), "{said}");
    assert_eq!(faults(&lab).len(), 1, "not on the other node either");
    // Seconds that HTTP's date is behind the clock.
    let behind = |lab: &Lab| {
        let line = "date=$(curl -sSf -D - -o /dev/null http://127.0.0.1:2379/version | sed -n 's/^Date: //p' | tr -d '\\r'); \
                    test -n \"$date\" && echo $(( $(date +%s) - $(date -d \"$date\" +%s) ))";
        lab.on("core-01", line).trim().parse::<i64>().expect("a number")
    };
    assert!((7190..7300).contains(&behind(&lab)));
    lab.ok(&["heal"]);
    eventually("the clock is right again", || (behind(&lab) < 100).then_some(()));

    lab.on(
        "core-01",
        "sudo install -d /srv/data && echo kept | sudo tee /srv/data/file",
    );
    lab.ok(&["fault", "disk-full", "core-01", "--path", "/srv/data"]);
    let full = lab.on(
        "core-01",
        "head -c 100000 /dev/zero | sudo tee /srv/data/more 2>&1 >/dev/null || true",
    );
    assert!(full.contains("No space left"), "{full}");
    lab.on(
        "core-01",
        "sudo rm -f /srv/data/more && test \"$(cat /srv/data/file)\" = kept",
    );
    lab.ok(&["heal"]);
    lab.on(
        "core-01",
        "test \"$(cat /srv/data/file)\" = kept && echo changed | sudo tee /srv/data/file",
    );

    lab.ok(&["fault", "disk-ro", "core-01", "--path", "/srv/data"]);
    let refused = lab.on("core-01", "sudo touch /srv/data/new 2>&1 || true");
    assert!(refused.contains("Read-only"), "{refused}");
    lab.ok(&["heal"]);
    lab.on(
        "core-01",
        "sudo touch /srv/data/new && test \"$(cat /srv/data/file)\" = changed",
    );

    // A node that goes down takes what was done to its processes with it.
    // The kernel takes connections for it, and nobody says a word.
    let speaks = "timeout 2 bash -c 'read -rn4 word < /dev/tcp/core-02/22 && test $word = SSH-'";
    lab.on("core-01", speaks);
    lab.ok(&["fault", "pause", "core-02"]);
    lab.on("core-01", &format!("! {speaks}"));
    lab.ok(&["halt", "core-02"]);
    assert_eq!(faults(&lab), Vec::<serde_json::Value>::new());
}

#[test]
fn one_slow_disk_of_three_holds_no_write_up_and_two_do() {
    let lab = Lab::new();
    lab.write("lab.yaml", "num_instances: 3\n");
    lab.ok(&["up"]);
    // Waits for a leader that the others have heard of, too.
    let leader = eventually("there is a leader", || {
        let text = lab.on("core-01", "etcdctl member list || true");
        let line = text.lines().find(|line| line.ends_with("isLeader=true"))?;
        let name = line.split("name=").nth(1)?.split(' ').next()?;
        Some(name.to_string())
    });
    let other = if leader == "core-01" { "core-02" } else { "core-01" };
    // Seconds that writes take, one after the other.
    let writes = || {
        let line = "for i in 1 2 3 4 5; do curl -sS -o /dev/null -w '%{time_total} ' -X PUT -d value=x \
                    http://127.0.0.1:2379/v2/keys/a; done";
        let text = lab.on(&leader, line);
        let times = text.split_whitespace().map(|time| time.parse().expect("a time"));
        times.collect::<Vec<f64>>()
    };
    // What the longest of a node's last syncs took.
    let sync = |node: &str| {
        let text = lab.on(node, "curl -sS http://127.0.0.1:2379/metrics | grep 'fsync.*\"0.99\"'");
        let seconds: Option<f64> = text.split_whitespace().last().and_then(|number| number.parse().ok());
        seconds.expect("a number")
    };
    let slow = |node: &str| {
        lab.ok(&["fault", "disk-slow", node, "--by", "700ms"]);
        // Of what it pretends a program hears within a moment.
        eventually("its syncs are slow", || {
            writes();
            (sync(node) >= 0.7f64).then_some(())
        });
    };
    let quickest = |times: &[f64]| times.iter().copied().fold(f64::MAX, f64::min);

    // Each of these alone: the two others are a quorum.
    for node in [other, leader.as_str()] {
        slow(node);
        let times = writes();
        assert!(quickest(&times) < 0.7, "only {node} is slow: {times:?}");
        lab.ok(&["heal"]);
        lab.on(node, "test ! -e /run/lab/disk-slow");
    }

    lab.ok(&["fault", "disk-slow", &format!("{leader},{other}"), "--by", "700ms"]);
    eventually("two are slow", || (quickest(&writes()) >= 0.7).then_some(()));
    lab.ok(&["heal"]);
    eventually("none is slow", || (quickest(&writes()) < 0.7).then_some(()));
    lab.gone();
}

#[test]
fn what_cannot_be_had_is_refused_and_leaves_nothing() {
    let lab = Lab::bare(1);
    lab.ok(&["up"]);
    for (typed, status, why) in [
        (
            &["fault", "loss", "core-01", "--percent", "120"][..],
            2,
            "between 0 and 100",
        ),
        (&["fault", "stop", "core-01"][..], 2, "which unit?"),
        (&["fault", "kill", "core-09"][..], 2, "core-09 is no node"),
        (
            &["fault", "stop", "core-01", "nosuch"][..],
            1,
            "nosuch.service not loaded",
        ),
        (&["fault", "delay", "core-01", "--by", "5"][..], 2, "is no time"),
        (
            &["fault", "disk-slow", "core-01", "--by", "-1s"][..],
            2,
            "makes no disk slower",
        ),
        (
            &["fault", "disk-full", "core-01", "--path", "relative"][..],
            2,
            "from the root on",
        ),
        (
            &["fault", "disk-full", "core-01", "--path", "/no/such"][..],
            1,
            "there is no such directory",
        ),
        (&["heal", "77"][..], 2, "there is no fault 77"),
    ] {
        let said = lab.fails(typed, status);
        assert!(said.contains(why), "{typed:?}: {said}");
    }
    assert_eq!(faults(&lab), Vec::<serde_json::Value>::new());
}

#[test]
fn a_fault_of_an_exercise_goes_with_the_program_that_holds_it() {
    let lab = Lab::new();
    lab.write(
        "lab.yaml",
        "lab: 1\ntitle: held\ntime: 1m\ntopology: {num_instances: 2, bare: true}\nsteps:\n- id: cut\n  title: cut\n  \
         do:\n  - {fault: {partition: {groups: [core-01]}}}\n  - {at: core-01, run: sleep 60}\n  check:\n  \
         - {id: never, at: core-01, run: 'false'}\n",
    );
    let place = lab
        .state()
        .join("lab/learn")
        .join(lab.dir().file_name().expect("a name"));
    let mut command = std::process::Command::new(corelab_tests::tools::lab());
    lab.surround(&mut command);
    command
        .args(["learn", "./lab.yaml", "--auto"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("lab learn");
    let inside = |words: &[&str]| {
        let mut command = lab.command(corelab_tests::tools::lab());
        let output = command.args(words).current_dir(&place).output().expect("lab runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    eventually("the fault is in force", || {
        assert!(child.try_wait().expect("a child").is_none(), "it has ended before");
        let begun = place.exists() && inside(&["fault", "ls"]).contains("partition core-01");
        begun.then_some(())
    });
    child.kill().expect("kill");
    child.wait().expect("wait");
    eventually("it is undone", || {
        (!inside(&["fault", "ls"]).contains("partition")).then_some(())
    });
    inside(&["destroy", "-f"]);
}
