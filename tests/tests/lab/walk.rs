//! A lab from `up` to `destroy`, as the walk-throughs type it.
use corelab_tests::eventually;
use corelab_tests::lab::{Lab, Who};

fn boots(lab: &Lab, node: &str) -> u64 {
    lab.node(node)["boots"].as_u64().expect("a number")
}

/// The kernel's own name of a start of a node's systemd.
fn start_of(lab: &Lab, node: &str) -> String {
    lab.on(
        node,
        "stat -c %Y /proc/1; systemctl show -p UserspaceTimestampMonotonic",
    )
}

fn three_nodes_come_up_as_a_cluster_and_go_without_a_trace(who: Who) {
    let lab = Lab::of(who);
    let said = lab.ok(&["up"]);
    assert!(said.contains("ready: 3 of 3"), "{said}");
    let table = lab.ok(&["status"]);
    for (node, address) in [
        ("core-01", "172.17.8.101"),
        ("core-02", "172.17.8.102"),
        ("core-03", "172.17.8.103"),
    ] {
        let line = table.lines().find(|line| line.starts_with(node)).expect(node);
        assert!(line.contains("ready") && line.contains(address), "{table}");
        assert_eq!(lab.on(node, "hostname").trim(), node);
        let hosts = lab.on(node, "getent hosts core-01 core-02 core-03");
        assert!(hosts.contains(address), "{hosts}");
        let health = lab.on(node, "etcdctl cluster-health");
        assert!(health.contains("cluster is healthy"), "{health}");
        assert_eq!(health.matches("is healthy: got healthy result").count(), 3, "{health}");
        assert_eq!(lab.on(node, "systemctl is-system-running").trim(), "running");
        let drop_in = lab.on(
            node,
            "grep DISCOVERY /run/systemd/system/etcd2.service.d/20-cloudinit.conf",
        );
        assert!(drop_in.contains("ETCD_DISCOVERY=http://172.17.8.1:"), "{drop_in}");
        let all = lab.on(node, "cat /run/systemd/system/etcd2.service.d/20-cloudinit.conf");
        assert!(
            all.contains(&format!("http://{address}:2380")) && !all.contains('$'),
            "{all}"
        );
    }
    let one = lab.ok(&["status", "core-01"]);
    assert!(one.contains("core-01") && !one.contains("core-02"), "{one}");
    let ids = lab.ok(&["exec", "all", "--", "cat", "/etc/machine-id"]);
    let mut ids: Vec<&str> = ids.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "every node is a machine of its own: {ids:?}");

    // W2: a node is lost, the others go on.
    assert!(lab.ok(&["destroy", "-f", "core-01"]).contains("destroyed core-01"));
    assert_eq!(lab.node("core-01")["state"], "new");
    assert_eq!(lab.on("core-02", "etcdctl set foobar asdf").trim(), "asdf");
    assert!(lab.dir().join(".lab").exists());
    // W1: all at once, by name; with the last one, the lab.
    lab.sh("lab destroy -f core-01 core-02 core-03");
    assert!(!lab.dir().join(".lab").exists());
    lab.gone();
}

fn a_node_comes_up_alone_says_what_it_waits_for_and_is_no_less_reachable(who: Who) {
    let lab = Lab::of(who);
    let said = lab.ok(&["up", "core-02"]);
    assert!(said.contains("core-02 ready"), "{said}");
    assert_eq!(lab.on("core-02", "hostname").trim(), "core-02");
    let other = lab.node("core-01");
    assert_eq!(other["state"], "new");
    let port = other["ssh_port"].as_u64().expect("a port") as u16;
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect_err("its port is kept for it");
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let detail = lab.node("core-02")["detail"].to_string();
    assert!(detail.contains("etcd2.service"), "{detail}");
    // The rest joins it.
    lab.ok(&["up"]);
    let health = lab.on("core-02", "etcdctl cluster-health");
    assert!(health.contains("cluster is healthy"), "{health}");
    lab.gone();
}

fn reboot_and_poweroff_inside_a_node_do_what_they_say(who: Who) {
    let lab = Lab::bare_of(who, 1);
    lab.ok(&["up"]);
    lab.on("core-01", "sudo touch /var/lib/kept");
    let first = start_of(&lab, "core-01");
    // The connection ends with the node.
    lab.lab(&["ssh", "core-01", "--", "sudo systemctl reboot"]);
    eventually("the second boot", || {
        let node = lab.node("core-01");
        (node["boots"] == 2 && node["state"] == "ready").then_some(())
    });
    assert_ne!(start_of(&lab, "core-01"), first);
    lab.on("core-01", "test -e /var/lib/kept");
    lab.lab(&["ssh", "core-01", "--", "sudo systemctl poweroff"]);
    eventually("it is down", || {
        (lab.node("core-01")["state"] == "halted").then_some(())
    });
    let refused = lab.fails(&["ssh", "core-01", "--", "true"], 255);
    assert!(!refused.contains("password"), "{refused}");
    lab.ok(&["up"]);
    assert_eq!(boots(&lab, "core-01"), 3);
    lab.on("core-01", "test -e /var/lib/kept");
    // Every boot is in the log.
    let log = lab.ok(&["logs", "core-01"]);
    assert_eq!(log.matches("Welcome to").count(), 3, "{log}");
    lab.gone();
}

fn halt_keeps_the_disks_and_up_goes_on_with_them(who: Who) {
    let lab = Lab::of(who);
    lab.ok(&["up"]);
    lab.on("core-01", "etcdctl set kept yes");
    lab.ok(&["halt"]);
    assert_eq!(lab.supervisor(), None, "nobody needs a supervisor of nothing");
    assert_eq!(lab.node("core-03")["state"], "halted");
    let why = lab.fails(&["ssh", "core-01", "--", "true"], 1);
    assert!(why.contains("the lab is down") && why.contains("lab up"), "{why}");
    lab.ok(&["up"]);
    assert_eq!(lab.on("core-03", "etcdctl get kept").trim(), "yes");
    lab.gone();
}

fn the_console_shows_what_is_typed_and_printed(who: Who) {
    let lab = Lab::bare_of(who, 1);
    lab.ok(&["up"]);
    // The node writes to its console while somebody is attached.
    let seen = lab.sh(
        "mkfifo typed; (timeout 30 lab console core-01 < typed > seen 2> note &) ; exec 3> typed
         until grep -q attached note; do sleep 0.05; done
         lab ssh core-01 -- 'echo from the node | sudo tee /dev/console' > told
         until grep -q 'from the node' seen; do sleep 0.05; done
         printf '\\035' >&3; exec 3>&-; cat seen",
    );
    assert!(seen.contains("from the node"), "{seen}");
    assert!(lab.ok(&["logs", "core-01"]).contains("from the node"));
    lab.gone();
}

corelab_tests::for_everybody! {
    three_nodes_come_up_as_a_cluster_and_go_without_a_trace
    a_node_comes_up_alone_says_what_it_waits_for_and_is_no_less_reachable
    reboot_and_poweroff_inside_a_node_do_what_they_say
    halt_keeps_the_disks_and_up_goes_on_with_them
    the_console_shows_what_is_typed_and_printed
}
