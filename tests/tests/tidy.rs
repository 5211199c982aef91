//! The rules of the source that a test can hold.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use corelab_tests::tools;

/// Lines beyond which a file is more than one thing.
const MAX_LINES: usize = 600;

/// The tracked files, as paths from the root.
fn tracked() -> Vec<String> {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(tools::repository())
        .args(["-c", "safe.directory=*", "ls-files"]);
    let output = tools::run(&mut git);
    assert!(output.status.success(), "{}", tools::outputs(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // One that is deleted and not committed yet is still listed.
    text.lines()
        .map(str::to_string)
        .filter(|path| root().join(path).is_file())
        .collect()
}

fn root() -> PathBuf {
    tools::repository().to_path_buf()
}

fn sources() -> impl Iterator<Item = (String, String)> {
    let rust = tracked().into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| {
        let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        (path, text)
    })
}

/// Fails with every line of the sources that matches, but for comments.
#[track_caller]
fn forbid(why: &str, among: impl Fn(&str) -> bool, matches: impl Fn(&str) -> bool) {
    let mut found = Vec::new();
    for (path, text) in sources().filter(|(path, _)| among(path)) {
        for (number, line) in text.lines().enumerate() {
            if matches(line) && !line.trim_start().starts_with("//") {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

/// Is `word` in the line, and not as a part of a longer name?
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

#[test]
fn only_raft_knows_openraft() {
    let outside = |path: &str| path.starts_with("node/") && !path.starts_with("node/src/raft/");
    forbid("openraft is named outside node/src/raft", outside, |line| {
        has_word(line, "openraft") && !line.contains("\"openraft")
    });
}

#[test]
fn only_systemd_knows_zbus() {
    let outside = |path: &str| path.starts_with("node/src/") && path != "node/src/systemd.rs";
    forbid("zbus is named outside node/src/systemd.rs", outside, |line| {
        has_word(line, "zbus")
    });
}

#[test]
fn only_ssh_knows_russh() {
    let outside = |path: &str| path.starts_with("node/src/") && !path.starts_with("node/src/ssh/");
    forbid("russh is named outside node/src/ssh", outside, |line| {
        has_word(line, "russh")
    });
}

#[test]
fn cloudconfig_knows_no_disk_no_network_and_no_clock() {
    let absent = [
        "tokio",
        "std::fs",
        "std::process",
        "TcpStream",
        "SystemTime",
        "Instant",
        "rand",
        "reqwest",
    ];
    let in_it = |path: &str| path.starts_with("node/src/cloudconfig/");
    forbid("node/src/cloudconfig is pure: it must not name this", in_it, |line| {
        absent.iter().any(|name| has_word(line, name))
    });
}

#[test]
fn kv_knows_no_clock_no_disk_no_network_and_no_chance() {
    let absent = [
        "tokio",
        "std::time::Instant",
        "SystemTime",
        "std::fs",
        "std::net",
        "rand",
    ];
    let in_kv = |path: &str| path.starts_with("node/src/kv/") && !path.starts_with("node/src/kv/tests");
    forbid("node/src/kv is pure: it must not name this", in_kv, |line| {
        absent.iter().any(|name| has_word(line, name)) || line.contains("time::{") && has_word(line, "Instant")
    });
}

#[test]
fn only_sys_and_ui_print() {
    let in_node = |path: &str| path.starts_with("node/src/") && path != "node/src/sys.rs";
    let macros = ["println!", "print!", "eprintln!", "eprint!", "dbg!"];
    let prints = |line: &str| macros.iter().any(|name| line.contains(name));
    forbid("only node/src/sys.rs prints", in_node, prints);
    let in_cli = |path: &str| path.starts_with("cli/src/") && path != "cli/src/ui.rs";
    forbid("only cli/src/ui.rs prints", in_cli, prints);
}

#[test]
fn what_is_rendered_knows_no_disk_no_network_and_no_clock() {
    let absent = [
        "std::fs",
        "std::net::Tcp",
        "tokio",
        "reqwest",
        "SystemTime",
        "Instant",
        "rand",
    ];
    let rooms = ["cli/src/render/", "cli/src/faults/", "cli/src/topology.rs"];
    let pure = |path: &str| rooms.iter().any(|room| path.starts_with(room));
    forbid("rendering is pure: it must not name this", pure, |line| {
        absent.iter().any(|name| has_word(line, name))
    });
}

#[test]
fn nothing_is_left_for_later() {
    // Put together, so that this file holds none of them.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["to", "do!("],
        ["unimple", "mented!("],
        ["#[ig", "nore"],
    ]
    .map(|parts| parts.concat());
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "finish it or leave it out:\n{}", found.join("\n"));
}

#[test]
fn every_file_begins_by_saying_its_job() {
    let silent: Vec<String> = sources()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(
        silent.is_empty(),
        "the first line has to be a //! comment with the file's job: {silent:?}"
    );
}

#[test]
fn no_file_is_longer_than_a_few_pages() {
    let long = sources()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines >= MAX_LINES);
    let long: Vec<(String, usize)> = long.collect();
    assert!(
        long.is_empty(),
        "split these, they have {MAX_LINES} lines or more: {long:?}"
    );
}

#[test]
fn no_tracked_file_knows_a_machine() {
    // Where some machine keeps its sources and scratch files: a clone elsewhere has neither.
    let places = [
        "/wo\u{72}k/",
        "/ho\u{6d}e/",
        "/ro\u{6f}t/",
        "/tm\u{70}/wt-",
        "/tm\u{70}/target-",
    ];
    // The home of the user that every node has.
    let node = ["/ho\u{6d}e/", "core"].concat();
    let mut found = Vec::new();
    for path in tracked()
        .into_iter()
        .filter(|path| !path.starts_with("tests/conformance/"))
    {
        let text = fs::read(root().join(&path)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let bad = text
            .lines()
            .enumerate()
            .filter(|(_, line)| places.iter().any(|place| line.replace(&node, "").contains(place)));
        found.extend(bad.map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())));
    }
    assert!(found.is_empty(), "a path of somebody's machine:\n{}", found.join("\n"));
}

#[test]
fn the_readme_names_its_two_commands() {
    let readme = fs::read_to_string(Path::new(&root()).join("README.md")).unwrap_or_default();
    for command in ["make up", "make test"] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
}
