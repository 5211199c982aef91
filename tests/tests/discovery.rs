//! Clusters that find themselves: through our discovery service, any etcd, and SRV records.
use std::net::UdpSocket;
use std::process::Command;

use corelab_tests::process::Process;
use corelab_tests::services::{self, Finder, Service};
use corelab_tests::{eventually, http, ports, tools};
use tempfile::TempDir;

fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("corelab-")
        .tempdir()
        .expect("a temporary directory")
}

#[track_caller]
fn token(service: &Service, size: usize) -> String {
    let answer = http::ask(service.address, "GET", &format!("/new?size={size}"), None).expect("a token");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// Starts so many members with a token and waits until they serve.
#[track_caller]
fn bootstrap(url: &str, count: usize, dir: &TempDir) -> Vec<(Finder, Process)> {
    let mut members: Vec<(Finder, Process)> = (0..count)
        .map(|number| {
            let finder = Finder::new(&format!("m{number}"), &["--discovery", url]);
            let process = finder.start(dir.path());
            (finder, process)
        })
        .collect();
    for (finder, process) in &mut members {
        process.wait_log("published {");
        let listed = http::ask(finder.client(), "GET", "/v2/members", None)
            .expect("the members")
            .json();
        assert_eq!(listed["members"].as_array().map(Vec::len), Some(count), "{listed}");
    }
    members
}

/// Runs to its end with exit status 1, having said this.
#[track_caller]
fn fails(finder: &Finder, dir: &TempDir, text: &str) {
    let mut process = finder.start(dir.path());
    let status = process.wait();
    assert_eq!(status.code(), Some(1));
    assert!(process.log().contains(text), "no {text:?} in {}", process.log());
}

#[test]
fn three_find_each_other_and_a_fourth_becomes_a_proxy_or_exits() {
    let dir = scratch();
    let service = services::discovery(dir.path());
    let url = token(&service, 3);
    let members = bootstrap(&url, 3, &dir);
    let fourth = Finder::new("m3", &["--discovery", &url]);
    let mut process = fourth.start(dir.path());
    process.wait_log("discovery cluster full, falling back to proxy");
    eventually("the proxy writes", || {
        let answer = http::ask(fourth.client(), "PUT", "/v2/keys/a", Some("value=1")).ok()?;
        matches!(answer.status, 200 | 201).then_some(())
    });
    assert!(dir.path().join("m3/proxy/cluster").is_file() && !dir.path().join("m3/member").exists());
    let fifth = Finder::new("m4", &["--discovery", &url, "--discovery-fallback=exit"]);
    fails(&fifth, &dir, "discovery cluster is full");

    // A member that restarts does not ask; one that lost its data is told that its token is spent.
    let (finder, process) = &members[0];
    process.signal(rustix::process::Signal::TERM);
    eventually("it has stopped", || {
        http::ask(finder.client(), "GET", "/", None).is_err().then_some(())
    });
    drop(service);
    let mut again = finder.start(dir.path());
    again.wait_log("already initialized as member before");
    drop(again);
    std::fs::remove_dir_all(dir.path().join("m0")).expect("lose the data");
    let _service = services::discovery_at_url(&url, dir.path());
    fails(finder, &dir, "is spent");
}

#[test]
fn a_plain_etcd_is_a_discovery_service_too() {
    let dir = scratch();
    let single = corelab_tests::cluster::Setup::members(1).start();
    single.members[0].set("/discovery/t/_config/size", "value=3");
    bootstrap(&format!("{}/v2/keys/discovery/t", single.members[0].url()), 3, &dir);
}

#[test]
fn debians_etcd_is_a_discovery_service_too_and_keeps_tokens_for_ours() {
    let dir = scratch();
    let (client, peer) = (ports::claim(), ports::claim());
    let url = |port: &ports::Port| format!("http://127.0.0.1:{}", port.number);
    let mut command = Command::new("/usr/bin/etcd");
    command
        .args(["--enable-v2=true", "--data-dir", "debian"])
        .current_dir(dir.path());
    for flag in ["--listen-client-urls", "--advertise-client-urls"] {
        command.args([flag, &url(&client)]);
    }
    command.args([
        "--listen-peer-urls",
        &url(&peer),
        "--initial-advertise-peer-urls",
        &url(&peer),
    ]);
    command.args(["--initial-cluster", &format!("default={}", url(&peer))]);
    let _etcd = Process::spawn(command, &dir.path().join("debian.log"));
    let address = ([127, 0, 0, 1], client.number).into();
    eventually("Debian's etcd takes the size", || {
        let answer = http::ask(address, "PUT", "/v2/keys/discovery/t/_config/size", Some("value=2")).ok()?;
        (answer.status == 201).then_some(())
    });
    bootstrap(&format!("{}/v2/keys/discovery/t", url(&client)), 2, &dir);
    let service = services::discovery_at(ports::claim(), dir.path(), &["--etcd", &url(&client)]);
    let other = scratch();
    bootstrap(&token(&service, 2), 2, &other);
}

#[test]
fn the_protocol_is_that_of_the_public_service() {
    let dir = scratch();
    let service = services::discovery(dir.path());
    let ask = |method: &str, path: &str, form: Option<&str>| {
        http::ask(service.address, method, path, form).expect("an answer")
    };
    let url = ask("POST", "/new", Some("size=5")).text();
    let path = url
        .strip_prefix(&service.url())
        .unwrap_or_else(|| panic!("{url} is not of the service"))
        .to_string();
    assert_eq!(path.len(), 33);
    let size = ask("GET", &format!("{path}/_config/size"), None);
    assert_eq!(size.json()["node"]["value"], "5");
    assert!(size.header("X-Etcd-Index").is_some());
    for (method, below, status) in [
        ("PUT", "/_config/size", 405),
        ("DELETE", "", 405),
        ("GET", "/nobody", 404),
        ("GET", "", 200),
        ("GET", "/", 200),
        ("DELETE", "/nobody", 404),
    ] {
        assert_eq!(
            ask(method, &format!("{path}{below}"), None).status,
            status,
            "{method} {below}"
        );
    }
    let register = format!("{path}/abc?prevExist=false");
    assert_eq!(ask("PUT", &register, Some("value=a=http://a:1")).status, 201);
    assert_eq!(
        ask("PUT", &register, Some("value=b=http://b:1")).json()["errorCode"],
        105
    );
    assert_eq!(ask("GET", "/abc", None).text(), "404 page not found\n");
    assert_eq!(ask("GET", "/health", None).text(), "OK");
    assert_eq!(
        ask("GET", "/new?size=abc", None).text(),
        "strconv.Atoi: parsing \"abc\": invalid syntax\n"
    );
    assert_eq!(ask("GET", "/new?size=0", None).status, 400);
    assert_eq!(ask("GET", "/", None).status, 301);
    assert_eq!(ask("GET", "/robots.txt", None).status, 200);
    let metrics = ask("GET", "/metrics", None).text();
    assert!(
        metrics.contains("endpoint_new_requests_total{code=\"200\",method=\"post\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("endpoint_token_requests_total{code=\"405\",method=\"put\"} 1"),
        "{metrics}"
    );
}

#[test]
fn an_etcd_behind_the_service_that_is_gone_is_said() {
    let dir = scratch();
    let nobody = format!("http://127.0.0.1:{}", ports::claim().number);
    let service = services::discovery_at(ports::claim(), dir.path(), &["--etcd", &nobody]);
    let ask = |path: &str| http::ask(service.address, "GET", path, None).expect("an answer");
    assert_eq!(
        (ask("/new").status, ask("/new").text().as_str()),
        (400, "Unable to generate token\n")
    );
    assert_eq!(ask("/health").text(), "health failed to setupToken\n");
    assert_eq!(ask(&format!("/{}", "a".repeat(32))).status, 502);
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    let dir = scratch();
    let service = services::discovery(dir.path());
    let unknown = format!("{}/{}", service.url(), "a".repeat(32));
    fails(&Finder::new("a", &["--discovery", &unknown]), &dir, "no size at");
    let page = format!("{}/robots.txt", service.url());
    fails(
        &Finder::new("b", &["--discovery", &page]),
        &dir,
        "bad discovery endpoint",
    );
    let single = corelab_tests::cluster::Setup::members(1).start();
    single.members[0].set("/t/_config/size", "value=many");
    let bad = format!("{}/v2/keys/t", single.members[0].url());
    fails(&Finder::new("c", &["--discovery", &bad]), &dir, "size key is bad");

    // The same name twice: the last one to come finds out, and so does the first.
    let url = token(&service, 2);
    let (one, two) = (scratch(), scratch());
    let mut first = Finder::new("same", &["--discovery", &url]).start(one.path());
    first.wait_log("waiting for 1 more");
    fails(&Finder::new("same", &["--discovery", &url]), &two, "duplicate name");
    assert_eq!(first.wait().code(), Some(1));
}

#[test]
fn a_member_waits_for_the_service_and_goes_on_after_its_own_restart_and_the_services() {
    let dir = scratch();
    let service = services::discovery(dir.path());
    let url = token(&service, 2);
    drop(service);
    let finder = Finder::new("first", &["--discovery", &url]);
    let mut first = finder.start(dir.path());
    first.wait_log("retrying in");
    let _service = services::discovery_at_url(&url, dir.path());
    first.wait_log("waiting for 1 more");
    drop(first);
    let mut first = finder.start(dir.path());
    first.wait_log("is registered already, going on");
    let mut second = Finder::new("second", &["--discovery", &url]).start(dir.path());
    first.wait_log("published {");
    second.wait_log("published {");
}

/// Answers every SRV question for `_etcd-server._tcp` with these ports of localhost, and all else with "no such name".
fn srv_responder(socket: UdpSocket, ports: Vec<u16>) {
    let mut buffer = [0; 512];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let query = &buffer[..len];
        let known = query.windows(12).any(|window| window == b"_etcd-server")
            && !query.windows(16).any(|w| w == b"_etcd-server-ssl");
        let mut answer = query.to_vec();
        (answer[2], answer[3]) = (0x81, if known { 0x80 } else { 0x83 });
        if known {
            answer[7] = ports.len() as u8;
            for port in &ports {
                answer.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 17, 0, 0, 0, 0]);
                answer.extend_from_slice(&port.to_be_bytes());
                answer.extend_from_slice(b"\x09localhost\x00");
            }
        }
        let _ = socket.send_to(&answer, from);
    }
}

