//! etcd 0.4's habits: its flags, its paths, its curl lines.
use std::process::Command;

use corelab_tests::process::Process;
use corelab_tests::{eventually, ports, tools};

#[track_caller]
fn curl(args: &[&str]) -> String {
    let output = tools::run(Command::new("curl").args(["-sS", "-L"]).args(args));
    assert!(output.status.success(), "{}", tools::outputs(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

struct Machine {
    client: String,
    peer: String,
    _process: Process,
}

/// Two machines, started as one was in 2014.
fn cluster(dir: &std::path::Path) -> Vec<Machine> {
    let ports: Vec<_> = (0..2).map(|_| (ports::claim(), ports::claim())).collect();
    let list: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(i, (_, peer))| format!("node{}=http://127.0.0.1:{}", i + 1, peer.number))
        .collect();
    let machines = ports.iter().enumerate().map(|(i, (client, peer))| {
        let (client, peer) = (
            format!("127.0.0.1:{}", client.number),
            format!("127.0.0.1:{}", peer.number),
        );
        let name = format!("node{}", i + 1);
        let mut command = Command::new(tools::labnode());
        command
            .args(["etcd", "-name", &name, "-addr", &client, "-bind-addr", &client])
            .args([
                "-peer-addr",
                &peer,
                "-peer-bind-addr",
                &peer,
                "-initial-cluster",
                &list.join(","),
            ])
            .arg("-data-dir")
            .arg(dir.join(&name));
        Machine {
            _process: Process::spawn(command, &dir.join(format!("{name}.log"))),
            client: format!("http://{client}"),
            peer: format!("http://{peer}"),
        }
    });
    let mut machines: Vec<Machine> = machines.collect();
    for machine in &mut machines {
        machine._process.wait_log("published {");
    }
    // Both names are known to both.
    eventually("two machines", || {
        let all = |machine: &Machine| curl(&[&format!("{}/v2/machines", machine.client)]).split(", ").count() == 2;
        machines.iter().all(all).then_some(())
    });
    machines
}

#[test]
fn the_curl_lines_of_0_4_work_at_every_member() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let machines = cluster(dir.path());
    for machine in &machines {
        let Machine { client, peer, .. } = machine;
        let set = curl(&[
            &format!("{client}/v2/keys/svclocation"),
            "-X",
            "PUT",
            "-d",
            "value=10.1.1.20:80",
        ]);
        assert!(set.contains("\"value\":\"10.1.1.20:80\""), "{set}");
        let get = curl(&[&format!("{client}/v2/keys/?recursive=true&sorted=true&consistent=true")]);
        assert!(get.contains("/svclocation"), "{get}");

        let leader = curl(&[&format!("{client}/v2/leader")]);
        assert!(machines.iter().any(|machine| machine.peer == leader), "{leader}");
        assert_eq!(
            curl(&[&format!("{client}/v2/peers")]),
            curl(&[&format!("{client}/v2/machines")])
        );

        let admin: serde_json::Value =
            serde_json::from_str(&curl(&[&format!("{peer}/v2/admin/machines")])).expect("JSON");
        let leaders = admin.as_array().expect("machines").iter();
        let leaders: Vec<_> = leaders.filter(|machine| machine["state"] == "leader").collect();
        assert_eq!((admin.as_array().map(Vec::len), leaders.len()), (Some(2), 1), "{admin}");
        assert_eq!(leaders[0]["peerURL"], leader.as_str());
        let one = curl(&[&format!("{peer}/v2/admin/machines/node2")]);
        assert!(one.contains("\"name\":\"node2\""), "{one}");
        let config = curl(&[&format!("{peer}/v2/admin/config")]);
        assert_eq!(config, r#"{"activeSize":9,"removeDelay":1800,"syncInterval":5}"#);

        let keys: serde_json::Value =
            serde_json::from_str(&curl(&[&format!("{client}/v2/keys/_etcd/machines")])).expect("JSON");
        let nodes = keys["node"]["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 2, "{keys}");
        let node = curl(&[&format!("{client}/v2/keys/_etcd/machines/node1")]);
        let escaped = machines[0].client.replace(':', "%3A").replace('/', "%2F");
        assert!(
            node.contains(&format!("etcd={escaped}&raft=").replace('&', "\\u0026")),
            "{node}"
        );
    }
}
