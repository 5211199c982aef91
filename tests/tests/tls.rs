//! TLS for clients and peers, with certificates of etcd-ca, seen by curl and openssl.
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use corelab_tests::ca::{Ca, Host};
use corelab_tests::cluster::{Cluster, Member, Setup};
use corelab_tests::{LIMIT, eventually, ports, tools};

/// Trusts a certificate, and shows one of its own perhaps.
#[derive(Clone)]
struct Client {
    ca: PathBuf,
    own: Option<Host>,
}

impl Client {
    fn new(ca: impl AsRef<Path>) -> Client {
        Client {
            ca: ca.as_ref().to_path_buf(),
            own: None,
        }
    }

    fn with(self, own: &Host) -> Client {
        Client {
            own: Some(own.clone()),
            ..self
        }
    }

    fn curl(&self, url: &str, args: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "30", "--cacert"]).arg(&self.ca);
        if let Some(own) = &self.own {
            command.arg("--cert").arg(&own.crt).arg("--key").arg(&own.key);
        }
        command.args(args).arg(url);
        command
    }

    fn try_get(&self, url: &str) -> Output {
        tools::run(&mut self.curl(url, &[]))
    }

    /// The answer's body.
    #[track_caller]
    fn ask(&self, url: &str, args: &[&str]) -> String {
        let output = tools::run(&mut self.curl(url, args));
        assert!(output.status.success(), "{url}: {}", tools::outputs(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn get(&self, url: &str) -> String {
        self.ask(url, &[])
    }

    #[track_caller]
    fn set(&self, member: &Member, key: &str, value: &str) {
        let answer = self.ask(
            &key_url(member, key),
            &["-X", "PUT", "--data-urlencode", &format!("value={value}")],
        );
        assert!(answer.contains("\"action\":\"set\""), "{answer}");
    }
}

fn key_url(member: &Member, key: &str) -> String {
    format!("{}/v2/keys/{key}", member.url())
}

#[track_caller]
fn start(mut cluster: Cluster) -> Cluster {
    cluster.members.iter_mut().for_each(Member::start);
    for member in &mut cluster.members {
        member.process().wait_log("published {");
    }
    cluster
}

/// One member that serves clients over TLS.
fn served(own: &Host) -> Setup {
    let setup = Setup::members(1).https_clients();
    setup
        .flag("cert-file", own.crt.display())
        .flag("key-file", own.key.display())
}

#[test]
fn three_members_speak_tls_to_each_other_and_to_clients_that_have_a_certificate() {
    let ca = Ca::default();
    let mut setup = Setup::members(3).https_clients().https_peers();
    for prefix in ["", "peer-"] {
        for i in 0..3 {
            let host = ca.host(&format!("{prefix}infra{i}"), "127.0.0.1");
            setup = setup
                .member_flag(i, &format!("{prefix}cert-file"), host.crt.display())
                .member_flag(i, &format!("{prefix}key-file"), host.key.display());
        }
        setup = setup.flag(&format!("{prefix}trusted-ca-file"), ca.crt.display());
        setup = setup.switch(&format!("{prefix}client-cert-auth"));
    }
    let mut cluster = start(setup.prepare());
    let client = Client::new(&ca.crt).with(&ca.host("client", "127.0.0.1"));
    client.set(&cluster.members[0], "a", "1");
    let quorum = |member: &Member| client.get(&(key_url(member, "a") + "?quorum=true"));
    assert!(quorum(&cluster.members[2]).contains("\"value\":\"1\""));

    // One is killed, misses a write, comes back and catches up; large values make more than one TLS record.
    cluster.members[1].kill9();
    let large = "x".repeat(100_000);
    client.set(&cluster.members[0], "large", &large);
    cluster.members[1].start();
    eventually("the member has caught up", || {
        let answer = client.try_get(&key_url(&cluster.members[1], "large"));
        String::from_utf8_lossy(&answer.stdout).contains(&large).then_some(())
    });

    // No certificate, one of somebody else's CA, no trust: refused.
    let strangers = Ca::default();
    let nobody = Client::new(&ca.crt);
    let stranger = nobody.clone().with(&strangers.host("stranger", "127.0.0.1"));
    for refused in [&nobody, &stranger] {
        let output = refused.try_get(&key_url(&cluster.members[0], "a"));
        let text = tools::outputs(&output);
        assert!(!output.status.success() && text.contains("alert"), "{text}");
    }
    let output = Client::new(&strangers.crt).try_get(&cluster.members[0].url());
    assert!(!output.status.success());
    cluster.members[0]
        .process()
        .wait_log("TLS handshake error from 127.0.0.1");
    let peer = nobody.try_get(&peer_url(&cluster.members[0]));
    assert!(!peer.status.success(), "{}", tools::outputs(&peer));
    let members = client.get(&peer_url(&cluster.members[0]));
    assert_eq!(members.matches("https://127.0.0.1").count(), 6, "{members}");
}

/// A member's list of members at its peer URL.
fn peer_url(member: &Member) -> String {
    format!("{}/members", member.arg("listen-peer-urls"))
}

#[test]
fn an_https_url_needs_a_certificate_and_its_key() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let refused = |args: &[&str]| {
        let mut command = Command::new(tools::labnode());
        command.arg("etcd").args(args).current_dir(dir.path());
        let output = tools::run(&mut command);
        assert_eq!(output.status.code(), Some(1), "{}", tools::outputs(&output));
        tools::outputs(&output)
    };
    let claimed = [ports::claim(), ports::claim()];
    let [client, peer] = claimed.each_ref().map(|port| format!("127.0.0.1:{}", port.number));
    let advertise = format!("--advertise-client-urls=https://{client}");
    let listen = |scheme: &str| format!("--listen-client-urls={scheme}://{client}");
    let peers = |scheme: &str| format!("--listen-peer-urls={scheme}://{peer}");
    let text = "cannot listen on TLS for given listener: KeyFile and CertFile are not presented";
    for (client, peer) in [("https", "http"), ("http", "https")] {
        let said = refused(&[&advertise, &listen(client), &peers(peer)]);
        assert!(said.contains(&format!("C | etcdmain: {text}")), "{said}");
    }
    let said = refused(&[&advertise, &listen("https"), &peers("http"), "--cert-file=c.pem"]);
    assert!(
        said.contains("KeyFile and CertFile must both be present[key: , cert: c.pem]"),
        "{said}"
    );
    let said = refused(&[
        &advertise,
        &listen("https"),
        &peers("http"),
        "--cert-file=c.pem",
        "--key-file=k.pem",
    ]);
    assert!(said.contains("cannot read the certificates in c.pem: "), "{said}");
}

#[test]
fn http_and_https_are_served_side_by_side_and_do_not_mix() {
    let ca = Ca::default();
    let own = ca.host("infra0", "127.0.0.1");
    let plain = ports::claim();
    let plain_url = format!("http://127.0.0.1:{}", plain.number);
    let cluster = served(&own).prepare();
    let both = format!("{},{plain_url}", cluster.members[0].url());
    let cluster = start(cluster.with_flag("listen-client-urls", both));
    let (member, client) = (&cluster.members[0], Client::new(&ca.crt));
    client.set(member, "a", "over TLS");
    assert!(client.get(&format!("{plain_url}/v2/keys/a")).contains("over TLS"));
    assert!(member.log().contains("is plain http"), "{}", member.log());

    let mistaken = client.ask(&member.url().replace("https", "http"), &["-i"]);
    assert!(mistaken.starts_with("HTTP/1.0 400 Bad Request"), "{mistaken}");
    assert!(
        mistaken.ends_with("Client sent an HTTP request to an HTTPS server.\n"),
        "{mistaken}"
    );

    // A watch over TLS gets its event while the connection stays open.
    let mut watch = client.curl(&(key_url(member, "a") + "?wait=true&stream=true"), &["-N"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("start curl");
    let mut events = watch.stdout.take().expect("curl's output");
    let (sender, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 1024];
        let read = events.read(&mut bytes).unwrap_or_default();
        let _ = sender.send(String::from_utf8_lossy(&bytes[..read]).into_owned());
    });
    let event = eventually("the watch brings an event", || {
        client.set(member, "a", "watched");
        seen.try_recv().ok()
    });
    let _ = watch.kill();
    let _ = watch.wait();
    assert!(event.contains("watched"), "{event}");
}

#[test]
fn who_is_silent_in_the_handshake_holds_up_nobody_and_is_let_go() {
    let ca = Ca::default();
    let own = ca.host("infra0", "127.0.0.1");
    let cluster = start(served(&own).prepare());
    let member = &cluster.members[0];
    let mut silent: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(member.client).expect("connect"))
        .collect();
    for (i, stream) in silent.iter_mut().enumerate() {
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        // Nothing, or the beginning of a handshake.
        stream.write_all(&[22, 3, 1, 2, 0, 1][..i % 7]).expect("write");
    }
    Client::new(&ca.crt).set(member, "a", "1");
    for mut stream in silent {
        let mut rest = Vec::new();
        stream
            .read_to_end(&mut rest)
            .or_else(reset_is_fine)
            .expect("the server closes");
    }
    Client::new(&ca.crt).get(&key_url(member, "a"));
}

