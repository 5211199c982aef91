//! What cannot be done is said in four parts, with its exit code, and nothing half done stays.
use std::fs;
use std::net::TcpListener;

use corelab_tests::lab::{Lab, short};
use corelab_tests::tools::{self, outputs, run};

#[track_caller]
fn four_parts(error: &str) {
    for part in ["error: ", "  where: ", "  why:   ", "  do:    "] {
        assert!(error.contains(part), "no {part:?} in:\n{error}");
    }
}

#[test]
fn a_node_that_is_not_there_is_wrong_usage() {
    let lab = Lab::bare(2);
    let error = lab.fails(&["up", "core-09"], 2);
    four_parts(&error);
    assert!(
        error.contains("core-09") && error.contains("core-01, core-02"),
        "{error}"
    );
    let error = lab.fails(&["status"], 1);
    assert!(error.contains("there is no lab in this directory"), "{error}");
    lab.ok(&["up", "core-01"]);
    for command in [
        &["status", "core-09"][..],
        &["ssh", "core-09"],
        &["destroy", "-f", "core-9"],
        &["exec", "core-01,core-09", "--", "true"],
        &["logs", "core-09"],
        &["reload", "core-09"],
        &["halt", "core-09"],
        &["ssh-config", "core-09"],
    ] {
        four_parts(&lab.fails(command, 2));
    }
    // Asking is for somebody who can answer.
    let error = lab.fails(&["destroy"], 2);
    assert!(error.contains("destroy -f"), "{error}");
    assert_eq!(lab.on("core-01", "hostname").trim(), "core-01");
    lab.ok(&["destroy", "-f"]);
    let error = lab.fails(&["destroy", "-f"], 1);
    four_parts(&error);
    assert!(error.contains("there is no lab in this directory"), "{error}");
    lab.gone();
}

#[test]
fn a_port_that_was_asked_for_and_somebody_else_took_is_a_conflict() {
    let lab = Lab::bare(1);
    let port = corelab_tests::ports::claim_row(1)[0].number;
    lab.ok(&["up", "--forwarded-ports", &format!("80={port}")]);
    lab.ok(&["halt"]);
    let taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
    let error = lab.fails(&["up"], 11);
    four_parts(&error);
    assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(error.contains("core-01:80"), "{error}");
    assert_eq!(lab.supervisor(), None, "a supervisor of nothing");
    assert_eq!(lab.node("core-01")["state"], "halted");
    drop(taken);
    lab.ok(&["up"]);
    lab.gone();
}

#[test]
fn without_an_image_and_the_means_to_make_one_the_lab_says_what_to_install() {
    let lab = Lab::bare(1);
    let empty = short("le");
    let mut command = lab.command(tools::lab());
    command
        .arg("up")
        .env("PATH", empty.path())
        .env("XDG_CACHE_HOME", empty.path());
    // `timeout` itself is found by its path.
    let output = run(&mut command_by_path(command));
    assert_eq!(output.status.code(), Some(10), "{}", outputs(&output));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    four_parts(&error);
    assert!(
        error.contains("mmdebstrap") && error.contains("lab image add"),
        "{error}"
    );
    assert!(!lab.dir().join(".lab").exists(), "something was begun");
    lab.gone();
}

/// A command whose PATH does not hold its own program.
fn command_by_path(command: std::process::Command) -> std::process::Command {
    let mut found = std::process::Command::new("/usr/bin/timeout");
    found.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => found.env(name, value),
            None => found.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        found.current_dir(dir);
    }
    found.stdin(std::process::Stdio::null());
    found
}

#[test]
fn where_namespaces_are_refused_the_lab_says_so() {
    let lab = Lab::bare(1);
    let mut command = lab.command("setpriv");
    command
        .args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"])
        .arg(tools::lab())
        .arg("up");
    let output = run(&mut command);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(10), "{}", outputs(&output));
    four_parts(&error);
    assert!(error.contains("namespaces") && error.contains("doctor"), "{error}");
    assert!(!lab.dir().join(".lab").exists(), "something was begun");
    lab.gone();
}

#[test]
fn where_no_more_namespaces_are_allowed_the_node_says_so() {
    let lab = Lab::bare(1);
    // The limit is that of a user namespace made for this: the machine's stays.
    let mut command = lab.command("sh");
    command.arg("-euc").arg(
        "own=$(readlink /proc/self/ns/user)
         unshare --user --mount sleep 100 & pid=$!; trap 'kill $pid' EXIT
         until [ \"$(readlink /proc/$pid/ns/user)\" != \"$own\" ]; do sleep 0.01; done
         echo 0 0 4294967295 > /proc/$pid/uid_map; echo 0 0 4294967295 > /proc/$pid/gid_map
         nsenter --user --mount --target $pid --setuid 0 --setgid 0 sh -euc '
           cd \"$1\"; echo 0 > /proc/sys/user/max_user_namespaces
           status=0; lab up || status=$?
           lab destroy -f; exit $status' - \"$PWD\"",
    );
    let output = run(&mut command);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(10), "{}", outputs(&output));
    four_parts(&error);
    assert!(error.contains("lab doctor"), "{error}");
    assert!(error.contains("no more namespaces are allowed"), "{error}");
    lab.gone();
}

#[test]
fn a_full_disk_stops_the_start_and_room_lets_it_go_on() {
    let lab = Lab::bare(1);
    // The room is only in the mount namespace of those who use it.
    let shell = |line: &str| {
        let mut command = lab.command("unshare");
        command.args(["--mount", "sh", "-euc", line]);
        run(&mut command)
    };
    let output = shell(
        "mount -t tmpfs -o size=32k none \"$XDG_STATE_HOME\"
         status=0; lab up || status=$?
         test $status = 1
         mount -o remount,size=256m \"$XDG_STATE_HOME\"
         lab up; lab ssh core-01 -- hostname; lab destroy -f; ls \"$XDG_STATE_HOME/lab\"",
    );
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}", outputs(&output));
    four_parts(&error);
    assert!(error.contains("No space left on device"), "{error}");
    lab.gone();
}

#[test]
fn a_record_that_cannot_be_read_is_named_with_what_to_do() {
    let lab = Lab::bare(1);
    fs::create_dir(lab.dir().join(".lab")).expect("make .lab");
    lab.write(".lab/lab.json", "{");
    let error = lab.fails(&["up"], 1);
    four_parts(&error);
    assert!(error.contains("lab.json") && error.contains("gc"), "{error}");
    fs::remove_dir_all(lab.dir().join(".lab")).expect("remove .lab");
    lab.gone();
}
