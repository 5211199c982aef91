//! Settings that change while the lab lives: what flags said stays, and what the files say by now is had by the next `up`.
use corelab_tests::eventually;
use corelab_tests::lab::{Lab, Who};

/// A row of the table of settings.
#[track_caller]
fn setting(lab: &Lab, name: &str) -> Vec<String> {
    let table = lab.ok(&["status", "--settings"]);
    let row = table.lines().find(|line| line.split_whitespace().next() == Some(name));
    let row = row.unwrap_or_else(|| panic!("no {name} in {table}"));
    row.split_whitespace().skip(1).map(str::to_string).collect()
}

#[track_caller]
fn names(lab: &Lab) -> Vec<String> {
    let status = lab.status();
    let nodes = status["nodes"].as_array().expect("nodes");
    nodes
        .iter()
        .map(|node| node["name"].as_str().expect("a name").to_string())
        .collect()
}

fn what_flags_said_is_meant_for_the_labs_life(who: Who) {
    let lab = Lab::of(who);
    lab.write("lab.yaml", "num_instances: 1\nvm_memory: 512\n");
    lab.ok(&[
        "up",
        "--num-instances",
        "2",
        "--bare",
        "--prefix",
        "web",
        "--vm-cpus",
        "2",
    ]);
    assert_eq!(names(&lab), ["web-01", "web-02"]);
    assert_eq!(setting(&lab, "num_instances"), ["2", "--num-instances", "(kept)"]);
    assert_eq!(
        setting(&lab, "instance_name_prefix"),
        ["web", "--instance-name-prefix", "(kept)"]
    );
    assert_eq!(setting(&lab, "bare"), ["true", "--bare", "(kept)"]);
    assert_eq!(setting(&lab, "vm_memory"), ["512", "lab.yaml:2"]);
    // Without a flag it is the same lab, and what is rendered is, too.
    let said = lab.ok(&["up"]);
    assert!(said.contains("ready: 2 of 2"), "{said}");
    lab.ok(&["render"]);
    let config = std::fs::read_to_string(lab.dir().join("vagrant/config.rb")).expect("config.rb");
    assert!(
        config.contains("$num_instances=2\n$instance_name_prefix='web'\n"),
        "{config}"
    );
    assert!(lab.ok(&["validate", "--vm-memory", "640"]).contains("640"));
    assert_eq!(
        setting(&lab, "vm_memory"),
        ["512", "lab.yaml:2"],
        "validate keeps nothing"
    );
    // Machines that are there keep their names; nothing of such a command is kept.
    let error = lab.fails(&["up", "--prefix", "db", "--vm-memory", "256"], 11);
    assert!(
        error.contains("web-...") && error.contains("--instance-name-prefix"),
        "{error}"
    );
    assert_eq!(setting(&lab, "vm_memory"), ["512", "lab.yaml:2"]);
    let error = lab.fails(&["up", "--provider", "libvirt"], 11);
    assert!(error.contains("local") && error.contains("libvirt"), "{error}");
    lab.ok(&["halt"]);
    lab.ok(&["up", "--bare=false", "--dry-run"]);
    assert_eq!(
        setting(&lab, "bare"),
        ["true", "--bare", "(kept)"],
        "a dry run keeps nothing"
    );
    lab.ok(&["destroy", "-f"]);
    // The next lab is another one.
    let plan = lab.ok(&["up", "--dry-run"]);
    assert!(plan.contains("core-01") && !plan.contains("core-02"), "{plan}");
    lab.gone();
}

fn nodes_come_with_a_larger_number_and_go_only_when_somebody_says_so(who: Who) {
    let lab = Lab::bare_of(who, 2);
    lab.ok(&["up"]);
    lab.write("lab.yaml", "num_instances: 3\nbare: true\n");
    let plan = lab.ok(&["up", "--dry-run"]);
    let row = |text: &str, node: &str| {
        text.lines()
            .find(|line| line.starts_with(node))
            .unwrap_or_default()
            .to_string()
    };
    assert!(row(&plan, "core-03").contains("is made and starts"), "{plan}");
    assert!(row(&plan, "core-01").contains("stays"), "{plan}");
    assert_eq!(lab.node("core-03")["state"], "new", "a dry run makes nothing");
    lab.ok(&["up"]);
    assert_eq!(lab.node("core-01")["boots"], 1);
    assert!(lab.on("core-01", "getent hosts core-03").contains("172.17.8.103"));
    assert!(lab.on("core-03", "getent hosts core-01").contains("172.17.8.101"));
    lab.on("core-03", "sudo touch /var/lib/kept");

    lab.write("lab.yaml", "num_instances: 2\nbare: true\n");
    for arguments in [&["up", "--dry-run"][..], &["up"]] {
        let said = lab.ok(arguments);
        assert!(said.contains("num_instances is 2 (lab.yaml:1)"), "{said}");
        assert!(said.contains("destroy core-03"), "{said}");
    }
    assert_eq!(lab.node("core-03")["state"], "ready");
    lab.on("core-03", "test -e /var/lib/kept");
    lab.ok(&["destroy", "-f", "core-03"]);
    assert_eq!(names(&lab), ["core-01", "core-02"]);
    let config = lab.ok(&["ssh-config"]);
    assert!(!config.contains("core-03"), "{config}");
    assert!(!lab.ok(&["up"]).contains("core-03"));
    lab.gone();
}

