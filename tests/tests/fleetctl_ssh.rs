//! fleetctl over SSH against a real sshd: hosts' keys, who we are, tunnels, and commands on machines.
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use corelab_tests::sshd::{Agent, KINDS, Sshd, keygen};
use corelab_tests::{eventually, ports, tools};
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
    // One that does not read has an end of its own.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("wait for fleetctl")
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
    let body = match request.split(' ').nth(1).unwrap_or_default() {
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

#[test]
fn an_unknown_host_is_asked_about_and_remembered() {
    let user = User::new();
    let sshd = user.sshd(&KINDS);
    let name = sshd.name();
    let question = format!(
        "The authenticity of host '{name}' can't be established.\nECDSA key fingerprint is {}.\n\
         Are you sure you want to continue connecting (yes/no)? ",
        sshd.fingerprint("ecdsa")
    );
    for answer in ["no\n", "\n", ""] {
        let refused = format!(
            "{question}Host key verification failed.\n\
             Failed building SSH client: ssh: handshake failed: unauthorized host\n"
        );
        assert_said(&user.ssh(&sshd, &["aaaa", "true"], answer), 1, "", &refused);
        assert!(!user.known_hosts().exists());
    }
    // What follows the answer is the command's.
    let added = format!("{question}Warning: Permanently added '{name}' (ECDSA) to the list of known hosts.\n");
    assert_said(&user.ssh(&sshd, &["aaaa", "cat"], "yes\nrest\n"), 0, "rest\n", &added);
    let text = fs::read_to_string(user.known_hosts()).expect("known_hosts");
    assert_eq!(text, format!("{name} {}\n", sshd.public("ecdsa")));
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&user.known_hosts()), 0o644);
    assert_eq!(mode(user.known_hosts().parent().expect("a directory")), 0o700);
    assert_said(&user.ssh(&sshd, &["aaaa", "cat"], "now known"), 0, "now known", "");
}

#[test]
fn a_host_whose_key_has_changed_is_refused() {
    let user = User::new();
    let (sshd, other) = (user.sshd(&["ecdsa"]), user.sshd(&["ecdsa"]));
    let file = user.known_hosts();
    user.know(&sshd, "ecdsa");
    let text = format!("{} {}\n", sshd.name(), other.public("ecdsa"));
    fs::write(&file, &text).expect("write");
    let (status, stdout, stderr) = said(&user.ssh(&sshd, &["aaaa", "echo in"], "yes\n"));
    assert_eq!((status, stdout.as_str()), (1, ""), "{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 12, "{stderr}");
    assert_eq!(lines[1], "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @");
    assert_eq!(lines[7], format!("{}.", sshd.fingerprint("ecdsa")));
    assert_eq!(
        lines[9],
        format!("Add correct host key in {} to get rid of this message.", file.display())
    );
    assert_eq!(
        lines[11],
        "Failed building SSH client: ssh: handshake failed: host key mismatch"
    );
    assert_eq!(fs::read_to_string(&file).expect("known_hosts"), text);
}

#[test]
fn a_file_that_cannot_be_known_hosts_is_named_and_keeps_nobody_out() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    let wrong = user.path("key/known_hosts").display().to_string();
    let port = sshd.port.number.to_string();
    let args = [
        "--known-hosts-file",
        &wrong,
        "ssh",
        "--ssh-port",
        &port,
        "aaaa",
        "echo in",
    ];
    let (status, stdout, stderr) = said(&user.run(&args, "y\n"));
    assert_eq!((status, stdout.as_str()), (0, "in\n"), "{stderr}");
    let said = format!("Failed to add the host to the list of known hosts ({wrong}).\n");
    assert!(stderr.ends_with(&said), "{stderr}");
}

