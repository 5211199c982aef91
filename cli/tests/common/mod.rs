//! A directory with a `lab` in it, for tests that start no node.
#![allow(dead_code, reason = "each test binary has its own copy, and uses a part of it")]
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Dir {
        Dir(tempfile::tempdir().expect("a directory"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A program of that name, before all others.
    pub fn program(&self, name: &str, script: &str) {
        let bin = self.path().join("bin");
        fs::create_dir_all(&bin).expect("a directory for programs");
        fs::write(bin.join(name), script).expect("a program");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// With nothing of whoever runs the test: no settings, no proxy, no boxes.
    pub fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env("PATH", format!("{}:{path}", self.path().join("bin").display()))
            .env("HOME", self.path().join("user"))
            .env("VAGRANT_HOME", self.path().join("home"))
            .env("VAGRANT_CHECKPOINT_DISABLE", "1")
            // Nobody's machines are touched, also where libvirt runs.
            .env("LIBVIRT_DEFAULT_URI", "qemu+unix:///system?socket=/nonexistent");
        for (variable, place) in [("DATA", "data"), ("STATE", "state"), ("CACHE", "cache")] {
            command.env(format!("XDG_{variable}_HOME"), self.path().join(place));
        }
        let proxies = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
        for variable in proxies.into_iter().chain(["NUM_INSTANCES", "VAGRANT_DEFAULT_PROVIDER"]) {
            command.env_remove(variable);
        }
        command
    }

    pub fn lab(&self, arguments: &[&str]) -> Output {
        let mut lab = self.command(env!("CARGO_BIN_EXE_lab"));
        lab.args(arguments).output().expect("run lab")
    }

    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.lab(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Exit code and stderr of a command that fails.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.lab(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        (
            output.status.code().expect("an exit code"),
            String::from_utf8(output.stderr).expect("text"),
        )
    }

    pub fn vagrant(&self, provider: &str, arguments: &[&str]) -> Output {
        let mut vagrant = self.command("vagrant");
        vagrant
            .args(arguments)
            .current_dir(self.path().join("vagrant"))
            .env("VAGRANT_DEFAULT_PROVIDER", provider);
        vagrant.output().expect("run vagrant, a Debian package")
    }
}
