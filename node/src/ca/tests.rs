//! etcd-ca's commands on a depot, and what openssl makes of the results.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::args::{self, Args};
use super::commands;
use super::keys::{INCORRECT, Key};

fn parse(words: &[&str]) -> Result<Args, String> {
    args::parse(&words.iter().map(|word| word.to_string()).collect::<Vec<_>>())
}

/// A command line in a depot, small keys.
fn args(depot: &Path, words: &[&str]) -> Args {
    let mut all = vec!["--depot-path", depot.to_str().unwrap()];
    all.extend(words);
    parse(&all).unwrap()
}

fn openssl(dir: &Path, words: &[&str]) -> String {
    let output = Command::new("openssl").args(words).current_dir(dir).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{words:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn options_stand_anywhere_with_one_dash_or_two() {
    let want = parse(&["new-cert", "--ip", "10.0.0.1", "--passphrase", "", "bob"]).unwrap();
    assert_eq!((want.ip.as_str(), want.name.as_deref()), ("10.0.0.1", Some("bob")));
    assert_eq!(
        parse(&["new-cert", "bob", "-ip=10.0.0.1", "-passphrase="]).unwrap(),
        want
    );
    assert!(
        parse(&["sign", "bob", "--ip", "10.0.0.1"])
            .unwrap_err()
            .contains("not defined: -ip")
    );
    assert!(parse(&["init", "--key-bits", "512"]).unwrap_err().contains("2048"));
    assert_eq!(parse(&["x"]).unwrap().command, args::Command::Unknown("x".into()));
}

#[test]
fn keys_are_read_by_openssl_and_only_with_their_passphrase() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::generate(2048).unwrap();
    for passphrase in ["secret words", ""] {
        let pem = key.to_encrypted_pem(passphrase).unwrap();
        assert!(!pem.contains(key.to_pem().unwrap().lines().nth(1).unwrap()));
        let again = Key::from_encrypted_pem(&pem, passphrase).unwrap();
        assert_eq!(again.to_pem(), key.to_pem());
        assert_eq!(Key::from_encrypted_pem(&pem, "wrong").err().as_deref(), Some(INCORRECT));
    }
    fs::write(dir.path().join("key"), key.to_encrypted_pem("secret words").unwrap()).unwrap();
    let plain = openssl(
        dir.path(),
        &["rsa", "-in", "key", "-passin", "pass:secret words", "-traditional"],
    );
    assert_eq!(plain, key.to_pem().unwrap());
    // And the other way round.
    let pass = ["-passin", "pass:secret words", "-passout", "pass:new"];
    let words = ["rsa", "-in", "key", "-des3", "-traditional", "-out", "theirs"];
    openssl(dir.path(), &[&words[..], &pass[..]].concat());
    let theirs = fs::read_to_string(dir.path().join("theirs")).unwrap();
    assert_eq!(Key::from_encrypted_pem(&theirs, "new").unwrap().to_pem(), key.to_pem());
}

#[test]
fn a_host_is_certified_as_openssl_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let depot = dir.path().join("depot");
    let small = ["--passphrase", "p", "--key-bits", "2048"];
    let run = |words: &[&str]| args(&depot, words);
    commands::init(&run(&[&["init"], &small[..]].concat())).unwrap();
    assert_eq!(
        commands::init(&run(&[&["init"], &small[..]].concat())).unwrap_err(),
        "CA has existed!"
    );
    let new = run(&[
        &["new-cert", "infra0", "--ip", "10.0.0.1,::1", "--domain", "a.example"],
        &small[..],
    ]
    .concat());
    commands::new_cert(&new).unwrap();
    assert_eq!(
        commands::new_cert(&new).unwrap_err(),
        "Certificate request has existed!"
    );
    let wrong = commands::sign(&run(&["sign", "infra0", "--passphrase", "no"])).unwrap_err();
    assert_eq!(wrong, format!("Get CA key error: {INCORRECT}"));
    commands::sign(&run(&["sign", "--passphrase", "p", "infra0"])).unwrap();
    let again = commands::sign(&run(&["sign", "--passphrase", "p", "infra0"])).unwrap_err();
    assert_eq!(again, "Certificate has existed!");

    let modes = [
        ("ca.crt", 0o444),
        ("ca.key", 0o400),
        ("ca.crt.info", 0o400),
        ("infra0.host.csr", 0o444),
        ("infra0.host.crt", 0o444),
        ("infra0.host.key", 0o440),
    ];
    for (file, mode) in modes {
        let meta = fs::metadata(depot.join(file)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{file}");
    }
    assert_eq!(fs::read_dir(&depot).unwrap().count(), modes.len());
    assert_eq!(fs::read_to_string(depot.join("ca.crt.info")).unwrap(), "3");

    openssl(
        &depot,
        &["verify", "-x509_strict", "-CAfile", "ca.crt", "infra0.host.crt"],
    );
    openssl(&depot, &["req", "-verify", "-in", "infra0.host.csr", "-noout"]);
    let text = openssl(&depot, &["x509", "-in", "infra0.host.crt", "-noout", "-text"]);
    for part in [
        "Serial Number: 2 ",
        "sha256WithRSAEncryption",
        "Issuer: C = USA, O = etcd-ca, OU = CA",
        "Subject: C = USA, O = etcd-ca, OU = infra0, CN = a.example",
        "DNS:a.example, DNS:infra0, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("X509v3 Key Usage"), "{text}");
    let text = openssl(&depot, &["x509", "-in", "ca.crt", "-noout", "-text"]);
    for part in [
        "Serial Number: 1 ",
        "Subject: C = USA, O = etcd-ca, OU = CA\n",
        "X509v3 Basic Constraints: critical\n                CA:TRUE\n",
        "X509v3 Key Usage: critical\n                Certificate Sign\n",
        "X509v3 Subject Key Identifier",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn a_bad_address_or_name_and_a_file_of_the_wrong_mode_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let depot = dir.path().join("depot");
    let bad = commands::new_cert(&args(&depot, &["new-cert", "bad", "--ip", "bogus", "--passphrase="]));
    assert_eq!(
        bad.unwrap_err(),
        "Create certificate request error: failed to parse ip bogus"
    );
    assert!(!depot.exists());
    let outside = commands::sign(&args(&depot, &["sign", "../x", "--passphrase="]));
    assert!(outside.unwrap_err().contains("cannot be used"));
    fs::create_dir(&depot).unwrap();
    fs::write(depot.join("ca.crt"), "").unwrap();
    fs::set_permissions(depot.join("ca.crt"), fs::Permissions::from_mode(0o400)).unwrap();
    let denied = commands::chain(&args(&depot, &["chain"])).unwrap_err();
    assert!(denied.contains("permission denied"), "{denied}");
}
