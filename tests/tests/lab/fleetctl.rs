//! fleetctl on the host of a lab: no agent, no questions, by the configuration that the lab writes.
use corelab_tests::eventually;
use corelab_tests::lab::Lab;
use corelab_tests::tools::{outputs, run};

#[test]
fn the_host_reaches_fleet_and_every_machine_through_a_node() {
    let lab = Lab::new();
    lab.write("lab.yaml", "num_instances: 2\n");
    lab.ok(&["up"]);
    for node in ["core-01", "core-02"] {
        lab.on(node, "sudo systemctl start fleet");
    }
    let config = lab.ok(&["ssh-config"]);
    lab.write("ssh-config", &config);
    let fleetctl = |args: &[&str]| {
        let mut command = lab.command("labnode");
        command.arg("fleetctl").args(args).env("FLEETCTL_TUNNEL", "core-01");
        run(&mut command)
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for node in ["core-01", "core-02"] {
        let id = lab.on(node, "cat /etc/machine-id");
        let name = eventually("the machine is in the cluster", || {
            let output = fleetctl(&["--ssh-config", "ssh-config", "ssh", "--machine", id.trim(), "hostname"]);
            // Until fleet has started there, nobody answers, and then nobody knows the machine.
            output.status.success().then_some(output)
        });
        assert_eq!(text(&name.stdout).trim(), node, "{}", outputs(&name));
        assert!(name.stderr.is_empty(), "{}", outputs(&name));
    }
    // The user's own configuration, once the lab's is in it.
    lab.ok(&["ssh-config", "--install"]);
    lab.on(
        "core-02",
        "curl -sf --unix-socket /run/fleet.sock -X PUT -H 'Content-Type: application/json' \
         http://fleet/fleet/v1/units/hello.service -d '{\"desiredState\":\"launched\",\"options\":\
         [{\"section\":\"Service\",\"name\":\"ExecStart\",\"value\":\"/bin/sleep 9999\"}]}'",
    );
    let status = eventually("the unit runs", || {
        let output = fleetctl(&["status", "hello"]);
        output.status.success().then_some(output)
    });
    assert!(
        text(&status.stdout).contains("active (running)"),
        "{}",
        outputs(&status)
    );
    lab.ok(&["ssh-config", "--uninstall"]);
    lab.gone();
}
