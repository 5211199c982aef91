//! Proxy mode: clients go on while members come and go.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use corelab_tests::cluster::{Cluster, Setup};
use corelab_tests::http::{self, Conn, Watch};
use corelab_tests::process::Process;
use corelab_tests::services::Finder;
use corelab_tests::writers::Writers;
use corelab_tests::{eventually, ports, tools};

fn initial_cluster(cluster: &Cluster) -> String {
    let members = http::ask(cluster.members[0].client, "GET", "/v2/members", None)
        .expect("the members")
        .json();
    let list = members["members"].as_array().expect("a list");
    let each = list.iter().map(|member| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
        format!("{}={}", text(&member["name"]), text(&member["peerURLs"][0]))
    });
    each.collect::<Vec<_>>().join(",")
}

fn endpoints(proxy: SocketAddr) -> Option<usize> {
    let answer = http::ask(proxy, "GET", "/v2/config/local/proxy", None).ok()?;
    answer.json()["endpoints"].as_array().map(Vec::len)
}

#[track_caller]
fn wait_endpoints(proxy: SocketAddr, count: usize) {
    eventually(&format!("the proxy has {count} endpoints"), || {
        (endpoints(proxy) == Some(count)).then_some(())
    });
}

/// A proxy that knows all members.
#[track_caller]
fn proxy(cluster: &Cluster, mode: &str, dir: &Path) -> (Finder, Process) {
    let finder = Finder::new(
        "proxy",
        &["--proxy", mode, "--initial-cluster", &initial_cluster(cluster)],
    );
    let process = finder.start(dir);
    wait_endpoints(finder.client(), cluster.members.len());
    (finder, process)
}

