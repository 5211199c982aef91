//! The ways to a node with OpenSSH's own programs, none of which may ever ask.
use std::net::TcpListener;

use corelab_tests::eventually;
use corelab_tests::lab::{Lab, Who};
use corelab_tests::tools::{self, outputs};

fn openssh_and_its_kin_reach_every_node_by_the_printed_configuration(who: Who) {
    let lab = Lab::bare_of(who, 3);
    lab.ok(&["up"]);
    lab.sh("lab ssh-config > ssh-config; echo saved > backup.tar.gz; mkdir tree; echo leaf > tree/leaf");
    let config = lab.sh("cat ssh-config");
    assert_eq!(config.matches("StrictHostKeyChecking yes").count(), 3, "{config}");
    assert!(!config.contains("/dev/null"), "{config}");
    for node in ["core-01", "core-02", "core-03"] {
        // W2, word by word.
        let name = lab.sh(&format!(
            "shopt 2>/dev/null || true; ssh -F ssh-config -o BatchMode=yes {node} hostname"
        ));
        assert_eq!(name.trim(), node);
        lab.sh(&format!("scp -q -F ssh-config backup.tar.gz {node}:"));
        lab.sh(&format!(
            "echo 'get backup.tar.gz back-{node}' | sftp -q -b - -F ssh-config {node}"
        ));
        assert_eq!(lab.sh(&format!("cat back-{node}")), "saved\n");
        lab.sh(&format!("rsync -a -e 'ssh -F ssh-config' tree {node}:"));
        assert_eq!(lab.on(node, "cat backup.tar.gz tree/leaf"), "saved\nleaf\n");
    }
    // The same over lab's own words.
    lab.ok(&["cp", "backup.tar.gz", "core-02:other"]);
    lab.ok(&["cp", "-r", "core-02:tree", "fetched"]);
    assert_eq!(lab.sh("cat fetched/leaf"), "leaf\n");
    let all = lab.ok(&["exec", "all", "--", "hostname"]);
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["core-01: core-01", "core-02: core-02", "core-03: core-03"]);
    assert_eq!(lab.lab(&["ssh", "core-01", "--", "exit 7"]).status.code(), Some(7));
    assert_eq!(lab.lab(&["ssh", "core-01", "-c", "exit 8"]).status.code(), Some(8));
    assert_eq!(
        lab.lab(&["exec", "core-01,core-02", "--", "exit 9"]).status.code(),
        Some(9)
    );
    lab.gone();
}

fn an_agent_is_forwarded(who: Who) {
    let lab = Lab::bare_of(who, 1);
    lab.ok(&["up"]);
    let keys = lab.sh("ssh-keygen -q -t ed25519 -N '' -C forwarded -f own
         eval $(ssh-agent) > /dev/null; trap 'kill $SSH_AGENT_PID' EXIT
         ssh-add -q own
         lab ssh core-01 -- -A ssh-add -l");
    assert!(keys.contains("forwarded"), "{keys}");
    lab.gone();
}

fn ports_of_localhost_lead_to_the_nodes(who: Who) {
    let lab = Lab::bare_of(who, 3);
    lab.ok(&["up"]);
    let table = lab.ok(&["port"]);
    let ports: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("core-"))
        .filter_map(|line| line.split(':').nth(1))
        .collect();
    assert_eq!(ports.len(), 3, "{table}");
    let listed = ports.join(" ");
    // W3, with the ports that this lab has: terminal descriptions on every node, over plain ssh.
    lab.sh(&format!(
        "export TERM=xterm; key=.lab/ssh/id_ed25519
         for port in {listed}; do
           infocmp | ssh -o UserKnownHostsFile=.lab/ssh/known_hosts -o StrictHostKeyChecking=yes -o BatchMode=yes \\
             -T -p $port -i $key core@localhost 'cat > \"$TERM.info\" && tic \"$TERM.info\" && ls .terminfo'
         done"
    ));
    lab.gone();
}

fn the_ports_are_vagrants_unless_they_are_taken(who: Who) {
    let lab = Lab::bare_of(who, 3);
    // A taken port gives way; whoever else runs on this machine may have taken the others.
    let taken = TcpListener::bind("127.0.0.1:2222");
    let plan = lab.ok(&["up", "--dry-run"]);
    let port = |node: &str| -> u16 {
        let line = plan.lines().find(|line| line.starts_with(node)).expect(node);
        let field = line.split_whitespace().nth(2).expect("a port");
        field.parse().expect("a number")
    };
    assert!(port("core-01") >= 2200 && port("core-01") != 2222, "{plan}");
    assert!(port("core-02") > port("core-01"), "{plan}");
    drop(taken);
    assert!(!lab.dir().join(".lab/lab.json").exists(), "a plan makes nothing");
}

