//! W1 and W0: fleetctl from elsewhere, through SSH and over TLS.
use std::fs;
use std::os::unix::fs::symlink;

use corelab_tests::sshd::Agent;
use corelab_tests::tools::outputs;

use super::*;

#[test]
fn w1_the_host_submits_starts_and_looks_through_a_tunnel() {
    let walk = Walk::new();
    let lab = &walk.lab;
    walk.all_are_there("core-01");
    fs::create_dir(lab.dir().join("bin")).expect("a directory");
    symlink(tools::labnode(), lab.dir().join("bin/fleetctl")).expect("a link");
    // What W1 has people write into ~/.ssh/config by hand.
    lab.ok(&["ssh-config", "--install"]);
    let agent = Agent::start(lab.dir(), &[&lab.dir().join(".lab/ssh/id_ed25519")]);
    let environment = format!(
        "export PATH=$PWD/bin:$PATH SSH_AUTH_SOCK={} FLEETCTL_TUNNEL=172.17.8.101; ",
        agent.socket.display()
    );
    let types = |line: &str| lab.sh(&format!("{environment}{line}"));

    assert_eq!(spread(&types("fleetctl list-machines")), walk.machine_rows("-"));
    const UNIT: &str = "sample.application.1@8080.service";
    lab.write(UNIT, HELLO);
    assert_eq!(
        types(&format!("fleetctl submit {UNIT}")),
        format!("Unit {UNIT} inactive\n")
    );
    let said = types(&format!("fleetctl start {UNIT}"));
    let on = walk.launched(&said.lines().collect::<Vec<_>>());
    let at = walk.legend(on[UNIT]);
    eventually("it runs", || {
        let row = format!("{UNIT} {at} active running");
        let table = types("fleetctl list-units");
        table.lines().any(|line| words(line) == row).then_some(())
    });
    assert_eq!(types(&format!("fleetctl cat {UNIT}")), HELLO);
    eventually("it says something", || {
        types(&format!("fleetctl journal {UNIT}"))
            .contains(": Hello World\n")
            .then_some(())
    });
    let status = types(&format!("fleetctl status {UNIT}"));
    assert!(status.starts_with(&format!("● {UNIT} - My Service\n")), "{status}");
    assert!(status.contains("Active: active (running) since "), "{status}");
    // More lines than there were: it goes on.
    let followed = types(&format!("fleetctl journal -f {UNIT} | head -n 12"));
    assert_eq!(followed.lines().count(), 12, "{followed}");
    assert!(
        followed
            .lines()
            .last()
            .is_some_and(|line| line.ends_with(": Hello World")),
        "{followed}"
    );

    // Three copies of a unit that keep apart, by the word that fleet had for it first.
    for number in 1..=3 {
        lab.write(
            &format!("nginx.{number}.service"),
            &format!("{HELLO}\n[X-Fleet]\nX-Conflicts=nginx.*.service\n"),
        );
    }
    let said = types("fleetctl submit nginx.*.service");
    assert_eq!(
        said,
        [1, 2, 3]
            .map(|number| format!("Unit nginx.{number}.service inactive\n"))
            .concat()
    );
    let said = types("fleetctl start nginx.*.service");
    let on = walk.launched(&said.lines().collect::<Vec<_>>());
    let mut nodes: Vec<&str> = on.values().copied().collect();
    nodes.sort_unstable();
    assert_eq!(nodes, NODES, "{said}");

    // On a node: etcd itself as the endpoint, and what fleet keeps in it.
    let units = walk.types(
        "core-01",
        "export FLEETCTL_ENDPOINT=http://172.17.8.102:4001; fleetctl list-units --no-legend",
    );
    assert_eq!(units.lines().count(), 4, "{units}");
    let keys = walk.types(
        "core-01",
        "etcdctl --peers 172.17.8.103:4001 ls /_coreos.com --recursive",
    );
    for unit in [UNIT, "nginx.2.service"] {
        let key = format!("/_coreos.com/fleet/job/{unit}/target-state");
        assert!(keys.lines().any(|line| line == key), "{keys}");
    }
    lab.ok(&["ssh-config", "--uninstall"]);
    lab.gone();
}

#[test]
fn w0_fleetctl_reaches_an_encrypted_cluster_with_a_hosts_certificate() {
    let lab = Lab::new();
    let mut settings = String::from("num_instances: 3\ncertificates: true\nnodes:\n");
    for (number, node) in (1..).zip(NODES) {
        settings += &format!(
            "  {node}: {{metadata: {{region: us-east, role: database, disk: ssd, provider: ovh, name: db{number}}}}}\n"
        );
    }
    lab.write("lab.yaml", &settings);
    let walk = Walk::of(lab);
    let lab = &walk.lab;
    // A host's key is for etcd and root; the walk-through has copies in the user's home.
    let keys = "sudo install -o core /etc/ssl/etcd/ca.crt ca.crt; sudo install -o core /etc/ssl/etcd/node.crt key.crt; \
                sudo install -o core -m 600 /etc/ssl/etcd/node.key key.key";
    walk.types("core-01", keys);
    let variables = "FOLLOWER_IP=172.17.8.103; KEY_CA_CERT=/home/core/ca.crt; KEY_CERT=/home/core/key.crt; \
                     KEY_KEY=/home/core/key.key; ";
    let with = "--endpoint=https://${FOLLOWER_IP}:4001 --etcd-cafile=${KEY_CA_CERT} --etcd-certfile=${KEY_CERT} \
                --etcd-keyfile=${KEY_KEY}";
    let line = |command: &str| format!("{variables}fleetctl {with} {command}");
    let machines = eventually("all machines are in the fleet", || {
        let output = lab.lab(&["ssh", "core-01", "--", &line("list-machines")]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text.lines().count() == 4).then_some(text)
    });
    for (number, node) in (1..).zip(NODES) {
        let id = &walk.id(node)[..8];
        // Sorted by fleet.
        let row = format!(
            "{id}... {} disk=ssd,name=db{number},provider=ovh,region=us-east,role=database",
            address(node)
        );
        assert!(
            machines.lines().any(|line| words(line) == row),
            "{row}\nis not in\n{machines}"
        );
    }
    // Metadata decides.
    lab.write(
        "db2.service",
        &format!("{HELLO}\n[X-Fleet]\nX-ConditionMachineMetadata=name=db2\n"),
    );
    lab.ok(&["cp", "db2.service", "core-01:"]);
    assert_eq!(
        walk.types("core-01", &line("start db2.service")),
        format!(
            "Unit db2.service inactive\nUnit db2.service launched on {}\n",
            walk.legend("core-02")
        )
    );
    let row = format!("db2.service {} active running", walk.legend("core-02"));
    eventually("it runs", || {
        let table = walk.types("core-01", &line("list-units"));
        table.lines().any(|line| words(line) == row).then_some(())
    });
    // Without the files nobody is let in.
    let output = lab.lab(&[
        "ssh",
        "core-01",
        "--",
        "fleetctl --endpoint=https://172.17.8.103:4001 --etcd-cafile=/home/core/ca.crt list-machines",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", outputs(&output));
    lab.gone();
}