#[test]
fn requests_answers_and_watches_pass() {
    let cluster = Setup::members(3).start();
    let (finder, _process) = proxy(&cluster, "on", cluster.dir.path());
    let client = finder.client();
    let mut conn = Conn::open(client).expect("a connection");
    let put = conn.ask("PUT", "/v2/keys/a", Some("value=1")).expect("an answer");
    assert_eq!(put.status, 201);
    assert!(put.headers.iter().any(|(name, _)| name == "X-Etcd-Index"), "{put:?}");
    let missing = conn.ask("GET", "/v2/keys/none", None).expect("an answer");
    assert_eq!((missing.status, missing.json()["errorCode"].as_u64()), (404, Some(100)));
    assert_eq!(conn.ask("HEAD", "/v2/keys/a", None).expect("an answer").status, 200);

    let mut watch = Watch::open(client, "/v2/keys/w?wait=true&recursive=true&stream=true").expect("a watch");
    for number in 0..3 {
        cluster.members[1].set(&format!("/w/{number}"), "value=x");
        let event = watch.next_event().expect("an event").expect("an event");
        assert_eq!(event["node"]["key"], format!("/w/{number}"));
    }
    // An answer larger than any buffer on the way.
    let value = "x".repeat(3 << 20);
    cluster.members[0].set("/large", &format!("value={value}"));
    let large = eventually("the large value is there", || {
        let answer = conn.ask("GET", "/v2/keys/large?quorum=true", None).expect("an answer");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(large.json()["node"]["value"], value);
    assert_eq!(
        conn.ask("GET", "/v2/keys/a", None).expect("the same connection").status,
        200
    );
}

#[test]
fn a_readonly_proxy_answers_501_to_all_but_get() {
    let cluster = Setup::members(1).start();
    let (finder, _process) = proxy(&cluster, "readonly", cluster.dir.path());
    for method in ["PUT", "POST", "DELETE", "HEAD"] {
        let answer = http::ask(finder.client(), method, "/v2/keys/a", None).expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (501, ""), "{method}");
    }
    let answer = http::ask(finder.client(), "GET", "/v2/keys/", None).expect("an answer");
    assert_eq!(answer.status, 200);
}

#[test]
fn a_member_killed_under_load_fails_no_read_and_loses_no_write() {
    let mut cluster = Setup::members(3).start();
    let (finder, mut process) = proxy(&cluster, "on", cluster.dir.path());
    let client = finder.client();
    cluster.members[0].set("/r", "value=1");
    eventually("all members have it", || {
        cluster
            .members
            .iter()
            .all(|member| member.get("/v2/keys/r").is_ok_and(|a| a.status == 200))
            .then_some(())
    });
    let (stop, reads) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, reads) = (stop.clone(), reads.clone());
            std::thread::spawn(move || {
                let mut conn = Conn::open(client).expect("a connection");
                while !stop.load(Ordering::Relaxed) {
                    let answer = conn.ask("GET", "/v2/keys/r", None).expect("an answer");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut writers = Writers::start([client].into_iter(), 4, 64);
    for victim in 0..3 {
        writers.wait_for(100);
        cluster.members[victim].kill9();
        writers.wait_for(100);
        cluster.members[victim].restart();
        wait_endpoints(client, 3);
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("no read fails");
    }
    assert!(reads.load(Ordering::Relaxed) > 100);
    writers.stop().check(&cluster.members[0]);
    process.wait_log("unavailable");
}

#[test]
fn all_members_gone_is_said_and_over_as_soon_as_one_is_back() {
    let mut cluster = Setup::members(1).start();
    let (finder, _process) = proxy(&cluster, "on", cluster.dir.path());
    let get = || http::ask(finder.client(), "GET", "/v2/keys/", None).expect("an answer");
    cluster.members[0].kill9();
    let first = get();
    assert_eq!(first.status, 502);
    assert_eq!(
        first.json()["message"],
        "proxy: unable to get response from 1 endpoint(s)"
    );
    let second = get();
    assert_eq!(second.status, 503);
    assert_eq!(second.json()["message"], "proxy: zero endpoints currently available");
    cluster.members[0].restart();
    wait_endpoints(finder.client(), 1);
    assert_eq!(get().status, 200);
}

#[test]
fn a_member_that_has_moved_is_found_long_before_the_next_refresh() {
    let nobody = ports::claim();
    let mut cluster = Setup::members(1).prepare();
    let args = cluster.members[0].args.clone();
    let elsewhere = format!("http://127.0.0.1:{}", nobody.number);
    cluster.members[0]
        .args
        .extend(["--advertise-client-urls".into(), elsewhere]);
    cluster.members[0].restart();
    let list = initial_cluster(&cluster);
    let never = ["--proxy-refresh-interval", "86400000"];
    let finder = Finder::new(
        "proxy",
        &[&["--proxy", "on", "--initial-cluster", &list], &never[..]].concat(),
    );
    let _process = finder.start(cluster.dir.path());
    wait_endpoints(finder.client(), 1);
    let get = || http::ask(finder.client(), "GET", "/v2/keys/", None).expect("an answer");
    assert_eq!(get().status, 502);
    cluster.members[0].kill9();
    cluster.members[0].args = args;
    cluster.members[0].restart();
    eventually("the proxy finds it", || (get().status == 200).then_some(()));
}

#[test]
fn a_proxy_stays_one_without_its_flag() {
    let cluster = Setup::members(1).start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (finder, process) = proxy(&cluster, "on", dir.path());
    let file = dir.path().join("proxy/proxy/cluster");
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("proxy/cluster")).expect("JSON");
    assert_eq!(kept["PeerURLs"].as_array().map(Vec::len), Some(1), "{kept}");
    drop(process);
    let mut command = std::process::Command::new(tools::labnode());
    let client = format!("http://{}", finder.client());
    command.args([
        "etcd",
        "--name=proxy",
        "--data-dir=proxy",
        "--listen-client-urls",
        &client,
    ]);
    command
        .args(["--advertise-client-urls", &client])
        .current_dir(dir.path());
    let mut again = Process::spawn(command, &dir.path().join("again.log"));
    again.wait_log("already initialized as proxy before");
    wait_endpoints(finder.client(), 1);
    let answer = http::ask(finder.client(), "PUT", "/v2/keys/a", Some("value=1")).expect("an answer");
    assert_eq!(answer.status, 201);
}
