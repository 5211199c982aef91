//! Handshakes over sockets, with certificates made on the spot.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::connect::{Connector, Link, explain};
use super::server::Acceptor;
use super::{Files, generated, names};

fn made(dir: &Path, hosts: &[&str]) -> Files {
    let hosts: Vec<String> = hosts.iter().map(|host| host.to_string()).collect();
    generated::ensure(dir, &hosts).unwrap()
}

fn names_of(files: &Files) -> names::Names {
    names::Names::of(&super::read_certs(files.cert.as_ref().unwrap()).unwrap()[0]).unwrap()
}

#[test]
fn a_generated_certificate_covers_its_hosts_and_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("fixtures/client");
    let files = made(&at, &["10.0.0.1", "infra0", "0.0.0.0", "::1"]);
    let names = names_of(&files);
    for host in ["10.0.0.1", "infra0", "INFRA0", "localhost", "127.0.0.1", "::1"] {
        assert!(names.covers(host), "{host}: {names}");
    }
    assert!(!names.covers("0.0.0.0") && !names.covers("10.0.0.2") && !names.covers("infra1"));
    let key = fs::metadata(at.join("key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o7777, 0o600);
    let cert = fs::read(at.join("cert.pem")).unwrap();
    made(&at, &["10.9.9.9"]);
    assert_eq!(fs::read(at.join("cert.pem")).unwrap(), cert);
    assert_eq!(fs::read_dir(&at).unwrap().count(), 2);
}

#[test]
fn a_star_stands_for_one_label() {
    let names = names::Names {
        dns: vec!["*.example.com".into()],
        ips: Vec::new(),
    };
    assert!(names.covers("a.example.com") && names.covers("A.Example.com."));
    assert!(!names.covers("a.b.example.com") && !names.covers("example.com") && !names.covers(".example.com"));
}

#[test]
fn a_time_that_is_not_now_is_a_fault() {
    let now = names::now();
    let fault = |from: i64, to: i64| {
        let validity = names::Validity {
            not_before: now + from,
            not_after: now + to,
        };
        validity.fault()
    };
    assert_eq!(fault(-86_400, 86_400), None);
    assert!(fault(-86_400 * 2, -86_400).unwrap().starts_with("expired 1.0 days ago"));
    assert!(
        fault(86_400, 86_400 * 2)
            .unwrap()
            .starts_with("is not valid yet, for another 1.0 days")
    );
}

/// A server that answers each connection with one byte; its port.
async fn serve(files: Files) -> u16 {
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = Arc::new(Acceptor::new(files).unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Some(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.write_all(b"x").await;
                    let _ = stream.flush().await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    port
}

async fn ask(connector: &Connector, url: &str) -> Result<u8, String> {
    let asked = async {
        match connector.connect(url).await? {
            Link::Tls(mut stream) => stream.read_u8().await,
            Link::Plain(mut stream) => stream.read_u8().await,
        }
    };
    asked.await.map_err(|error| explain(url, error).to_string())
}

fn trusting(files: &Files) -> Files {
    Files {
        trusted_ca: files.cert.clone(),
        ..Files::default()
    }
}

#[tokio::test]
async fn who_connects_by_a_name_that_is_not_covered_is_told_all_names() {
    let dir = tempfile::tempdir().unwrap();
    let files = made(&dir.path().join("a"), &["10.0.0.1"]);
    let port = serve(files.clone()).await;
    let connector = Connector::new(trusting(&files));
    assert_eq!(ask(&connector, &format!("https://127.0.0.1:{port}")).await, Ok(b'x'));
    let elsewhere = format!("https://127.0.0.2:{port}");
    let error = ask(&connector, &elsewhere).await.unwrap_err();
    for part in [
        elsewhere.as_str(),
        "\"127.0.0.2\"",
        "localhost",
        "10.0.0.1",
        "127.0.0.1",
    ] {
        assert!(error.contains(part), "no {part} in {error}");
    }
    let stranger = made(&dir.path().join("b"), &[]);
    let error = ask(
        &Connector::new(trusting(&stranger)),
        &format!("https://127.0.0.1:{port}"),
    )
    .await;
    assert!(error.unwrap_err().contains("trusted CA"));
    let unverified = Connector::unverified(Files::default());
    assert_eq!(ask(&unverified, &elsewhere).await, Ok(b'x'));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_told_that_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let files = made(&dir.path().join("a"), &[]);
    let strict = Files {
        client_cert_auth: true,
        trusted_ca: files.cert.clone(),
        ..files.clone()
    };
    let port = serve(strict).await;
    let url = format!("https://127.0.0.1:{port}");
    let error = ask(&Connector::new(trusting(&files)), &url).await.unwrap_err();
    assert!(error.contains("refuses our certificate"), "{error}");
    let with_certificate = Files {
        client_cert_auth: false,
        trusted_ca: files.cert.clone(),
        ..files
    };
    assert_eq!(ask(&Connector::new(with_certificate), &url).await, Ok(b'x'));
}

#[test]
fn half_a_pair_is_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let files = made(&dir.path().join("a"), &[]);
    let other = made(&dir.path().join("b"), &[]);
    let refused = |files: Files| super::server::config(&files).unwrap_err();
    let no_key = Files {
        key: None,
        ..files.clone()
    };
    assert!(refused(no_key).starts_with("KeyFile and CertFile must both be present[key: , cert: "));
    let mixed = Files {
        key: other.key,
        ..files
    };
    assert!(refused(mixed).starts_with("cannot use "));
}

#[test]
fn an_encrypted_key_and_a_certificate_of_the_past_are_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    fs::write(&key, "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n").unwrap();
    let error = super::read_key(&key).unwrap_err();
    assert!(error.contains("export --insecure"), "{error}");

    let mut params = rcgen::CertificateParams::new(vec!["a".to_string()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    let cert = dir.path().join("cert");
    fs::write(&cert, pem).unwrap();
    let files = Files {
        cert: Some(cert),
        ..Files::default()
    };
    let faults = super::server::faults(&files, &["a".into(), "b".into()]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults[0].contains("expired ") && faults[1].contains("does not cover b,"),
        "{faults:?}"
    );
}