#[test]
fn without_strict_checking_any_key_will_do_and_none_is_kept() {
    let user = User::new();
    let (sshd, other) = (user.sshd(&["ecdsa"]), user.sshd(&["ecdsa"]));
    let port = sshd.port.number.to_string();
    let args = [
        "--strict-host-key-checking=false",
        "ssh",
        "--ssh-port",
        &port,
        "aaaa",
        "echo in",
    ];
    assert_said(&user.run(&args, ""), 0, "in\n", "");
    assert!(!user.known_hosts().exists());
    user.know(&sshd, "ecdsa");
    fs::write(
        user.known_hosts(),
        format!("{} {}\n", sshd.name(), other.public("ecdsa")),
    )
    .expect("write");
    assert_said(&user.run(&args, ""), 0, "in\n", "");
}

#[test]
fn of_a_host_with_many_keys_the_one_that_is_known_is_looked_at() {
    let user = User::new();
    let sshd = user.sshd(&KINDS);
    for kind in KINDS {
        let _ = fs::remove_file(user.known_hosts());
        user.know(&sshd, kind);
        assert_said(
            &user.ssh(&sshd, &["aaaa", "echo", kind], ""),
            0,
            &format!("{kind}\n"),
            "",
        );
    }
}

#[test]
fn lines_of_known_hosts_that_fleet_does_not_read_are_named() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    user.know(&sshd, "ecdsa");
    let file = user.known_hosts();
    let good = fs::read_to_string(&file).expect("known_hosts");
    fs::write(
        &file,
        format!("|1|c2FsdA==|aGFzaA== ssh-rsa AAAA\n@revoked * ssh-rsa AAAA\nalone\n{good}"),
    )
    .expect("write");
    let (status, stdout, stderr) = said(&user.ssh(&sshd, &["aaaa", "echo in"], ""));
    assert_eq!((status, stdout.as_str()), (0, "in\n"), "{stderr}");
    let told: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.split_once(" WARN "))
        .map(|(_, text)| text)
        .collect();
    let expected = [
        "hashed hosts not implemented",
        "marker functionality not implemented",
        "bad format (insufficient fields)",
    ];
    let expected: Vec<String> = (1..)
        .zip(expected)
        .map(|(line, why)| format!("known_hosts.go:225: {}:{line} - {why}", file.display()))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn without_an_agent_nothing_begins_and_the_user_is_told() {
    let user = User::new();
    let alone = |args: &[&str]| {
        let mut command = user.command(args);
        command.env_remove("SSH_AUTH_SOCK");
        feed(command, "")
    };
    let tunnel = format!("Unable to initialize client: failed initializing SSH client: {NO_AGENT}");
    assert_said(&alone(&["--tunnel", "127.0.0.1:9", "status", "far"]), 1, "", &tunnel);
    assert_said(
        &alone(&["ssh", "aaaa", "true"]),
        1,
        "",
        &format!("Failed building SSH client: {NO_AGENT}"),
    );
    let remote = format!("Error running remote command: {NO_AGENT}");
    assert_said(&alone(&["status", "far"]), 255, "", &remote);
    assert_said(&alone(&["journal", "far"]), 255, "", &remote);
    let mut command = user.command(&["ssh", "aaaa", "true"]);
    command.env("SSH_AUTH_SOCK", "/not/there");
    let gone = "Failed building SSH client: dial unix /not/there: connect: no such file or directory\n";
    assert_said(&feed(command, ""), 1, "", gone);
}

#[test]
fn hosts_that_are_silent_or_not_there_are_given_up() {
    let user = User::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = silent.local_addr().expect("an address").port();
    let tunnel = format!("127.0.0.1:{port}");
    let late =
        "Unable to initialize client: failed initializing SSH client: timed out while initiating SSH connection\n";
    assert_said(
        &user.run(&["--ssh-timeout", "0.3", "--tunnel", &tunnel, "status", "far"], ""),
        1,
        "",
        late,
    );
    drop(silent);
    let closed = ports::claim();
    let port = closed.number.to_string();
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused\n");
    let output = user.run(&["ssh", "--ssh-port", &port, "aaaa", "true"], "");
    assert_said(&output, 1, "", &format!("Failed building SSH client: {refused}"));
    let output = user.run(&["status", "--ssh-port", &port, "far"], "");
    assert_said(&output, 255, "", &format!("Error running remote command: {refused}"));
}

