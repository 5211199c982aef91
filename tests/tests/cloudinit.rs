//! coreos-cloudinit: the runs recorded from the original replayed, and what `--strict` does better.
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use corelab_tests::cloudinit::{Machine, without_numbers, without_stamp};
use corelab_tests::{tools, tree};
use serde_json::Value;

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

#[track_caller]
fn assert_untouched(machine: &Machine, before: &tree::Tree, output: &Output) {
    let changed = tree::difference(before, &tree::read(&machine.root()));
    assert!(changed.is_empty(), "{changed:?}\n{}", tools::outputs(output));
}

fn stderr(output: &Output) -> String {
    log(&String::from_utf8_lossy(&output.stderr)).join("\n")
}

#[test]
fn strictly_an_error_points_at_its_place_and_nothing_is_applied() {
    let machine = Machine::new();
    let before = tree::read(&machine.root());
    let text = b"#cloud-config\nhostnmae: core-01\nwrite_files:\n- path: /opt/x\n  permissions: 420\n  content: $public_ipv4\n";
    for (args, end) in [
        (&["-strict", "-validate"][..], "\n3 errors"),
        (&["-strict"], "\n3 errors; nothing was applied"),
    ] {
        let output = machine.run(args, text);
        assert_eq!(output.status.code(), Some(1));
        let stderr = stderr(&output);
        for expected in [
            "u:2:1: error: unrecognized key \"hostnmae\": did you mean \"hostname\"?\n  2 | hostnmae: core-01\n    | ^",
            "u:5:16: error: permissions 420 look like 0644",
            "u:6:12: error: $public_ipv4 has no value here: set COREOS_PUBLIC_IPV4",
        ] {
            assert!(stderr.contains(expected), "no {expected:?} in\n{stderr}");
        }
        assert!(stderr.ends_with(end), "no {end:?} at the end of\n{stderr}");
        assert_untouched(&machine, &before, &output);
        assert_eq!(machine.calls(), [""; 0]);
    }
}

#[test]
fn strictly_nothing_is_half_applied() {
    let machine = Machine::new();
    for (why, text) in [
        (
            "cannot be below /opt/f",
            "write_files:\n- {path: /opt/a, content: a}\n- {path: /opt/f, content: f}\n- {path: /opt/f/g, content: g}\n",
        ),
        (
            "no user or group for owner \"nobody-here\"",
            "write_files:\n- {path: /opt/a, content: a}\n- {path: /opt/b, owner: nobody-here}\n",
        ),
        (
            "open /usr/share/coreos/update.conf",
            "write_files:\n- {path: /opt/a, content: a}\ncoreos: {update: {group: g}}\n",
        ),
        (
            "/etc is a directory",
            "write_files:\n- {path: /opt/a, content: a}\n- {path: /etc, content: a}\n",
        ),
    ] {
        let before = tree::read(&machine.root());
        let output = machine.run(&["-strict"], format!("#cloud-config\n{text}").as_bytes());
        assert_eq!(output.status.code(), Some(1), "{}", tools::outputs(&output));
        assert!(
            stderr(&output).contains(why),
            "no {why:?} in\n{}",
            tools::outputs(&output)
        );
        assert_untouched(&machine, &before, &output);
    }
}

#[test]
fn strictly_values_are_escaped_and_a_scripts_first_line_counts() {
    let machine = Machine::new();
    let output = machine.run(
        &["-strict"],
        b"#cloud-config\ncoreos:\n  etcd2:\n    name: 'a\"b 5%'\n  units:\n  - {name: x.service, command: start}\n",
    );
    assert!(output.status.success(), "{}", tools::outputs(&output));
    let drop_in = fs::read_to_string(
        machine
            .root()
            .join("run/systemd/system/etcd2.service.d/20-cloudinit.conf"),
    );
    assert_eq!(
        drop_in.expect("a drop-in"),
        "[Service]\nEnvironment=\"ETCD_NAME=a\\\"b 5%%\"\n"
    );
    assert_eq!(
        machine.calls(),
        ["DBUS Reload []", "DBUS StartUnit ['x.service', 'replace']"]
    );
    let output = machine.run(&["-strict"], b"#!/usr/bin/python3\nprint(1)\n");
    assert!(output.status.success(), "{}", tools::outputs(&output));
    let calls = machine.calls();
    assert!(
        calls[0].contains("['/ws/scripts/N', ['/ws/scripts/N'], False]"),
        "{calls:?}"
    );
}

