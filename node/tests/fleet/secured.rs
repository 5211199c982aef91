//! Ways in and ways to etcd: pages, metrics, TLS, passwords, and machines among themselves.
use std::time::Duration;

use labnode::client::cluster::Request;
use labnode::fleet::schema::JobState;
use labnode::tls::generated;
use labnode::unit::UnitFile;
use tokio::time::timeout;

use crate::cluster::*;

#[tokio::test]
async fn etcd_is_reached_over_tls_with_a_certificate_of_our_own() {
    let dir = tempfile::Builder::new().prefix("corelab-").tempdir().unwrap();
    let mut files = generated::ensure(dir.path(), &["127.0.0.1".into()]).unwrap();
    files.trusted_ca = files.cert.clone();
    let path = |file: &Option<std::path::PathBuf>| file.as_ref().unwrap().display().to_string();
    let (cert, key) = (path(&files.cert), path(&files.key));
    let flags = [
        "--client-cert-auth",
        "--cert-file",
        &cert,
        "--key-file",
        &key,
        "--trusted-ca-file",
        &cert,
    ];
    let etcd = etcd_with("https", &flags.map(str::to_string)).await;
    let servers = format!("etcd_servers=https://127.0.0.1:{}\netcd_cafile={cert}\n", etcd.port);
    let with = format!("{servers}etcd_certfile={cert}\netcd_keyfile={key}\n");
    let nodes = cluster_with(&etcd, &["m1"], &with).await;
    nodes[0].put("a.service", SLEEP).await;
    eventually("it is launched", || {
        (nodes[0].shown("a.service").0 == "launched").then_some(())
    })
    .await;
    let without = Node::new(&etcd, "m2", &servers).await;
    nodes[0].put("b.service", SLEEP).await;
    eventually("it is launched", || {
        (nodes[0].shown("b.service").0 == "launched").then_some(())
    })
    .await;
    let refused = (
        503,
        r#"{"error":{"code":503,"message":"fleet server unable to communicate with etcd"}}"#.into(),
    );
    assert_eq!(without.ask("GET", "/fleet/v1/units", "").await, refused);
}

#[tokio::test]
async fn etcd_is_reached_with_a_user_and_a_password() {
    let etcd = etcd().await;
    let url = format!("http://127.0.0.1:{}", etcd.port);
    let client = connect(etcd.port);
    // Ready a moment before the cluster has a version: without one it refuses everything about users.
    let version = Request::new(reqwest::Method::GET, "/version");
    let decided = async {
        while String::from_utf8_lossy(&client.send(version.clone()).await.unwrap().body).contains("not_decided") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, decided).await.expect("a version");
    let root = serde_json::json!({"user": "root", "password": "secret"});
    client.put_user("root", root).await.unwrap();
    client.enable_auth(true).await.unwrap();
    let root = connect_with(&url, Default::default(), Some(("root".into(), "secret".into())));
    root.auth_remove("roles", "guest").await.unwrap();
    let wrong = Node::new(&etcd, "m2", "etcd_username=root\netcd_password=wrong\n").await;
    let nodes = cluster_with(&etcd, &["m1"], "etcd_username=root\netcd_password=secret\n").await;
    nodes[0].put("a.service", SLEEP).await;
    eventually("it is launched", || {
        (nodes[0].shown("a.service").0 == "launched").then_some(())
    })
    .await;
    assert!(!wrong.machine().monitor.reachable());
}

#[tokio::test]
async fn pages_are_as_long_as_token_limit_says_and_metrics_count() {
    let etcd = etcd().await;
    let nodes = cluster_with(&etcd, &["m1"], "token_limit=2\ndisable_engine=true\n").await;
    for n in 0..3 {
        let file = UnitFile::parse(SLEEP).unwrap();
        let registry = &nodes[0].machine().registry;
        registry
            .create_unit(&format!("u{n}.service"), &file, JobState::Launched)
            .await
            .unwrap();
    }
    eventually("all are known", || {
        (nodes[0].machine().registry.mirror().jobs.len() == 3).then_some(())
    })
    .await;
    let (_, first) = nodes[0].ask("GET", "/fleet/v1/units", "").await;
    assert!(
        first.starts_with(r#"{"nextPageToken":"AgACAA==","units":[{"#),
        "{first}"
    );
    let (_, second) = nodes[0].ask("GET", "/fleet/v1/units?nextPageToken=AgACAA==", "").await;
    assert!(second.contains("u2.service") && !second.contains("u1.service") && !second.contains("nextPageToken"));
    let (status, why) = nodes[0].ask("GET", "/fleet/v1/units?nextPageToken=ZAACAA==", "").await;
    assert_eq!(status, 400);
    assert!(why.contains("token limit must be 2"), "{why}");
    let (status, metrics) = nodes[0].ask("GET", "/metrics", "").await;
    assert_eq!(status, 200);
    for line in [
        "fleet_machines 1",
        "fleet_units{state=\"inactive\"} 3",
        "fleet_engine_leader_start_time 0",
    ] {
        assert!(metrics.lines().any(|there| there == line), "{line} in {metrics}");
    }
    // Its only engine is disabled: nobody leads, nothing is scheduled.
    assert!(nodes[0].machine().registry.mirror().lease.is_none());
}

#[tokio::test]
async fn a_unit_is_asked_about_at_the_machine_that_has_it_and_only_by_machines_of_the_cluster() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1", "m2"]).await;
    nodes[0]
        .put("a.service", &format!("{SLEEP}[X-Fleet]\nMachineID=m2\n"))
        .await;
    eventually("it is launched and its machine can be reached", || {
        let known = nodes[0].machine().registry.mirror().peers.contains_key("m2");
        (known && nodes[0].shown("a.service").0 == "launched").then_some(())
    })
    .await;
    let status = |name: &str| format!("/fleet/v1/units/{name}/status");
    assert_eq!(nodes[0].ask("GET", &status("b.service"), "").await.0, 404);
    assert_eq!(
        nodes[0]
            .ask("GET", "/fleet/v1/units/a.service/journal?lines=x", "")
            .await
            .0,
        400
    );
    let peer = nodes[0].machine().registry.mirror().peers["m2"].clone();
    let machine = nodes[0].machine().peers.clone();
    assert!(!machine.promise(&peer).await.unwrap(), "it has etcd");
    let mut stranger = peer.clone();
    stranger.token = "0".repeat(32);
    assert!(!machine.promise(&stranger).await.unwrap());
    let question = labnode::fleet::tail::Question::Status;
    let refused = machine.ask(&stranger, "a.service", &question).await.err().unwrap();
    assert!(refused.contains("401"), "{refused}");
    let mut other = peer.clone();
    other.certificate = nodes[1].machine().registry.mirror().peers["m1"].certificate.clone();
    let refused = machine.ask(&other, "a.service", &question).await.err().unwrap();
    assert!(refused.contains("certificate"), "{refused}");
}
