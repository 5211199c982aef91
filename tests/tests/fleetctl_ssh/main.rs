//! fleetctl over SSH against a real sshd: hosts' keys, who we are, tunnels, and commands on machines.
mod commands;
mod etcd;
mod host_keys;
mod reaching;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;

use corelab_tests::process::kill;
use corelab_tests::sshd::{Agent, KINDS, Sshd, keygen};
use corelab_tests::{eventually, ports, tools};
use rustix::process::Signal;
use tempfile::TempDir;

const NO_AGENT: &str = "SSH_AUTH_SOCK environment variable is not set. Verify ssh-agent is running. See \
    https://github.com/coreos/fleet/blob/master/Documentation/using-the-client.md for help.\n";
const FAR: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A user with a home, a key, an agent that holds it, and a fleet API with one machine, which is 127.0.0.1.
struct User {
    dir: TempDir,
    agent: Agent,
    /// The API's sockets.
    unix: PathBuf,
    http: String,
}

impl User {
    #[track_caller]
    fn new() -> User {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["home", "bin"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        let key = dir.path().join("key");
        keygen("ed25519", &key, "");
        let agent = Agent::start(dir.path(), &[&key]);
        let bin = dir.path().join("bin");
        symlink(tools::labnode(), bin.join("fleetctl")).expect("a link");
        for program in ["systemctl", "journalctl", "sudo"] {
            let file = bin.join(program);
            fs::write(&file, "#!/bin/sh\necho \"${0##*/} $*\"\nexit 3\n").expect("write a program");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("make it run");
        }
        let unix = dir.path().join("fleet.sock");
        let listener = UnixListener::bind(&unix).expect("listen");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream.try_clone().expect("a second handle"), stream);
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let http = format!("http://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream.try_clone().expect("a second handle"), stream);
            }
        });
        User { dir, agent, unix, http }
    }

    /// With an sshd whose key is known.
    #[track_caller]
    fn with_a_host() -> (User, Sshd) {
        let user = User::new();
        let sshd = user.sshd(&["ecdsa"]);
        user.know(&sshd, "ecdsa");
        (user, sshd)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sshd(&self, kinds: &[&str]) -> Sshd {
        Sshd::start(&self.path("key"), kinds, &self.path("bin"))
    }

    fn known_hosts(&self) -> PathBuf {
        self.path("home/.fleetctl/known_hosts")
    }

    fn know(&self, sshd: &Sshd, kind: &str) {
        let file = self.known_hosts();
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        let mut out = fs::File::options().create(true).append(true).open(file).expect("open");
        writeln!(out, "{} {}", sshd.name(), sshd.public(kind)).expect("write");
    }

    /// fleetctl as root on the other side, with the user's agent.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["--foreground", "-k", "5", "60"])
            .arg(tools::labnode())
            .arg("fleetctl");
        command.args(args).env_clear();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display());
        command
            .env("PATH", path)
            .env("HOME", self.path("home"))
            .env("TERM", "vt100");
        command
            .env("SSH_AUTH_SOCK", &self.agent.socket)
            .env("FLEETCTL_SSH_USERNAME", "root");
        command.env("FLEETCTL_ENDPOINT", format!("unix://{}", self.unix.display()));
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str], input: &str) -> Output {
        feed(self.command(args), input)
    }

    /// `fleetctl ssh` to the one machine that there is.
    #[track_caller]
    fn ssh(&self, sshd: &Sshd, args: &[&str], input: &str) -> Output {
        let port = sshd.port.number.to_string();
        let mut all = vec!["ssh", "--ssh-port", &port];
        all.extend(args);
        self.run(&all, input)
    }
}

#[track_caller]
fn feed(mut command: Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("start fleetctl");
    let mut to = child.stdin.take().expect("a pipe");
    thread::scope(|scope| {
        // Beside the reading: an answer may fill its pipe first. One that does not read has an end of its own.
        scope.spawn(move || to.write_all(input.as_bytes()));
        child.wait_with_output().expect("wait for fleetctl")
    })
}

/// Answers one request as fleet does.
fn serve(from: impl Read, mut to: impl Write) {
    let mut lines = BufReader::new(from).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    while lines.next().is_some_and(|line| !line.is_empty()) {}
    let here = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let unit = |machine: &str, more: &str| {
        format!(r#"{{"currentState":"launched","desiredState":"launched","machineID":"{machine}"{more}}}"#)
    };
    let path = request.split([' ', '?']).nth(1).unwrap_or_default();
    let body = match path {
        "/fleet/v1/machines" => format!(r#"{{"machines":[{{"id":"{FAR}","metadata":{{}},"primaryIP":"127.0.0.1"}}]}}"#),
        "/fleet/v1/units/far.service" => unit(FAR, ""),
        "/fleet/v1/units/near.service" => unit(here.trim(), ""),
        "/fleet/v1/units/glob.service" => unit(
            "",
            r#","options":[{"section":"X-Fleet","name":"Global","value":"true"}]"#,
        ),
        "/fleet/v1/units/down.service" => r#"{"currentState":"inactive","desiredState":"inactive"}"#.to_string(),
        _ => String::new(),
    };
    let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
    let _ = write!(to, "HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{body}");
}

/// Exit status, stdout, stderr.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[track_caller]
fn assert_said(output: &Output, status: i32, stdout: &str, stderr: &str) {
    assert_eq!(said(output), (status, stdout.to_string(), stderr.to_string()));
}
