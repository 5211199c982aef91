//! What is done there: tunnels, commands, shells, units, fd-forward.
use super::*;

#[test]
fn a_tunnel_reaches_the_sockets_and_the_ports_of_its_machine() {
    let (user, sshd) = User::with_a_host();
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
        Error retrieving unit: Get \"http://domain-sock/fleet/v1/units/nope.service?alt=json\": EOF\n";
    assert_said(&user.run(&args, ""), 1, "", why);
    let closed = format!("http://127.0.0.1:{}", ports::claim().number);
    let args = ["--tunnel", &tunnel, "--endpoint", &closed, "status", "nope"];
    let why = format!(
        "Error retrieving unit: Get \"{closed}/fleet/v1/units/nope.service?alt=json\": \
         ssh: rejected: connect failed (Connection refused)\n"
    );
    assert_said(&user.run(&args, ""), 1, "", &why);
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
    let (user, sshd) = User::with_a_host();
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

/// A command over there that goes on and on, from the moment that its output comes through.
#[track_caller]
fn yes(user: &User, sshd: &Sshd) -> (Child, ChildStdout) {
    let port = sshd.port.number.to_string();
    let mut command = user.command(&["ssh", "--ssh-port", &port, "aaaa", "yes"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start fleetctl");
    let mut out = child.stdout.take().expect("a pipe");
    out.read_exact(&mut [0; 2]).expect("the first line");
    (child, out)
}

#[test]
fn a_reader_that_leaves_ends_a_command() {
    let (user, sshd) = User::with_a_host();
    let (mut child, out) = yes(&user, &sshd);
    drop(out);
    let status = eventually("fleetctl ends", || child.try_wait().expect("wait"));
    assert_eq!(status.code(), Some(141));
}

#[test]
fn a_signal_ends_it_though_its_output_is_stuck() {
    let (user, sshd) = User::with_a_host();
    let (mut child, _out) = yes(&user, &sshd);
    kill(child.id(), Signal::TERM);
    let status = eventually("fleetctl ends", || child.try_wait().expect("wait"));
    // Of the signal itself, not of the one that `timeout` sends those that do not listen.
    let signal = status.signal().or(status.code().map(|code| code - 128));
    assert_eq!(signal, Some(Signal::TERM.as_raw()));
}

#[test]
fn in_a_terminal_the_other_side_has_one_too() {
    let (user, sshd) = User::with_a_host();
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
fn units_are_looked_at_where_they_are() {
    let (user, sshd) = User::with_a_host();
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