/// What the node's control group allows, in MiB, if this machine has groups for memory at all.
fn memory_limit(lab: &Lab, node: &str) -> Option<u64> {
    let name = format!("lab-{}/{node}", lab.id().expect("a lab"));
    let files = ["memory.max", "memory.limit_in_bytes"];
    let found = lab.sh(&format!(
        "find /sys/fs/cgroup \\( -path '*/{name}/{}' -o -path '*/{name}/{}' \\) -exec cat {{}} + 2>/dev/null || true",
        files[0], files[1]
    ));
    found
        .lines()
        .find_map(|line| line.trim().parse::<u64>().ok())
        .map(|bytes| bytes >> 20)
}

fn limits_change_while_a_node_runs_and_stay_through_halt_and_reload(who: Who) {
    let lab = Lab::of(who);
    let yaml = |memory: u32| format!("num_instances: 1\nbare: true\nvm_memory: {memory}\n");
    lab.write("lab.yaml", &yaml(512));
    let said = lab.ok(&["up"]);
    let limited = !said.contains("memory is not limited");
    let expect = |memory: u64| {
        if limited {
            assert_eq!(memory_limit(&lab, "core-01"), Some(memory));
        }
    };
    expect(512);
    lab.write("lab.yaml", &yaml(300));
    let plan = lab.ok(&["up", "--dry-run"]);
    assert!(plan.contains("core-01: memory 512 MiB -> 300 MiB: at once"), "{plan}");
    expect(512);
    lab.ok(&["up"]);
    expect(300);
    assert!(!lab.ok(&["up", "--dry-run"]).contains("MiB"), "it is done");
    // Larger again, by a flag; the node has run on all the time.
    lab.ok(&["up", "--vm-memory", "700"]);
    expect(700);
    assert_eq!(lab.node("core-01")["boots"], 1);
    // The supervisor lives on, and with it what it knew of the node.
    lab.ok(&["reload"]);
    expect(700);
    lab.ok(&["up", "--vm-memory", "400", "--timeout", "60"]);
    lab.ok(&["halt"]);
    lab.ok(&["up"]);
    expect(400);
    lab.gone();
}

fn limits_that_came_while_a_node_was_down_hold_when_it_starts(who: Who) {
    let lab = Lab::of(who);
    lab.write("lab.yaml", "num_instances: 2\nbare: true\nvm_memory: 512\n");
    let limited = !lab.ok(&["up"]).contains("memory is not limited");
    // The other one keeps the supervisor alive.
    lab.ok(&["halt", "core-02"]);
    lab.write(
        "lab.yaml",
        "num_instances: 2\nbare: true\nvm_memory: 512\nnodes: {core-02: {vm_memory: 256}}\n",
    );
    let plan = lab.ok(&["up", "--dry-run"]);
    assert!(
        plan.contains("core-02: memory 512 MiB -> 256 MiB: when it starts"),
        "{plan}"
    );
    lab.ok(&["up"]);
    if limited {
        assert_eq!(memory_limit(&lab, "core-02"), Some(256));
        assert_eq!(memory_limit(&lab, "core-01"), Some(512));
    }
    lab.gone();
}

