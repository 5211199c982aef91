//! What a user's cloud-config or script does to a node.
use corelab_tests::lab::{Lab, Who};

fn a_cloud_config_is_applied_with_the_nodes_addresses(who: Who) {
    let lab = Lab::with_user_data(
        who,
        1,
        "#cloud-config
hostname: renamed
write_files:
  - path: /etc/ssl/etcd/server.key
    permissions: '0600'
    owner: core:core
    content: secret of $private_ipv4
ssh_authorized_keys: []
coreos:
  units:
    - name: hello.service
      command: start
      content: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/bin/sh -c 'echo hello from $private_ipv4 > /run/hello'
",
    );
    lab.ok(&["up"]);
    assert_eq!(lab.on("core-01", "hostname").trim(), "renamed");
    assert_eq!(lab.on("core-01", "cat /run/hello").trim(), "hello from 172.17.8.101");
    assert_eq!(lab.on("core-01", "systemctl is-active hello.service").trim(), "active");
    let file = lab.on(
        "core-01",
        "stat -c '%a %U' /etc/ssl/etcd/server.key; cat /etc/ssl/etcd/server.key",
    );
    assert_eq!(file.trim(), "600 core\nsecret of 172.17.8.101");
    lab.gone();
}

fn a_script_runs_and_reload_provision_brings_the_next_one(who: Who) {
    let lab = Lab::with_user_data(who, 1, "#!/bin/sh\necho one >> /var/lib/ran\n");
    lab.ok(&["up"]);
    assert_eq!(lab.on("core-01", "cat /var/lib/ran").trim(), "one");
    lab.write("user-data", "#!/bin/sh\necho two >> /var/lib/ran\n");
    let said = lab.ok(&["reload", "--provision"]);
    assert!(said.contains("core-01 ready"), "{said}");
    assert_eq!(lab.on("core-01", "cat /var/lib/ran").trim(), "one\ntwo");
    assert_eq!(lab.node("core-01")["boots"], 2);
    lab.gone();
}

fn etcd_as_0_4_was_and_fleet_come_up_by_the_cloud_config_of_their_time(who: Who) {
    let lab = Lab::of(who);
    lab.write("config.rb", "$num_instances=3\n");
    lab.write(
        "user-data",
        "#cloud-config

coreos:
  etcd:
    # generate a new token for each unique cluster from https://discovery.etcd.io/new
    discovery: https://discovery.etcd.io/<token>
    addr: $private_ipv4:4001
    peer-addr: $private_ipv4:7001
  fleet:
    public-ip: $private_ipv4
    metadata: region=us-east,role=database,disk=ssd,provider=ovh,name=db1
  units:
    - name: etcd.service
      command: start
    - name: fleet.service
      command: start
",
    );
    lab.ok(&["up"]);
    for node in ["core-01", "core-02", "core-03"] {
        assert_eq!(lab.on(node, "systemctl is-active etcd fleet").trim(), "active\nactive");
    }
    let found = lab.on(
        "core-01",
        "grep DISCOVERY /run/systemd/system/etcd.service.d/20-cloudinit.conf",
    );
    assert!(found.contains("ETCD_DISCOVERY=http://172.17.8.1:"), "{found}");
    let leader = lab.on("core-02", "curl -sL http://172.17.8.103:4001/v2/leader");
    assert!(leader.starts_with("http://172.17.8.10"), "{leader}");
    let machines = lab.on(
        "core-03",
        "curl -s --unix-socket /var/run/fleet.sock http://fleet/fleet/v1/machines",
    );
    assert_eq!(machines.matches("\"role\":\"database\"").count(), 3, "{machines}");
    lab.gone();
}

corelab_tests::for_everybody! {
    a_cloud_config_is_applied_with_the_nodes_addresses
    a_script_runs_and_reload_provision_brings_the_next_one
    etcd_as_0_4_was_and_fleet_come_up_by_the_cloud_config_of_their_time
}