#[test]
fn srv_records_name_the_members() {
    let dir = scratch();
    let address = format!("127.53.{}.{}", rand::random_range(1..255), rand::random_range(1..255));
    let socket = UdpSocket::bind((address.as_str(), 53)).expect("port 53 of an address of our own");
    let conf = dir.path().join("resolv.conf");
    std::fs::write(&conf, format!("nameserver {address}\n")).expect("a resolv.conf");
    let script = format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", conf.display());
    let members: Vec<Finder> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            Finder::new(name, &["--discovery-srv", "lab.test"]).wrap(&["unshare", "--mount", "sh", "-c", &script])
        })
        .collect();
    let ports = members.iter().map(Finder::peer_port).collect();
    std::thread::spawn(move || srv_responder(socket, ports));
    let mut processes: Vec<Process> = members.iter().map(|member| member.start(dir.path())).collect();
    for process in &mut processes {
        process.wait_log("published {");
    }
    let stranger =
        Finder::new("d", &["--discovery-srv", "lab.test"]).wrap(&["unshare", "--mount", "sh", "-c", &script]);
    fails(&stranger, &dir, "cannot find local etcd member \"d\" in SRV records");
    let output = tools::run(Command::new("curl").args(["-s", &format!("http://{}/v2/members", members[0].client())]));
    assert_eq!(tools::outputs(&output).matches("\"id\"").count(), 3);
}