fn reset_is_fine(error: std::io::Error) -> std::io::Result<usize> {
    match error.kind() {
        std::io::ErrorKind::ConnectionReset => Ok(0),
        _ => Err(error),
    }
}

#[test]
fn the_old_ca_file_asks_for_clients_certificates() {
    let ca = Ca::default();
    let own = ca.host("infra0", "127.0.0.1");
    let cluster = start(served(&own).flag("ca-file", ca.crt.display()).prepare());
    let url = key_url(&cluster.members[0], "");
    assert!(!Client::new(&ca.crt).try_get(&url).status.success());
    Client::new(&ca.crt).with(&own).get(&url);
}

#[test]
fn certificates_make_themselves_and_stay() {
    let setup = Setup::members(3).https_clients().https_peers();
    let mut cluster = start(setup.switch("auto-tls").switch("peer-auto-tls").prepare());
    let fixtures = |member: &Member, side: &str| member.data_dir.join("fixtures").join(side);
    for member in &cluster.members {
        for side in ["client", "peer"] {
            let key = fs::metadata(fixtures(member, side).join("key.pem")).expect("a key");
            assert_eq!(key.permissions().mode() & 0o7777, 0o600);
        }
    }
    let member = &mut cluster.members[0];
    let cert = fixtures(member, "client").join("cert.pem");
    let before = fs::read(&cert).expect("a certificate");
    let client = Client::new(&cert);
    client.set(member, "a", "1");
    assert!(
        client
            .get(&member.url().replace("127.0.0.1", "localhost"))
            .contains("404")
    );
    member.stop();
    member.start();
    member.process().wait_log("already initialized as member");
    eventually("the member answers again", || {
        let answer = client.try_get(&(key_url(&cluster.members[0], "a") + "?quorum=true"));
        answer.status.success().then_some(())
    });
    assert_eq!(fs::read(&cert).expect("a certificate"), before);
    let other = Client::new(fixtures(&cluster.members[1], "client").join("cert.pem"));
    assert!(
        other
            .get(&key_url(&cluster.members[1], "a"))
            .contains("\"value\":\"1\"")
    );
}

