//! Getting to a host and being let in: agents, files of keys, ssh's configuration, and what fails.
use super::*;

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
    let (user, sshd) = User::with_a_host();
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
fn an_agent_is_lent_when_asked_for() {
    let (user, sshd) = User::with_a_host();
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
