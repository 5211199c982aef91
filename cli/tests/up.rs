//! A lab's life with real members: up, a member killed, up again, down, nothing left.
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A directory with a lab in it; whatever the test does, nothing of the lab stays.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
        lab.args(arguments).current_dir(self.dir.path());
        lab.output().expect("run lab")
    }

    /// Runs a command that has to succeed; what it printed.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The members as `lab status` has them.
    #[track_caller]
    fn members(&self) -> Vec<Value> {
        let status: Value = serde_json::from_str(&self.ok(&["status", "--format", "json"])).expect("JSON");
        status["members"].as_array().expect("members").clone()
    }

    #[track_caller]
    fn states(&self) -> Vec<String> {
        let text = |member: Value| member["state"].as_str().expect("a state").to_string();
        self.members().into_iter().map(text).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.run(&["down", "--destroy"]);
    }
}

fn new_lab() -> Lab {
    let dir = tempfile::tempdir().expect("a directory");
    Lab { dir }
}

/// Starts a lab of three at free ports: below the kernel's own range, beside those of the other tests.
fn up_somewhere(lab: &Lab) -> u16 {
    let from = 20_100 + std::process::id() % 100 * 100;
    for base in (from..from + 2000).step_by(100) {
        let output = lab.run(&["up", "--client-port", &base.to_string()]);
        match output.status.code() {
            Some(0) => return u16::try_from(base).expect("a port"),
            Some(11) => continue,
            _ => panic!("lab up: {output:?}"),
        }
    }
    panic!("no free ports");
}

fn runs(member: &Value) -> bool {
    fs::read_link(format!("/proc/{}/exe", member["pid"])).is_ok()
}

#[test]
fn a_lab_comes_up_survives_a_killed_member_and_goes_down_without_a_trace() {
    let lab = new_lab();
    assert_eq!(lab.run(&["status"]).status.code(), Some(1), "there is no lab yet");
    up_somewhere(&lab);
    assert_eq!(lab.states(), ["healthy"; 3]);
    let first = lab.members();
    let leaders = first.iter().filter(|member| member["role"] == "leader").count();
    assert_eq!(leaders, 1, "{first:?}");
    assert!(
        lab.ok(&["up"])
            .starts_with("already running: core-01 core-02 core-03\n")
    );
    assert_eq!(lab.members()[0]["pid"], first[0]["pid"]);

    let pid = first[1]["pid"].as_i64().expect("a pid");
    kill_process(Pid::from_raw(pid as i32).expect("a pid"), Signal::KILL).expect("kill core-02");
    while runs(&first[1]) {
        std::thread::yield_now();
    }
    assert_eq!(lab.states()[1], "stopped");
    let again = lab.ok(&["up"]);
    assert!(again.contains("started core-02\n"), "{again}");
    assert_eq!(lab.states(), ["healthy"; 3]);
    let second = lab.members();
    assert_eq!(second[0]["pid"], first[0]["pid"], "one that runs is left alone");
    assert_ne!(second[1]["pid"], first[1]["pid"]);

    lab.ok(&["down"]);
    assert_eq!(lab.states(), ["stopped"; 3]);
    assert!(!second.iter().any(runs), "members run after lab down");
    assert!(
        Path::new(&lab.dir.path().join(".lab/core-01.etcd/member")).is_dir(),
        "the data stays"
    );
    lab.ok(&["up"]);
    let third = lab.members();
    lab.ok(&["down", "--destroy"]);
    assert!(!third.iter().any(runs), "members run after lab down --destroy");
    let left = fs::read_dir(lab.dir.path()).expect("the directory").count();
    assert_eq!(left, 0, "files are left");
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_moves_the_lab() {
    let lab = new_lab();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let output = lab.run(&["up", "--num-instances", "1", "--client-port", &port.to_string()]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(11), "{text}");
    assert!(
        text.contains(&format!("port {port}, on which core-01 listens for clients")),
        "{text}"
    );
    assert!(text.contains("up --client-port"), "{text}");
}

#[test]
fn wrong_usage_exits_with_2() {
    assert_eq!(new_lab().run(&["up", "--num-instances", "10"]).status.code(), Some(2));
}