fn forwarded_ports_open_and_close_while_nodes_run(who: Who) {
    let lab = Lab::of(who);
    lab.write("lab.yaml", "num_instances: 1\n");
    lab.ok(&["up"]);
    let ports = corelab_tests::ports::claim_row(2);
    let (one, two) = (ports[0].number, ports[1].number);
    let answers = |port: u16| {
        lab.sh(&format!("curl -s http://127.0.0.1:{port}/version || true"))
            .contains("etcdserver")
    };
    let said = lab.ok(&["up", "--forwarded-ports", &format!("2379={one}")]);
    assert!(
        said.contains(&format!("127.0.0.1:{one} to core-01:2379 is opened")),
        "{said}"
    );
    assert!(answers(one));
    let said = lab.ok(&["up", "--forwarded-ports", &format!("2379={two}")]);
    assert!(
        said.contains(&format!("127.0.0.1:{one} to core-01:2379 is closed")),
        "{said}"
    );
    assert!(answers(two) && !answers(one));
    // The same port for another of the node's.
    lab.ok(&["up", "--forwarded-ports", &format!("4001={two}")]);
    assert!(lab.ok(&["port"]).contains("4001") && answers(two));
    lab.ok(&["up", "--forwarded-ports", &format!("2379={two}")]);
    assert!(lab.ok(&["port"]).contains(&two.to_string()));
    assert_eq!(lab.node("core-01")["boots"], 1);
    // Kept, and the same after a halt.
    lab.ok(&["halt"]);
    lab.ok(&["up"]);
    assert!(answers(two));
    lab.gone();
}

fn user_data_and_metadata_wait_for_a_provision(who: Who) {
    let script = |word: &str| format!("#!/bin/sh\necho {word} >> /var/lib/ran\n");
    let lab = Lab::with_user_data(who, 2, &script("one"));
    lab.ok(&["up"]);
    lab.write("user-data", &script("two"));
    let said = lab.ok(&["up"]);
    assert!(
        said.contains("core-01: user data: not before") && said.contains("reload --provision core-01"),
        "{said}"
    );
    lab.ok(&["reload", "core-01"]);
    assert!(!lab.on("core-01", "cat /var/lib/ran").contains("two"));
    lab.ok(&["reload", "--provision", "core-01"]);
    assert!(lab.on("core-01", "cat /var/lib/ran").contains("two"));
    let said = lab.ok(&["up", "--reload"]);
    assert!(
        said.contains("core-02: user data") && !said.contains("core-01: user data: not"),
        "{said}"
    );
    assert!(lab.on("core-02", "cat /var/lib/ran").contains("two"));
    assert!(!lab.ok(&["up"]).contains("user data"), "everything is as it is to be");
    lab.gone();
}

fn a_unit_that_fails_is_told_with_its_journal_and_the_node_is_ready(who: Who) {
    let lab = Lab::with_user_data(
        who,
        1,
        "#cloud-config
coreos:
  units:
    - name: broken.service
      command: start
      content: |
        [Service]
        Type=oneshot
        ExecStart=/bin/sh -c 'echo the disk is upside down; exit 3'
",
    );
    let output = lab.lab(&["up"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning: broken.service failed on core-01"), "{said}");
    assert!(said.contains("the disk is upside down"), "{said}");
    assert!(
        said.contains("ssh core-01 -- sudo journalctl -u broken.service"),
        "{said}"
    );
    let node = lab.node("core-01");
    assert_eq!(node["state"], "ready");
    assert!(node["detail"].to_string().contains("broken.service failed"), "{node}");
    assert_eq!(node["failed_units"][0], "broken.service");
    lab.gone();
}

fn a_node_on_its_way_down_is_shown_as_such(who: Who) {
    // Lasts until somebody lets it end.
    let lab = Lab::with_user_data(
        who,
        1,
        "#cloud-config
coreos:
  units:
    - name: slow.service
      command: start
      content: |
        [Service]
        TimeoutStopSec=60
        ExecStart=/bin/sleep infinity
        ExecStop=/bin/sh -c 'until test -e /var/lib/go; do sleep 0.05; done'
",
    );
    lab.ok(&["up"]);
    // The connection may be gone before it has said that it is done.
    lab.lab(&["ssh", "core-01", "--", "sudo systemctl poweroff --no-block"]);
    eventually("it goes down", || {
        (lab.node("core-01")["state"] == "halting").then_some(())
    });
    lab.ok(&["halt", "--force"]);
    assert_eq!(lab.node("core-01")["state"], "halted");
    lab.gone();
}

corelab_tests::for_everybody! {
    what_flags_said_is_meant_for_the_labs_life
    nodes_come_with_a_larger_number_and_go_only_when_somebody_says_so
    limits_change_while_a_node_runs_and_stay_through_halt_and_reload
    limits_that_came_while_a_node_was_down_hold_when_it_starts
    forwarded_ports_open_and_close_while_nodes_run
    user_data_and_metadata_wait_for_a_provision
    a_unit_that_fails_is_told_with_its_journal_and_the_node_is_ready
    a_node_on_its_way_down_is_shown_as_such
}
