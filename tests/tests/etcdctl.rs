//! etcdctl: the runs recorded from 2.3.8 replayed on our server and on Debian's, backups, and what is better.
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::writers::Writers;
use corelab_tests::{ports, tools};

/// Our programs under the names they are called by.
fn links(dir: &Path) {
    for name in ["etcd", "etcdctl"] {
        symlink(tools::labnode(), dir.join(name)).expect("a link");
    }
}

/// Replays the cases of one server; `only` picks them by name. All have to pass, and there have to be so many.
#[track_caller]
fn replay(server: &Path, extra: &str, only: &str, cases: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    links(dir.path());
    let server = if server.is_absolute() {
        server.to_path_buf()
    } else {
        dir.path().join(server)
    };
    let recorded = tools::repository().join("tests/conformance/etcd2");
    let row = ports::claim_row(16);
    let mut replayer = Command::new("python3");
    replayer
        .arg("-B")
        .arg(recorded.join("replay_etcdctl.py"))
        .arg(dir.path().join("etcdctl"))
        .arg(server)
        .arg(recorded.join("etcdctl.jsonl"))
        .args(["--only", only])
        .env("BASEPORT", row[0].number.to_string())
        .env("EXTRA", extra);
    let output = tools::run(&mut replayer);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let summary = stdout.lines().last().unwrap_or_default();
    assert_eq!(
        summary,
        format!("{cases} passed, 0 failed"),
        "{}",
        tools::outputs(&output)
    );
}

#[test]
fn every_recorded_run_ends_the_same_on_our_server() {
    replay(Path::new("etcd"), "", ".", 236);
}

#[test]
fn the_key_commands_work_on_debians_etcd() {
    let only = "^(set|get|mk|mkdir|setdir|update|updatedir|rm|rmdir|ls|watch|exec-watch)";
    replay(Path::new("/usr/bin/etcd"), "--enable-v2=true", only, 117);
}

#[track_caller]
fn etcdctl(args: &[&str]) -> Output {
    let output = tools::run(Command::new(tools::labnode()).arg("etcdctl").args(args));
    assert!(output.status.success(), "etcdctl {args:?}: {}", tools::outputs(&output));
    output
}

/// Starts what is in a directory as a cluster of its own.
#[track_caller]
fn start(dir: &Path) -> Cluster {
    let mut cluster = Setup::members(1).data_dir(0, dir).prepare();
    cluster.members[0].restart();
    cluster
}

#[test]
fn a_backup_of_a_member_under_load_holds_what_was_acknowledged_before_it() {
    for online in [false, true] {
        let mut cluster = Setup::members(1).flag("snapshot-count", 200).start();
        // Later terms than the first are in its log then, as in that of any cluster that has lived for a while.
        cluster.members[0].stop();
        cluster.members[0].restart();
        let mut writers = Writers::start([cluster.members[0].client].into_iter(), 4, 256);
        for number in 0..10 {
            writers.wait_for(200 * (number + 1));
            let value = number.to_string();
            cluster.members[0].set("/last", &format!("value={value}"));
            let to = cluster.dir.path().join(format!("backup-{number}"));
            let (to, from) = (
                to.display().to_string(),
                cluster.members[0].data_dir.display().to_string(),
            );
            match online {
                true => etcdctl(&[
                    "--endpoints",
                    &cluster.members[0].url(),
                    "backup",
                    "--online",
                    "--backup-dir",
                    &to,
                ]),
                false => etcdctl(&["backup", "--data-dir", &from, "--backup-dir", &to]),
            };
            let restored = start(Path::new(&to));
            assert_eq!(restored.members[0].key("/last")["node"]["value"], value.as_str());
            let members = restored.members[0].members("GET", "", "").json();
            assert_eq!(members["members"].as_array().map(Vec::len), Some(1), "{members}");
            restored.members[0].set("/new", "value=1");
        }
        writers.stop();
    }
}

#[test]
fn a_backup_never_overwrites_and_leaves_nothing_behind_when_it_fails() {
    let cluster = Setup::members(1).start();
    let to = cluster.dir.path().join("backup");
    let (to, from) = (
        to.display().to_string(),
        cluster.members[0].data_dir.display().to_string(),
    );
    etcdctl(&["backup", "--data-dir", &from, "--backup-dir", &to]);
    let again = tools::run(Command::new(tools::labnode()).args([
        "etcdctl",
        "backup",
        "--data-dir",
        &from,
        "--backup-dir",
        &to,
    ]));
    assert_eq!(again.status.code(), Some(1));
    assert!(
        tools::outputs(&again).contains("is not empty"),
        "{}",
        tools::outputs(&again)
    );
    let left: Vec<_> = std::fs::read_dir(&to)
        .expect("the backup")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["member"]);
}