#[test]
fn strangers_are_not_let_in() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    user.know(&sshd, "ecdsa");
    let key = user.path("strange");
    keygen("ed25519", &key, "secret");
    let port = sshd.port.number.to_string();
    let file = key.display().to_string();
    let mut command = user.command(&["--identity", &file, "ssh", "--ssh-port", &port, "aaaa", "true"]);
    command.env_remove("SSH_AUTH_SOCK");
    let stderr = format!(
        "Failed building SSH client: ssh: handshake failed: ssh: unable to authenticate, attempted methods \
         [none publickey], no supported methods remain; identity {file}: it has a passphrase: `ssh-add` it to an ssh-agent\n"
    );
    assert_said(&feed(command, ""), 1, "", &stderr);
}

#[test]
fn a_tunnel_reaches_the_sockets_and_the_ports_of_its_machine() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    user.know(&sshd, "ecdsa");
    let tunnel = sshd.name().replace(['[', ']'], "");
    let unix = format!("unix://{}", user.unix.display());
    for endpoint in [unix.as_str(), user.http.as_str()] {
        // Both are asked through the tunnel, and answer.
        let args = ["--tunnel", &tunnel, "--endpoint", endpoint, "status", "nope"];
        assert_said(&user.run(&args, ""), 1, "", "Unit nope.service does not exist.\n");
    }
    // What the machine at the tunnel's end says of a socket that is not there is heard here.
    let args = ["--tunnel", &tunnel, "--endpoint", "unix:///not there", "status", "nope"];
    let why = "Failed dialing remote address: dial unix /not there: connect: no such file or directory\n\
        Error retrieving unit: EOF\n";
    assert_said(&user.run(&args, ""), 1, "", why);
    let closed = format!("http://127.0.0.1:{}", ports::claim().number);
    let args = ["--tunnel", &tunnel, "--endpoint", &closed, "status", "nope"];
    let why = "Error retrieving unit: ssh: rejected: connect failed (Connection refused)\n";
    assert_said(&user.run(&args, ""), 1, "", why);
}

#[test]
fn machines_behind_a_tunnel_are_reached_through_it() {
    let user = User::new();
    let (first, second) = (user.sshd(&["ecdsa"]), user.sshd(&["ecdsa"]));
    user.know(&first, "ecdsa");
    let tunnel = format!("127.0.0.1:{}", first.port.number);
    let port = second.port.number.to_string();
    let args = [
        "--tunnel",
        &tunnel,
        "ssh",
        "--ssh-port",
        &port,
        "far",
        "echo $SSH_CONNECTION; exit 4",
    ];
    // The second host is asked about as any other.
    let (status, stdout, stderr) = said(&user.run(&args, "no\n"));
    assert_eq!((status, stdout.as_str()), (1, ""), "{stderr}");
    assert!(
        stderr.starts_with(&format!("The authenticity of host '{}'", second.name())),
        "{stderr}"
    );
    user.know(&second, "ecdsa");
    let (status, stdout, stderr) = said(&user.run(&args, ""));
    assert_eq!((status, stderr.as_str()), (4, ""));
    assert!(stdout.trim_end().ends_with(&format!("127.0.0.1 {port}")), "{stdout}");
    // Our own end is the first host's: it is the one that has connected.
    let args = ["--tunnel", &tunnel, "status", "--ssh-port", &port, "far"];
    assert_said(&user.run(&args, ""), 3, "systemctl status -l far.service\n", "");
}

