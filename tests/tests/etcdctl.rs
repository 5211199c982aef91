//! etcdctl: the runs recorded from 2.3.8 replayed on our server and on Debian's, backups, and what is better.
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::process::Process;
use corelab_tests::writers::Writers;
use corelab_tests::{ports, tools};

/// Our programs under the names they are called by.
fn links(dir: &Path) {
    for name in ["etcd", "etcdctl"] {
        symlink(tools::labnode(), dir.join(name)).expect("a link");
    }
}

/// Runs the recorded cases that `only` picks by name; the replayer's last line, and what it says of each that failed.
#[track_caller]
fn replay(client: &Path, server: &Path, extra: &str, only: &str) -> (String, BTreeMap<String, String>) {
    let recorded = tools::repository().join("tests/conformance/etcd2");
    let row = ports::claim_row(16);
    let mut replayer = Command::new("python3");
    replayer
        .arg("-B")
        .arg(recorded.join("replay_etcdctl.py"))
        .args([client, server])
        .arg(recorded.join("etcdctl.jsonl"))
        .args(["--only", only])
        .env("BASEPORT", row[0].number.to_string())
        .env("EXTRA", extra);
    let output = tools::run(&mut replayer);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let (cases, summary) = stdout.trim_end().rsplit_once('\n').unwrap_or(("", stdout.trim_end()));
    assert!(summary.contains(" passed, "), "{}", tools::outputs(&output));
    let failed = cases.split("FAIL ").filter_map(|case| case.split_once('\n'));
    let failed = failed.map(|(name, text)| (name.to_string(), text.trim_end().to_string()));
    (summary.to_string(), failed.collect())
}

/// The commands on keys, which Debian's programs share with 2.3.8.
const ON_KEYS: &str = "^(set|get|mk|mkdir|setdir|update|updatedir|rm|rmdir|ls|watch|exec-watch)";
const DEBIANS_ETCD: (&str, &str) = ("/usr/bin/etcd", "--enable-v2=true");

#[test]
fn every_recorded_run_ends_the_same_on_our_server() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    links(dir.path());
    let (summary, failed) = replay(&dir.path().join("etcdctl"), &dir.path().join("etcd"), "", ".");
    assert_eq!(summary, "236 passed, 0 failed", "{failed:#?}");
}

#[test]
fn the_key_commands_work_on_debians_etcd() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    links(dir.path());
    let (etcd, flags) = DEBIANS_ETCD;
    let (summary, failed) = replay(&dir.path().join("etcdctl"), Path::new(etcd), flags, ON_KEYS);
    assert_eq!(summary, "117 passed, 0 failed", "{failed:#?}");
}

/// What Debian's etcdctl 3.4 does unlike the recorded 2.3.8, whichever server it asks.
const DEBIANS_OWN: &[(&str, &str)] = &[
    (
        "exec-watch",
        "unless it is recursive it takes the command's last word for the key, and so sees nothing",
    ),
    ("exec-watch-dir", "ends the line about an ignored directory"),
    ("ls-extended", "heeds -o"),
    ("ls-recursive-json", "heeds -o"),
    ("mkdir-extended", "heeds -o"),
    ("rm-recursive-extended", "heeds -o"),
    ("rmdir-extended", "heeds -o"),
    ("rmdir-json", "heeds -o"),
    ("set-bad-ttl", "exits 1 when a flag's value is no number"),
    ("set-swap-index-nan", "exits 1 when a flag's value is no number"),
    ("setdir-json", "heeds -o"),
    ("updatedir-json", "heeds -o"),
];

#[test]
fn debians_etcdctl_cannot_tell_our_server_from_debians() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    links(dir.path());
    // The replayer takes ETCD* out of the environment.
    let client = dir.path().join("debians-etcdctl");
    let script = "#!/bin/sh\nETCDCTL_API=2 exec /usr/bin/etcdctl \"$@\"\n";
    std::fs::write(&client, script).expect("write a script");
    std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).expect("make it a program");
    let (etcd, flags) = DEBIANS_ETCD;
    let ((_, ours), (_, debians)) = std::thread::scope(|scope| {
        let debians = scope.spawn(|| replay(&client, Path::new(etcd), flags, ON_KEYS));
        (
            replay(&client, &dir.path().join("etcd"), "", ON_KEYS),
            debians.join().expect("a replay"),
        )
    });
    assert_eq!(ours, debians);
    let own: Vec<&str> = DEBIANS_OWN.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours.keys().map(String::as_str).collect::<Vec<_>>(), own);
}

/// Why nothing is seen there: the request that Debian's etcdctl sends names another key.
#[test]
fn debians_exec_watch_asks_for_the_last_word_unless_it_is_recursive() {
    let cluster = Setup::members(1).start();
    let url = cluster.members[0].url();
    for (flags, key) in [(&[][..], "last"), (&["--recursive"], "a")] {
        let mut command = Command::new("/usr/bin/etcdctl");
        command
            .env("ETCDCTL_API", "2")
            .args(["--debug", "--endpoints", &url, "exec-watch"])
            .args(flags)
            .args(["/a", "--", "echo", "last"]);
        let log = cluster.dir.path().join(format!("{key}.log"));
        Process::spawn(command, &log).wait_log(&format!("/v2/keys/{key}?"));
    }
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
