//! A machine for coreos-cloudinit: a tree for its root, and a trace in the place of its commands.
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::tools;

/// A root with what every recorded run found, and a directory to run in.
pub struct Machine {
    pub dir: TempDir,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

impl Machine {
    pub fn new() -> Machine {
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

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn cwd(&self) -> PathBuf {
        self.dir.path().join("cwd")
    }

    pub fn write(&self, path: &str, content: &[u8]) {
        let path = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    pub fn command(&self) -> Command {
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
    pub fn run(&self, args: &[&str], user_data: &[u8]) -> Output {
        fs::write(self.cwd().join("u"), user_data).expect("user-data");
        let mut command = self.command();
        command
            .arg("--trace")
            .arg(self.trace())
            .args(["-from-file", "u", "-workspace", "/ws"]);
        tools::run(command.args(args))
    }

    pub fn trace(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.trace()).unwrap_or_default();
        text.lines().map(without_numbers).collect()
    }
}

/// Names that were made up by chance, without their numbers.
pub fn without_numbers(text: &str) -> String {
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

/// A line of the log without its time.
pub fn without_stamp(line: &str) -> &str {
    let is_stamp = |stamp: &str| {
        let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
        stamp.chars().map(shape).collect::<String>() == "0000/00/00 00:00:00 "
    };
    match line.get(..20) {
        Some(stamp) if is_stamp(stamp) => &line[20..],
        _ => line,
    }
}