#[test]
fn changed_certificates_are_taken_without_a_restart_and_broken_ones_are_not() {
    let (old, new) = (Ca::default(), Ca::default());
    let own = old.host("infra0", "127.0.0.1");
    let mut cluster = start(served(&own).prepare());
    let url = key_url(&cluster.members[0], "");
    let works = |ca: &Ca| Client::new(&ca.crt).try_get(&url).status.success();
    assert!(works(&old) && !works(&new));

    fs::write(&own.crt, "no certificate").expect("write");
    eventually("the broken certificate is noticed", || {
        assert!(works(&old));
        cluster.members[0].log().contains("cannot be used").then_some(())
    });
    let line = cluster.members[0].process().wait_log("cannot be used");
    assert!(
        line.contains(" E | ") && line.contains(&own.crt.display().to_string()),
        "{line}"
    );

    own.replace_with(&new.host("infra0", "127.0.0.1"));
    eventually("the new certificate is served", || works(&new).then_some(()));
    assert!(!works(&old));
    let log = cluster.members[0].log();
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

#[test]
fn a_peer_certificate_for_another_address_is_explained_and_can_be_mended() {
    let ca = Ca::default();
    let (good, bad) = (ca.host("good", "127.0.0.1"), ca.host("elsewhere", "10.9.9.9"));
    let mut setup = Setup::members(2)
        .https_peers()
        .flag("peer-trusted-ca-file", ca.crt.display());
    for (i, host) in [&good, &bad].into_iter().enumerate() {
        setup = setup.member_flag(i, "peer-cert-file", host.crt.display()).member_flag(
            i,
            "peer-key-file",
            host.key.display(),
        );
    }
    let mut cluster = setup.prepare();
    cluster.members.iter_mut().for_each(Member::start);
    let wanted = cluster.members[1].arg("listen-peer-urls");
    let line = cluster.members[0].process().wait_log("cannot connect to member");
    for part in [wanted.as_str(), "\"127.0.0.1\"", "elsewhere", "10.9.9.9"] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    let warning = cluster.members[1].process().wait_log("does not cover 127.0.0.1");
    assert!(warning.contains(" W | ") && warning.contains("10.9.9.9"), "{warning}");
    assert!(!cluster.members[0].log().contains("does not cover"));
    bad.replace_with(&ca.host("mended", "127.0.0.1"));
    for member in &mut cluster.members {
        member.process().wait_log("published {");
    }
    cluster.wait_ready();
}

#[test]
fn openssl_verifies_the_chain_that_is_served() {
    let ca = Ca::default();
    let own = ca.host("infra0", "127.0.0.1");
    let cluster = start(served(&own).prepare());
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-verify_return_error", "-verify_ip", "127.0.0.1", "-CAfile"]);
    openssl
        .arg(&ca.crt)
        .args(["-connect", &cluster.members[0].client.to_string()]);
    let output = tools::run(openssl.stdin(Stdio::null()));
    assert!(
        tools::outputs(&output).contains("Verify return code: 0 (ok)"),
        "{}",
        tools::outputs(&output)
    );
}

#[test]
fn etcd_ca_lists_exports_and_chains() {
    let ca = Ca::default();
    ca.host("infra0", "127.0.0.1");
    ca.run(&[
        "new-cert",
        "bob",
        "-ip",
        "10.0.0.1",
        "--key-bits",
        "2048",
        "--passphrase",
        "secret",
    ]);
    let text = |args: &[&str]| String::from_utf8_lossy(&ca.run(args).stdout).into_owned();
    let status = "CA: OK (3653.00 days until expiration)\nbob: Unsigned\ninfra0: OK (3653.00 days until expiration)\n";
    assert_eq!(text(&["status"]).replace("3652.99", "3653.00"), status);
    let chain = ca.run(&["chain", "infra0"]);
    assert_eq!(
        String::from_utf8_lossy(&chain.stdout)
            .matches("BEGIN CERTIFICATE")
            .count(),
        2
    );
    assert!(String::from_utf8_lossy(&chain.stderr).contains("Outputting CA and Host certificate body:"));
    assert_eq!(text(&["nonsense"]), "No help topic for 'nonsense'\n");
    fs::write(ca.dir().join("ca.tar"), ca.run(&["export"]).stdout).expect("write");
    let mut list = Command::new("tar");
    let output = tools::run(list.arg("-tvf").arg(ca.dir().join("ca.tar")));
    let listed = tools::outputs(&output);
    let lines = listed.lines().filter(|line| line.starts_with("-rw-r--r-- "));
    assert_eq!(
        lines
            .filter(|line| line.ends_with(" ca.crt") || line.ends_with(" ca.key"))
            .count(),
        2,
        "{listed}"
    );
}