fn a_port_of_ssh_that_somebody_took_meanwhile_gives_way(who: Who) {
    let lab = Lab::bare_of(who, 2);
    lab.ok(&["up"]);
    let port = |node: &str| lab.node(node)["ssh_port"].as_u64().expect("a port") as u16;
    let before = port("core-01");
    lab.ok(&["halt"]);
    // Another lab may have been faster; it goes again.
    let taken = eventually("the port is this test's", || {
        TcpListener::bind(("127.0.0.1", before)).ok()
    });
    let said = lab.ok(&["up"]);
    let now = port("core-01");
    assert_ne!(now, before);
    for line in [
        format!("127.0.0.1:{before} is taken by another program"),
        format!("127.0.0.1:{now} to core-01:22 is opened"),
    ] {
        assert!(said.contains(&line), "{said}");
    }
    let name = lab.sh(&format!(
        "ssh -o UserKnownHostsFile=.lab/ssh/known_hosts -o StrictHostKeyChecking=yes -o BatchMode=yes \
           -i .lab/ssh/id_ed25519 -p {now} core@localhost hostname"
    ));
    assert_eq!(name.trim(), "core-01");
    drop(taken);
    lab.gone();
}

fn a_rebuilt_node_has_a_new_key_which_is_known(who: Who) {
    let lab = Lab::bare_of(who, 2);
    lab.ok(&["up"]);
    let key = |node: &str| lab.on(node, "cat /etc/ssh/ssh_host_ed25519_key.pub");
    let (first, other) = (key("core-01"), key("core-02"));
    lab.sh("lab ssh-config > ssh-config");
    lab.ok(&["destroy", "-f", "core-01"]);
    lab.ok(&["up"]);
    // By the configuration of before, too.
    let second = lab.sh("ssh -F ssh-config -o BatchMode=yes core-01 cat /etc/ssh/ssh_host_ed25519_key.pub");
    assert_ne!(first, second);
    assert_eq!(key("core-02"), other);
    // Somebody else at that address is refused.
    lab.sh("ssh-keygen -q -t ed25519 -N '' -f wrong; sed -i \"s#^core-01,.*#$(grep -o '^core-01,[^ ]*' .lab/ssh/known_hosts) $(cut -d' ' -f1,2 wrong.pub)#\" .lab/ssh/known_hosts");
    let refused = lab.lab(&["ssh", "core-01", "--", "true"]);
    assert_eq!(refused.status.code(), Some(255), "{}", outputs(&refused));
    lab.gone();
}

/// In a network of its own, as if this machine had nobody else on it.
const OUTSIDE: &str = r#"
ip link set lo up
lab up --num-instances 1 --host-interface
curl -sS -m 5 http://172.17.8.101:2379/version > version
ssh -o BatchMode=yes -o UserKnownHostsFile=.lab/ssh/known_hosts -o StrictHostKeyChecking=yes -i .lab/ssh/id_ed25519 \
  core@172.17.8.101 ping -c 1 -W 5 172.17.8.2
ip route show 172.17.8.0/24 > route

mkdir other; cd other; status=0
printf 'num_instances: 1\nbare: true\n' > lab.yaml
XDG_STATE_HOME=$PWD/state lab up --host-interface 2> ../refused || status=$?
test $status = 11
test ! -e .lab
cd ..

lab up --host-interface=false
ip route show 172.17.8.0/24 > without
lab up --host-interface
lab destroy -f
ip -brief link > after
"#;

#[test]
fn this_machine_reaches_the_nodes_by_their_addresses_where_it_is_asked_for() {
    let lab = Lab::new();
    let output = tools::run(lab.command("unshare").args(["--net", "sh", "-euxc", OUTSIDE]));
    assert!(output.status.success(), "{}", outputs(&output));
    let read = |file: &str| lab.sh(&format!("cat {file}"));
    assert!(read("version").contains("etcdserver"));
    assert!(read("route").contains(" src 172.17.8.2"), "{}", read("route"));
    let refused = read("refused");
    assert!(
        refused.contains("leads to the network of 172.17.8.2/24 already"),
        "{refused}"
    );
    assert_eq!(read("without"), "");
    assert_eq!(read("after").lines().count(), 1, "{}", read("after"));
    lab.gone();
}

#[test]
fn an_interface_of_this_machine_is_roots_to_ask_for() {
    let lab = Lab::bare_of(Who::User, 1);
    let error = lab.fails(&["up", "--host-interface"], 10);
    assert!(
        error.contains("--host-interface") && error.contains("root's to make"),
        "{error}"
    );
    assert!(!lab.dir().join(".lab").exists(), "something was begun");
}

corelab_tests::for_everybody! {
    openssh_and_its_kin_reach_every_node_by_the_printed_configuration
    an_agent_is_forwarded
    ports_of_localhost_lead_to_the_nodes
    the_ports_are_vagrants_unless_they_are_taken
    a_port_of_ssh_that_somebody_took_meanwhile_gives_way
    a_rebuilt_node_has_a_new_key_which_is_known
}