#[test]
fn a_commands_streams_and_status_are_its_own() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    user.know(&sshd, "ecdsa");
    let output = user.ssh(&sshd, &["far", "tr a-z A-Z; echo why >&2; exit 7"], "text");
    assert_said(&output, 7, "TEXT", "why\n");
    // Words are joined, and those behind dashes are none of ours.
    let output = user.ssh(&sshd, &["--unit", "far", "--", "printf", "'%s.'", "-n", "a  b"], "");
    assert_said(&output, 0, "-n.a.b.", "");
    assert_eq!(said(&user.ssh(&sshd, &["aaaa", "kill -9 $$"], "")).0, 128 + 9);
    // More than any buffer holds, both ways.
    let big = "0123456789abcdef".repeat(1 << 18);
    let (status, stdout, stderr) = said(&user.ssh(&sshd, &["aaaa", "cat"], &big));
    assert_eq!((status, stdout.len(), stdout == big), (0, big.len(), true), "{stderr}");
    // A shell without a terminal reads what it is to do, and its end is nobody's failure.
    assert_said(&user.ssh(&sshd, &["aaaa"], "echo shell\nexit 5\n"), 0, "shell\n", "");
}

#[test]
fn a_reader_that_leaves_ends_a_command() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    user.know(&sshd, "ecdsa");
    let port = sshd.port.number.to_string();
    let mut command = user.command(&["ssh", "--ssh-port", &port, "aaaa", "yes"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start fleetctl");
    let mut first = [0; 2];
    let mut out = child.stdout.take().expect("a pipe");
    out.read_exact(&mut first).expect("the first line");
    drop(out);
    let status = eventually("fleetctl ends", || child.try_wait().expect("wait"));
    assert_eq!(status.code(), Some(141));
}

#[test]
fn in_a_terminal_the_other_side_has_one_too() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    user.know(&sshd, "ecdsa");
    let port = sshd.port.number;
    let fleetctl = format!("{} fleetctl ssh --ssh-port {port} aaaa", tools::labnode().display());
    let in_terminal = |line: &str, input: &str| {
        let mut command = Command::new("script");
        let line = format!(
            "stty rows 33 cols 77; before=$(stty -g); {line}; echo status $?; [ \"$before\" = \"$(stty -g)\" ] && echo as it was"
        );
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).env_clear();
        for (name, value) in user.command(&[]).get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        feed(command, input)
    };
    let (_, stdout, _) = said(&in_terminal(&format!("{fleetctl} 'tty; stty size; echo $TERM'"), ""));
    assert!(
        stdout.contains("/dev/pts/") && stdout.contains("33 77") && stdout.contains("vt100"),
        "{stdout}"
    );
    assert!(stdout.contains("status 0") && stdout.contains("as it was"), "{stdout}");
    let (_, stdout, _) = said(&in_terminal(&fleetctl, "stty size; echo in the sh''ell; exit 6\n"));
    assert!(stdout.contains("33 77") && stdout.contains("in the shell"), "{stdout}");
    assert!(stdout.contains("status 0") && stdout.contains("as it was"), "{stdout}");
}

#[test]
fn an_agent_is_lent_when_asked_for() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    user.know(&sshd, "ecdsa");
    for flag in ["-A", "--forward-agent"] {
        let (status, stdout, stderr) = said(&user.ssh(&sshd, &[flag, "aaaa", "ssh-add -l"], ""));
        assert!(status == 0 && stdout.contains("of-the-test"), "{stdout}{stderr}");
    }
    assert_said(
        &user.ssh(&sshd, &["aaaa", "echo ${SSH_AUTH_SOCK:-none}"], ""),
        0,
        "none\n",
        "",
    );
}

