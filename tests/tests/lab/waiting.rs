//! A node that is not ready: what is said of it, for how long, and that it can be used meanwhile.
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corelab_tests::lab::{Lab, Who};
use corelab_tests::process::kill;
use corelab_tests::{eventually, tools};
use rustix::process::Signal;

#[test]
fn what_is_waited_for_is_named_the_time_is_kept_and_ctrl_c_ends_only_the_wait() {
    let lab = Lab::with_user_data(
        Who::Root,
        1,
        "#cloud-config
coreos:
  units:
    - name: slow.service
      command: start
      content: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        TimeoutStartSec=infinity
        ExecStart=/bin/sh -c 'until test -e /run/go; do sleep 0.05; done'
",
    );
    // Longer than the silence of a wait where nobody sees a line change.
    let error = lab.fails(&["up", "--timeout", "14"], 12);
    assert!(error.contains("waiting for core-01: systemd runs"), "{error}");
    assert!(error.contains("not ready after 14 s"), "{error}");
    assert!(error.matches("slow.service").count() >= 2, "{error}");
    let node = lab.node("core-01");
    assert_eq!(node["state"], "booting");
    assert!(node["detail"].to_string().contains("slow.service"), "{node}");
    assert_eq!(lab.on("core-01", "hostname").trim(), "core-01");

    let mut command = Command::new(tools::lab());
    lab.surround(&mut command);
    let mut up = command
        .arg("up")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start lab");
    // Ctrl-C is caught from the moment that it waits.
    let status = format!("/proc/{}/status", up.id());
    eventually("it waits", || {
        let text = std::fs::read_to_string(&status).ok()?;
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        (caught & 2 != 0).then_some(())
    });
    kill(up.id(), Signal::INT);
    assert_eq!(up.wait().expect("wait").code(), Some(130));
    let mut said = String::new();
    let _ = up.stderr.take().expect("piped").read_to_string(&mut said);
    assert!(said.contains("the nodes run on"), "{said}");

    lab.on("core-01", "sudo touch /run/go");
    assert!(lab.ok(&["up"]).contains("ready: 1 of 1"));
    assert_eq!(lab.node("core-01")["boots"], 1);
    lab.gone();
}

#[test]
fn a_job_that_takes_long_holds_nothing_else_up() {
    let lab = Lab::bare(1);
    lab.ok(&["up"]);
    lab.on(
        "core-01",
        "printf '[Service]\\nType=oneshot\\nExecStart=/bin/sh -c \"until test -e /run/go; do sleep 0.1; done\"\\n' |
         sudo tee /etc/systemd/system/slow.service; sudo systemctl start --no-block slow",
    );
    // From five seconds on, systemd says three times a second that it still waits.
    let waits = |lab: &Lab| {
        lab.on(
            "core-01",
            "systemctl is-active slow || true; systemctl list-jobs --no-legend",
        )
    };
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(12) {
        let said = waits(&lab);
        assert!(said.starts_with("activating"), "{said}");
    }
    lab.on("core-01", "sudo touch /run/go");
    eventually("the job is done", || waits(&lab).starts_with("inactive").then_some(()));
    lab.gone();
}
