//! The cases recorded from etcd 2.3.8, replayed byte for byte against one member and three.
use std::process::Command;

use corelab_tests::cluster::Setup;
use corelab_tests::tools;

/// Cases in which we do better than the original on purpose, and why.
const BETTERED: &[(&str, &str)] = &[(
    "ttl-overflow",
    "a ttl beyond the clock's range is kept as a long one instead of wrapping into the past",
)];

/// Replays the cases for a cluster of this size. All of them have to pass, and there have to be `cases` of them.
#[track_caller]
fn replay(size: usize, cases: usize) {
    let cluster = Setup::members(size).flag("cors", "http://allowed.example").start();
    let dir = tools::repository().join("tests/conformance/etcd2");
    let skip: Vec<String> = BETTERED.iter().map(|(name, _)| format!("^{name}$")).collect();
    let mut replayer = Command::new("python3");
    // Without -B, Python leaves its compiled modules beside the cases.
    replayer
        .arg("-B")
        .arg(dir.join("replay_http.py"))
        .arg(cluster.urls())
        .arg(dir.join("http.jsonl"));
    replayer.args(["--raw", "--skip", &skip.join("|")]);
    let output = tools::run(&mut replayer);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let summary = stdout.lines().last().unwrap_or_default();
    let expected = format!("{cases} passed, 0 failed, ");
    assert!(
        output.status.success() && summary.starts_with(&expected),
        "{}",
        tools::outputs(&output)
    );
}

#[test]
fn one_member_answers_like_etcd_byte_for_byte() {
    replay(1, 166);
}

#[test]
fn three_members_answer_like_etcd_byte_for_byte() {
    replay(3, 7);
}