#[test]
fn files_and_sshs_configuration_help_where_there_is_no_agent() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    let port = sshd.port.number;
    let known = user.path("lab known_hosts");
    fs::write(&known, format!("core-01,{} {}\n", sshd.name(), sshd.public("ecdsa"))).expect("write");
    // As `lab proxy` does: with a socket, or with bytes.
    let proxy = user.path("proxy.py");
    let program = "import os, socket, sys, threading\n\
        own = socket.create_connection((sys.argv[2], int(sys.argv[3])))\n\
        if sys.argv[1] == 'pass':\n    \
            socket.send_fds(socket.socket(fileno=1), [b'x'], [own.fileno()])\n    \
            sys.exit()\n\
        def carry(read, write, end):\n    \
            while data := read(65536): write(data)\n    \
            end()\n\
        up = lambda: carry(lambda n: os.read(0, n), own.sendall, lambda: own.shutdown(1))\n\
        threading.Thread(target=up, daemon=True).start()\n\
        carry(own.recv, lambda data: os.write(1, data), lambda: None)\n";
    fs::write(&proxy, program).expect("write");
    let block = |host: &str, more: &str| {
        format!(
            "Host {host}\n  HostName 127.0.0.1\n  User root\n  Port {port}\n  UserKnownHostsFile \"{}\"\n  \
             StrictHostKeyChecking yes\n  IdentityFile {}\n  IdentitiesOnly yes\n{more}\n",
            known.display(),
            user.path("key").display(),
        )
    };
    let command = |how: &str| format!("  ProxyCommand python3 {} {how} %h %p\n", proxy.display());
    let config = block("plain", "")
        + &block("bytes", &command("bytes"))
        + &block("socket", &(command("pass") + "  ProxyUseFdpass yes\n"))
        + &block("nothing", "  ProxyCommand true\n  ProxyUseFdpass yes\n");
    let file = user.path("ssh config");
    fs::write(&file, config).expect("write");
    let config = file.display().to_string();
    let alone = |args: &[&str]| {
        let mut command = user.command(args);
        command.env_remove("SSH_AUTH_SOCK").env_remove("FLEETCTL_SSH_USERNAME");
        feed(command, "")
    };
    let hop = port.to_string();
    for host in ["plain", "bytes", "socket"] {
        let args = [
            "--ssh-config",
            &config,
            "--tunnel",
            host,
            "ssh",
            "--ssh-port",
            &hop,
            "aaaa",
            "id -un",
        ];
        assert_said(&alone(&args), 0, "root\n", "");
    }
    let (status, _, stderr) = said(&alone(&[
        "--ssh-config",
        &config,
        "--tunnel",
        "nothing",
        "status",
        "far",
    ]));
    assert!(
        status == 1 && stderr.contains("the ProxyCommand `true` handed over no connection"),
        "{stderr}"
    );
    // The user's own file, with the lab's included, and a variable.
    fs::create_dir(user.path("home/.ssh")).expect("a directory");
    fs::write(user.path("home/.ssh/config"), format!("Include \"{config}\"\n")).expect("write");
    let mut own = user.command(&["status", "nope"]);
    own.env_remove("SSH_AUTH_SOCK")
        .env_remove("FLEETCTL_SSH_USERNAME")
        .env("FLEETCTL_TUNNEL", "socket");
    assert_said(&feed(own, ""), 1, "", "Unit nope.service does not exist.\n");
    // A host that the configuration does not know, refused because it says so.
    fs::write(&known, "").expect("empty known_hosts");
    let (status, _, stderr) = said(&alone(&["--tunnel", "plain", "status", "nope"]));
    assert_eq!(status, 1);
    assert!(stderr.starts_with("Host key verification failed.\n"), "{stderr}");
    // A file alone.
    user.know(&sshd, "ecdsa");
    let key = user.path("key").display().to_string();
    let args = [
        "--ssh-username",
        "root",
        "-identity",
        &key,
        "ssh",
        "--ssh-port",
        &hop,
        "aaaa",
        "id -un",
    ];
    assert_said(&alone(&args), 0, "root\n", "");
}

