//! Which hosts are trusted: the question, the file, the refusal.
use super::*;

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
    let (user, sshd) = User::with_a_host();
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
