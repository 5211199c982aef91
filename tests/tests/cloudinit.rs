//! coreos-cloudinit: the runs recorded from the original replayed, and what `--strict` does better.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use corelab_tests::{tools, tree};
use serde_json::Value;
use tempfile::TempDir;

/// A root with what every recorded run found, and a directory to run in.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine {
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        for dir in ["cwd", "root/opt"] {
            fs::create_dir_all(machine.dir.path().join(dir)).expect("a directory");
        }
        machine.write("/etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n");
        machine.write("/etc/group", b"root:x:0:\n");
        machine.write("/etc/hostname", b"orig-host\n");
        machine
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn cwd(&self) -> PathBuf {
        self.dir.path().join("cwd")
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(tools::labnode());
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(self.cwd());
        command.arg("coreos-cloudinit").arg("--root").arg(self.root());
        command
    }

    /// Runs on this user-data, with commands and calls only written down.
    #[track_caller]
    fn run(&self, args: &[&str], user_data: &[u8]) -> Output {
        fs::write(self.cwd().join("u"), user_data).expect("user-data");
        let mut command = self.command();
        command
            .arg("--trace")
            .arg(self.trace())
            .args(["-from-file", "u", "-workspace", "/ws"]);
        tools::run(command.args(args))
    }

    fn trace(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.trace()).unwrap_or_default();
        text.lines().map(without_numbers).collect()
    }
}

/// Names that were made up by chance, without their numbers.
fn without_numbers(text: &str) -> String {
    let mut out = text.to_string();
    for prefix in ["/scripts/", "coreos-cloudinit-", "cloudinit-temp"] {
        let mut parts = out.split(prefix);
        let mut next = parts.next().unwrap_or_default().to_string();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            let number = if rest.len() < part.len() { "N" } else { "" };
            next += &format!("{prefix}{number}{rest}");
        }
        out = next;
    }
    out
}

/// The validator's rules, by what their messages have in common: within one the order is the original's map's.
fn rule(line: &str) -> Option<usize> {
    let message = line.strip_prefix("line ")?.split_once(": ")?.1.split_once(": ")?.1;
    let rules: [&[&str]; 6] = [
        &["discovery URL"],
        &["content cannot"],
        &["incorrect type", "deprecated key", "unrecognized key"],
        &["invalid value"],
        &["file cannot"],
        &["write_files doesn't"],
    ];
    let found = rules
        .iter()
        .position(|starts| starts.iter().any(|start| message.starts_with(start)));
    Some(found.unwrap_or(rules.len()))
}

/// The log without time stamps and chance, messages of one rule sorted.
fn log(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| without_numbers(without_stamp(line))).collect();
    let mut at = 0;
    while at < lines.len() {
        let this = rule(&lines[at]);
        let end = lines[at..]
            .iter()
            .position(|line| rule(line) != this)
            .map_or(lines.len(), |length| at + length);
        if this.is_some() {
            lines[at..end].sort();
        }
        at = end.max(at + 1);
    }
    lines
}

fn without_stamp(line: &str) -> &str {
    let is_stamp = |stamp: &str| {
        let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
        stamp.chars().map(shape).collect::<String>() == "0000/00/00 00:00:00 "
    };
    match line.get(..20) {
        Some(stamp) if is_stamp(stamp) => &line[20..],
        _ => line,
    }
}

/// What is wrong with one run; nothing if it is as recorded.
fn replay(case: &Value) -> Vec<String> {
    let machine = Machine::new();
    let texts = |key: &str| case[key].as_object().cloned().unwrap_or_default();
    for (path, content) in texts("preexisting") {
        machine.write(&path, content.as_str().unwrap_or_default().as_bytes());
    }
    for (name, content) in texts("input") {
        let content = content.as_str().unwrap_or_default();
        let bytes = match content.strip_prefix("b64:") {
            Some(encoded) => decode(encoded),
            None => content.as_bytes().to_vec(),
        };
        fs::write(machine.cwd().join(name), bytes).expect("an input");
    }
    let before = tree::read(&machine.root());
    let mut command = machine.command();
    let stderr = case["stderr"].as_str().unwrap_or_default();
    // The one kind of case that reaches for the bus: there is none where it looks.
    match stderr
        .split_once("dial unix ")
        .and_then(|(_, rest)| rest.split_once(':'))
    {
        Some((socket, _)) => command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={socket}")),
        None => command.arg("--trace").arg(machine.trace()),
    };
    for arg in case["args"].as_array().into_iter().flatten().skip(1) {
        command.arg(arg.as_str().unwrap_or_default());
    }
    command.envs(
        texts("env")
            .iter()
            .map(|(name, value)| (name, value.as_str().unwrap_or_default())),
    );
    let output = tools::run(&mut command);
    let mut wrong = Vec::new();
    let mut compare = |what: &str, found: String, expected: String| {
        if found != expected {
            wrong.push(format!("{what}:\n--- expected\n{expected}\n--- found\n{found}"));
        }
    };
    compare(
        "exit",
        format!("{:?}", output.status.code()),
        format!("{:?}", case["exit"].as_i64().map(|code| code as i32)),
    );
    if let Some(expected) = case["stdout"].as_str() {
        compare(
            "stdout",
            String::from_utf8_lossy(&output.stdout).into_owned(),
            expected.into(),
        );
    }
    if case["stderr"].is_string() {
        // The recorded systemd failed units with such a name on purpose; a trace does not know what becomes of a job.
        let known = |line: String| match line.contains("fails") && line.starts_with("Result of ") {
            true => line.replace(": failed", ": done"),
            false => line,
        };
        let lines = |text: &str| log(text).into_iter().map(known).collect::<Vec<_>>().join("\n");
        compare("stderr", lines(&String::from_utf8_lossy(&output.stderr)), lines(stderr));
    }
    let calls = case["calls"].as_array().into_iter().flatten();
    let calls: Vec<String> = calls
        .map(|call| without_numbers(call.as_str().unwrap_or_default()))
        .collect();
    compare("calls", machine.calls().join("\n"), calls.join("\n"));
    let named = |tree: tree::Tree| {
        let lines = tree
            .iter()
            .map(|(path, found)| without_numbers(&format!("{path} {found}")));
        lines.collect::<Vec<_>>().join("\n")
    };
    let expected: tree::Tree = texts("files").into_iter().collect();
    let found = tree::difference(&before, &tree::read(&machine.root()));
    compare("files", named(found), named(expected));
    wrong
}

fn decode(text: &str) -> Vec<u8> {
    let mut command = Command::new("base64");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("encoded");
    fs::write(&path, text).expect("a file");
    tools::run(command.arg("-d").arg(path)).stdout
}

/// CORELAB_CLOUDINIT_CASES names another file of cases than the one in the repository.
#[test]
fn every_recorded_run_ends_the_same() {
    let ours = tools::repository().join("tests/cloudinit/cases.jsonl");
    let other = std::env::var_os("CORELAB_CLOUDINIT_CASES");
    let file = other.as_ref().map_or(ours.as_path(), Path::new);
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let cases: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a case"))
        .collect();
    assert!(other.is_some() || cases.len() == 83, "{} cases", cases.len());
    let next = AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let wrong = replay(case);
                    if !wrong.is_empty() {
                        let text = format!("===== {}\n{}", case["name"], wrong.join("\n"));
                        failed.lock().expect("the failures").push(text);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("the failures");
    assert!(
        failed.is_empty(),
        "{} of {} fail\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}