#[test]
fn units_are_looked_at_where_they_are() {
    let user = User::new();
    let sshd = user.sshd(&["ecdsa"]);
    user.know(&sshd, "ecdsa");
    let port = sshd.port.number.to_string();
    // Here, where no sshd is asked.
    assert_said(
        &user.run(&["status", "near"], ""),
        3,
        "systemctl status -l near.service\n",
        "",
    );
    let journal = "journalctl --unit near.service --no-pager -n 10\n";
    assert_said(&user.run(&["journal", "near"], ""), 3, journal, "");
    let journal = "sudo journalctl --unit near.service --no-pager -n 2 --output cat -f\n";
    let args = ["journal", "--lines", "2", "--sudo", "-f", "--output", "cat", "near"];
    assert_said(&user.run(&args, ""), 3, journal, "");
    // And there. One that fails ends the list.
    let args = ["status", "--ssh-port", &port, "far", "near"];
    assert_said(&user.run(&args, ""), 3, "systemctl status -l far.service\n", "");
    let args = ["journal", "--ssh-port", &port, "-follow", "far"];
    assert_said(
        &user.run(&args, ""),
        3,
        "journalctl --unit far.service --no-pager -n 10 -f\n",
        "",
    );
    for (args, said) in [
        (
            ["status", "near", "nope"].as_slice(),
            "Unit nope.service does not exist.\n",
        ),
        (
            &["status", "glob"],
            "Unable to determine status of global unit glob.service.\n",
        ),
        (&["status", "down"], "Unit down.service does not appear to be loaded.\n"),
        (&["journal", "nope"], "Unit nope.service does not exist.\n"),
        (
            &["journal", "glob"],
            "Unable to retrieve journal of global unit glob.service.\n",
        ),
        (
            &["journal", "down"],
            "Unit down.service does not appear to be running.\n",
        ),
        (&["journal"], "One unit file must be provided.\n"),
        (&["ssh"], "Unable to proceed: one machine or unit must be provided\n"),
        (
            &["ssh", "zzz", "true"],
            "Unable to proceed: could not find matching unit or machine\n",
        ),
        (
            &["ssh", "--machine", "zz", "true"],
            "Unable to proceed: machine does not exist\n",
        ),
        (
            &["ssh", "--unit", "zz", "true"],
            "Unable to proceed: unit does not exist\n",
        ),
        (
            &["ssh", "glob.service", "true"],
            "Unable to proceed: could not find matching unit or machine\n",
        ),
        (
            &["ssh", "--unit", "glob", "true"],
            "Unable to proceed: global units unsupported\n",
        ),
        (
            &["ssh", "--machine", "2", "--unit", "r2", "hostname"],
            "Both machine and unit flags provided, please specify only one.\n",
        ),
    ] {
        assert_said(&user.run(args, ""), 1, "", said);
    }
}

#[test]
fn fd_forward_gives_the_whole_answer_to_a_closed_input() {
    let user = User::new();
    let socket = user.path("slow.sock");
    let listener = UnixListener::bind(&socket).expect("listen");
    let text = socket.display().to_string();
    let big = "x".repeat(1 << 20);
    let answer = big.clone();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut question = String::new();
        // The end of the input comes through; only then there is an answer.
        stream.read_to_string(&mut question).expect("the question");
        stream.write_all(answer.as_bytes()).expect("answer");
        (listener, question)
    });
    assert_said(&user.run(&["fd-forward", &text], "question"), 0, &big, "");
    let (listener, question) = server.join().expect("the server");
    assert_eq!(question, "question");
    assert_said(&user.run(&["fd-forward"], ""), 1, "", "Provide a single argument\n");
    let missing = "Failed dialing remote address: dial unix /nope.sock: connect: no such file or directory\n";
    assert_said(&user.run(&["fd-forward", "/nope.sock"], ""), 0, "", missing);
    // Once nobody reads any more, it ends with its input, though the server says nothing.
    let mut command = user.command(&["fd-forward", &text]);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let end =
        |stream: &UnixStream| Stdio::from(std::os::fd::OwnedFd::from(stream.try_clone().expect("a second handle")));
    command.stdin(end(&theirs)).stdout(end(&theirs));
    let mut child = command.spawn().expect("start fleetctl");
    drop((theirs, command));
    let (silent, _) = listener.accept().expect("a connection");
    drop(ours);
    eventually("fd-forward ends", || child.try_wait().expect("wait"));
    drop(silent);
}
