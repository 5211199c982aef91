//! fleet on real nodes: units in their systemd, journals over the API, signals, machines that go and come back.

use corelab_tests::eventually;
use corelab_tests::lab::{Lab, Who};
use serde_json::{Value, json};

const USER_DATA: &str = "#cloud-config
coreos:
  etcd2:
    discovery: https://discovery.etcd.io/<token>
    advertise-client-urls: http://$private_ipv4:2379,http://$private_ipv4:4001
    initial-advertise-peer-urls: http://$private_ipv4:2380
    listen-client-urls: http://0.0.0.0:2379,http://0.0.0.0:4001
    listen-peer-urls: http://$private_ipv4:2380
  fleet:
    agent-ttl: 6s
    engine-reconcile-interval: 1
  units:
    - name: etcd2.service
      command: start
    - name: fleet.service
      command: start
";

const NODES: [&str; 3] = ["core-01", "core-02", "core-03"];

fn lab(nodes: u8) -> Lab {
    let lab = Lab::with_user_data(Who::Root, nodes, USER_DATA);
    lab.ok(&["up"]);
    lab
}

/// Asks the API of a node; its status and body.
fn ask(lab: &Lab, node: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let data = match body {
        "" => String::new(),
        body => format!("-H 'Content-Type: application/json' -d '{body}' "),
    };
    let curl = format!(
        "curl -s -m 20 -w '\\n%{{http_code}}' -X {method} {data}--unix-socket /run/fleet.sock 'http://fleet/fleet/v1{path}'"
    );
    let answer = lab.on(node, &curl);
    let (body, status) = answer.trim_end().rsplit_once('\n').unwrap_or(("", answer.trim_end()));
    (status.parse().unwrap_or_else(|_| panic!("{answer}")), body.to_string())
}