#[test]
fn strictly_what_cannot_be_read_fails_validation() {
    let machine = Machine::new();
    let output = tools::run(machine.command().args(["-from-file", "/opt", "-validate", "-strict"]));
    assert_eq!(output.status.code(), Some(1), "{}", tools::outputs(&output));
    assert!(
        stderr(&output).contains("read /opt: is a directory"),
        "{}",
        tools::outputs(&output)
    );
}

#[test]
fn applying_twice_leaves_what_applying_once_leaves() {
    let machine = Machine::new();
    machine.write("/etc/coreos/update.conf", b"GROUP=alpha\n");
    let text = b"#cloud-config\nhostname: a\nmanage_etc_hosts: localhost\nwrite_files:\n- {path: /opt/a, content: a, owner: root}\ncoreos:\n  etcd2: {name: n}\n  flannel: {interface: eth0}\n  update: {reboot-strategy: 'off'}\n  units:\n  - {name: m.service, mask: true, content: x}\n  - {name: r.service, runtime: true, content: x}\n";
    for strict in [&[][..], &["-strict"]] {
        let output = machine.run(strict, text);
        assert!(output.status.success(), "{}", tools::outputs(&output));
        let once = tree::read(&machine.root());
        let again = machine.run(strict, text);
        assert!(again.status.success(), "{}", tools::outputs(&again));
        assert_eq!(tree::difference(&once, &tree::read(&machine.root())), tree::Tree::new());
    }
}

/// Without update-ssh-keys the applet keeps authorized_keys itself: a set of keys under each name, and all of them together.
#[test]
fn keys_are_kept_where_there_is_no_update_ssh_keys() {
    let machine = Machine::new();
    machine.write(
        "/etc/passwd",
        b"root:x:0:0:root:/root:/bin/bash\ncore:x:500:500::/srv/core:/bin/bash\n",
    );
    let bin = machine.dir.path().join("bin");
    fs::create_dir(&bin).expect("a directory");
    fs::write(
        machine.cwd().join("u"),
        "#cloud-config\nssh_authorized_keys: [' ssh-rsa A ', ssh-rsa B]\n",
    )
    .expect("user-data");
    for (name, expected) in [
        ("one", "ssh-rsa A\nssh-rsa B\n"),
        ("two", "ssh-rsa A\nssh-rsa B\nssh-rsa A\nssh-rsa B\n"),
    ] {
        let mut command = machine.command();
        command
            .env("PATH", &bin)
            .args(["-from-file", "u", "-ssh-key-name", name]);
        let output = tools::run(&mut command);
        assert!(output.status.success(), "{}", tools::outputs(&output));
        let tree = tree::read(&machine.root());
        let keys = &tree["/srv/core/.ssh/authorized_keys"];
        assert_eq!(
            (keys["content"].as_str(), keys["mode"].as_str(), keys["uid"].as_u64()),
            (Some(expected), Some("0600"), Some(500))
        );
    }
}

/// Programs that really run: accounts are made in the tree, the machine keeps its name and its users.
#[test]
fn a_tree_apart_is_set_up_without_touching_the_machine() {
    let machine = Machine::new();
    for name in ["shadow", "gshadow"] {
        machine.write(&format!("/etc/{name}"), b"root:*:19000:0:99999:7:::\n");
    }
    let user_data = "#cloud-config\nhostname: apart\nusers:\n- {name: in-the-tree, gecos: In Tree, homedir: /srv/t, shell: /bin/sh, ssh-authorized-keys: [ssh-rsa T]}\n- {name: root, passwd: hashed}\n";
    fs::write(machine.cwd().join("u"), user_data).expect("user-data");
    let output = tools::run(machine.command().args(["-strict", "-from-file", "u"]));
    assert!(output.status.success(), "{}", tools::outputs(&output));
    let read = |path: &str| fs::read_to_string(machine.root().join(path)).unwrap_or_default();
    assert_eq!(read("etc/hostname"), "apart\n");
    assert!(
        read("etc/passwd").contains(":In Tree:/srv/t:/bin/sh\n"),
        "{}",
        read("etc/passwd")
    );
    assert!(read("etc/shadow").contains("root:hashed:"), "{}", read("etc/shadow"));
    assert_eq!(read("srv/t/.ssh/authorized_keys"), "ssh-rsa T\n");
    assert!(
        !fs::read_to_string("/etc/passwd")
            .expect("the machine's users")
            .contains("in-the-tree")
    );
    fs::write(
        machine.cwd().join("u"),
        "#cloud-config\ncoreos: {units: [{name: x.service, command: start}]}\n",
    )
    .expect("user-data");
    let output = tools::run(machine.command().args(["-from-file", "u"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("no systemd is known for"),
        "{}",
        tools::outputs(&output)
    );
}