fn get(lab: &Lab, node: &str, path: &str) -> Value {
    let (status, body) = ask(lab, node, "GET", path, "");
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn launch(lab: &Lab, node: &str, unit: &str, options: &[(&str, &str, &str)]) {
    let option =
        |(section, name, value): &(&str, &str, &str)| json!({"section": section, "name": name, "value": value});
    let options: Vec<Value> = options.iter().map(option).collect();
    let body = json!({"desiredState": "launched", "options": options}).to_string();
    let (status, answer) = ask(lab, node, "PUT", &format!("/units/{unit}"), &body);
    assert_eq!(status, 201, "{answer}");
}

/// The machine id of the node on which a unit is launched and active.
#[track_caller]
fn active(lab: &Lab, from: &str, unit: &str) -> String {
    eventually(&format!("{unit} is active"), || {
        let (status, body) = ask(lab, from, "GET", &format!("/units/{unit}"), "");
        let found: Value = serde_json::from_str(&body).ok()?;
        let machine = found["machineID"].as_str()?.to_string();
        let states = get(lab, from, &format!("/state?unitName={unit}&machineID={machine}"));
        let well = states["states"][0]["systemdActiveState"] == "active";
        (status == 200 && found["currentState"] == "launched" && well).then_some(machine)
    })
}

fn names(lab: &Lab, nodes: &[&'static str]) -> Vec<(String, &'static str)> {
    let id = |node: &&'static str| (lab.on(node, "cat /etc/machine-id").trim().to_string(), *node);
    nodes.iter().map(id).collect()
}

const SLEEPS: (&str, &str, &str) = ("Service", "ExecStart", "/bin/sh -c \"echo I am here; exec sleep 9999\"");

#[test]
fn units_signals_and_machines_of_a_real_cluster() {
    let lab = lab(3);
    let nodes = NODES;
    let ids = names(&lab, &nodes);
    let node_of = |id: &str| ids.iter().find(|(known, _)| known == id).expect("a node of ours").1;
    let id_of = |node: &str| {
        ids.iter()
            .find(|(_, known)| *known == node)
            .expect("a node of ours")
            .0
            .clone()
    };
    eventually("all machines are there", || {
        let machines = get(&lab, "core-01", "/machines");
        (machines["machines"].as_array()?.len() == 3).then_some(())
    });

    // A unit reaches active, in systemd and in what is shown; its text is as it was given.
    launch(&lab, "core-01", "one.service", &[SLEEPS, ("X-Fleet", "Weight", "1")]);
    let first = active(&lab, "core-02", "one.service");
    let (at, other) = (
        node_of(&first),
        nodes.iter().find(|node| **node != node_of(&first)).expect("another"),
    );
    assert_eq!(lab.on(at, "systemctl is-active one.service").trim(), "active");
    let text = lab.on(at, "cat /run/fleet/units/one.service");
    assert!(text.contains("[X-Fleet]\nWeight=1\n"), "{text}");

    // Its status and journal, from a machine that does not have it.
    let (status, said) = ask(&lab, other, "GET", "/units/one.service/status", "");
    assert!(
        status == 200 && said.contains("one.service") && said.contains("active (running)"),
        "{said}"
    );
    eventually("its journal is told", || {
        let (_, said) = ask(&lab, other, "GET", "/units/one.service/journal?lines=5", "");
        said.contains("I am here").then_some(())
    });
    let followed = lab.on(
        other,
        "timeout 30 curl -sN --unix-socket /run/fleet.sock 'http://fleet/fleet/v1/units/one.service/journal?follow=true' | grep -m1 'I am here'",
    );
    assert!(followed.contains("I am here"), "{followed}");
    let unasked = lab.on(
        at,
        &format!("for p in $(ss -ltnH | sed 's/.*:\\([0-9]*\\) .*/\\1/'); do curl -ks -m 3 https://{at}:$p/units/one.service/status || true; done"),
    );
    assert!(!unasked.contains("running"), "strangers are told nothing: {unasked}");
    assert!(unasked.contains("this is for the other machines"), "{unasked}");

    // Restarted through the registry: another process.
    let pid = |node: &str, unit: &str| {
        lab.on(node, &format!("systemctl show -P MainPID {unit}"))
            .trim()
            .to_string()
    };
    let before = pid(at, "one.service");
    assert_eq!(ask(&lab, other, "POST", "/units/one.service/restart", "").0, 204);
    eventually("it has another process", || {
        let now = pid(at, "one.service");
        (now != before && now != "0").then_some(())
    });

    // What [Install] says is done, and undone.
    let side = [
        SLEEPS,
        ("Install", "WantedBy", "one.service"),
        ("X-Fleet", "MachineOf", "one.service"),
    ];
    launch(&lab, "core-01", "side.service", &side);
    assert_eq!(active(&lab, "core-03", "side.service"), first);
    assert!(
        lab.on(at, "systemctl show -P Wants one.service")
            .contains("side.service")
    );
    assert_eq!(ask(&lab, "core-03", "DELETE", "/units/side.service", "").0, 204);
    eventually("it is gone, with its files", || {
        let left = lab.on(at, "ls /run/fleet/units; systemctl show -P Wants one.service");
        (!left.contains("side.service")).then_some(())
    });

    // SIGHUP: the settings are read again, units and API go on.
    let running = pid(at, "one.service");
    let fleetd = pid(at, "fleet.service");
    lab.on(
        at,
        "sudo mkdir -p /etc/fleet && echo metadata=role=new | sudo tee /etc/fleet/fleet.conf && sudo systemctl kill -s HUP fleet.service",
    );
    eventually("the new metadata is shown by the same process", || {
        let (_, machines) = ask(&lab, at, "GET", "/machines", "");
        machines.contains(r#""role":"new""#).then_some(())
    });
    assert_eq!((pid(at, "fleet.service"), pid(at, "one.service")), (fleetd, running));

    // The API over TCP, by one more ListenStream.
    lab.on(
        other,
        "sudo mkdir -p /etc/systemd/system/fleet.socket.d; printf '[Socket]\\nListenStream=49153\\n' | \
         sudo tee /etc/systemd/system/fleet.socket.d/tcp.conf; sudo systemctl daemon-reload; \
         sudo systemctl stop fleet.service; sudo systemctl restart fleet.socket; sudo systemctl start fleet.service",
    );
    eventually("it answers over TCP", || {
        let said = lab.on(at, &format!("curl -s -m 5 http://{other}:49153/fleet/v1/units || true"));
        said.contains("one.service").then_some(())
    });

    // SIGTERM: units stop, the machine leaves at once, others take over; it comes back and takes nothing back.
    lab.on(at, "sudo systemctl stop fleet.service");
    assert_eq!(lab.on(at, "systemctl show -P Result fleet.service").trim(), "success");
    assert_eq!(
        lab.on(at, "ls /run/fleet/units; systemctl is-active one.service || true")
            .trim(),
        "inactive"
    );
    let second = active(&lab, other, "one.service");
    assert_ne!(second, first);
    lab.on(at, "sudo systemctl start fleet.service");
    eventually("it is back", || {
        let machines = get(&lab, at, "/machines").to_string();
        machines.contains(&first).then_some(())
    });
    assert_eq!(active(&lab, at, "one.service"), second);

    // A machine that dies: its unit runs elsewhere; it comes back and runs it no more.
    let dies = node_of(&second);
    lab.ok(&["halt", "--force", dies]);
    let left = nodes.iter().find(|node| **node != dies).expect("another");
    let third = eventually("it runs elsewhere", || {
        let now = active(&lab, left, "one.service");
        (now != second).then_some(now)
    });
    lab.ok(&["up"]);
    eventually("the machine is back", || {
        let machines = get(&lab, left, "/machines").to_string();
        machines.contains(&id_of(dies)).then_some(())
    });
    assert_eq!(active(&lab, dies, "one.service"), third);
    assert_eq!(
        lab.on(dies, "systemctl is-active one.service || true").trim(),
        "inactive"
    );

    // SIGTERM while etcd cannot be reached: an orderly end all the same.
    let lonely = node_of(&third);
    lab.on(lonely, "sudo systemctl stop etcd2.service");
    eventually("its API says that it has lost etcd", || {
        (ask(&lab, lonely, "GET", "/units", "").0 == 503).then_some(())
    });
    lab.on(lonely, "sudo systemctl stop fleet.service");
    assert_eq!(
        lab.on(lonely, "systemctl show -P Result fleet.service").trim(),
        "success"
    );
    lab.gone();
}

#[test]
fn on_a_single_node_nothing_changes_while_etcd_is_away() {
    let lab = lab(1);
    launch(&lab, "core-01", "one.service", &[SLEEPS]);
    launch(&lab, "core-01", "all.service", &[SLEEPS, ("X-Fleet", "Global", "true")]);
    active(&lab, "core-01", "one.service");
    let look = "cat /run/fleet/units/*; systemctl show -P MainPID -P ActiveState one.service all.service";
    let all = eventually("the global unit runs, too", || {
        let seen = lab.on("core-01", look);
        (seen.matches("active").count() == 2 && !seen.contains("inactive")).then_some(seen)
    });
    // Its heartbeat says which machines it would have to ask: none.
    eventually("it has said whom it asks", || {
        let keys = lab.on("core-01", "etcdctl ls --recursive /_coreos.com/fleet/machines");
        keys.contains("/asks").then_some(())
    });
    lab.on("core-01", "sudo systemctl kill -s STOP etcd2.service");
    // systemd would tell of a stop, or of anything else that happened to them.
    let told = "sudo timeout 15 journalctl --follow --lines=0 --quiet -u one.service -u all.service || test $? = 124";
    assert_eq!(lab.on("core-01", told), "");
    assert_eq!(lab.on("core-01", look), all);
    lab.on("core-01", "sudo systemctl kill -s CONT etcd2.service");
    active(&lab, "core-01", "one.service");
    assert_eq!(lab.on("core-01", look), all);
    lab.gone();
}

#[test]
fn unit_files_are_where_the_settings_want_them() {
    let lab = lab(1);
    let node = "core-01";
    launch(&lab, node, "one.service", &[SLEEPS]);
    active(&lab, node, "one.service");
    let link = "readlink /run/systemd/system/one.service";
    assert_eq!(lab.on(node, link), "/run/fleet/units/one.service\n");
    lab.on(
        node,
        "sudo mkdir -p /etc/fleet && echo units_directory=/run/elsewhere/units/ | sudo tee /etc/fleet/fleet.conf && \
         sudo systemctl restart fleet.service",
    );
    active(&lab, node, "one.service");
    eventually("it is linked from there", || {
        (lab.on(node, &format!("{link} || true")) == "/run/elsewhere/units/one.service\n").then_some(())
    });
    assert!(
        lab.on(node, "cat /run/elsewhere/units/one.service")
            .contains("ExecStart=")
    );
    assert_eq!(
        lab.on(node, "ls /run/fleet/units"),
        "",
        "fleetd has tidied up when it stopped"
    );
    assert_eq!(lab.on(node, "systemctl is-active one.service").trim(), "active");
    assert_eq!(ask(&lab, node, "DELETE", "/units/one.service", "").0, 204);
    eventually("the file is gone", || {
        lab.on(node, "ls /run/elsewhere/units").is_empty().then_some(())
    });
    lab.gone();
}

#[test]
fn behind_proxies_fleet_answers_soon_after_the_only_member_can_be_reached() {
    let lab = Lab::new();
    let nodes = "nodes: {core-01: {user_data: member}, core-02: {user_data: proxy}, core-03: {user_data: proxy}}";
    lab.write("lab.yaml", &format!("num_instances: 3\n{nodes}\n"));
    let data = |etcd: &str| {
        let units = USER_DATA.split_once("  fleet:\n").expect("a section").1;
        format!(
            "#cloud-config\ncoreos:\n  etcd2:\n    initial-cluster: core-01=http://172.17.8.101:2380\n{etcd}  fleet:\n{units}"
        )
    };
    let listens = "    listen-client-urls: http://0.0.0.0:2379,http://0.0.0.0:4001\n";
    let peers = "    name: core-01
    initial-advertise-peer-urls: http://$private_ipv4:2380
    listen-peer-urls: http://$private_ipv4:2380
";
    lab.write("proxy", &data(&format!("    proxy: on\n{listens}")));
    // As by default: its clients are told localhost, which is another machine for each of them.
    lab.write("member", &data(peers));
    lab.ok(&["up"]);
    let answers = |node: &str| {
        eventually("fleet answers", || {
            (ask(&lab, node, "GET", "/machines", "").0 == 200).then_some(())
        })
    };
    answers("core-01");
    eventually("the proxy says what is wrong", || {
        let log = lab.on("core-02", "sudo journalctl -u etcd2 --no-pager");
        log.contains("leads to this proxy itself").then_some(())
    });
    for node in ["core-02", "core-03"] {
        let (status, said) = ask(&lab, node, "GET", "/machines", "");
        assert_eq!(status, 503, "{said}");
        assert!(said.contains("fleet server unable to communicate with etcd"), "{said}");
    }
    let right = format!("{peers}{listens}    advertise-client-urls: http://$private_ipv4:2379\n");
    lab.write("member", &data(&right));
    lab.ok(&["reload", "--provision", "core-01"]);
    let up = std::time::Instant::now();
    NODES.iter().for_each(|node| answers(node));
    // A proxy looks at members that answer every 30 seconds, and every second while none does.
    assert!(up.elapsed().as_secs() < 15, "{:?}", up.elapsed());
    eventually("all machines are there", || {
        let machines = get(&lab, "core-03", "/machines");
        (machines["machines"].as_array()?.len() == 3).then_some(())
    });
    lab.gone();
}
