//! fleet as the walk-throughs type it, on real nodes.
mod from_elsewhere;
mod units;

use std::collections::BTreeMap;

use corelab_tests::eventually;
use corelab_tests::lab::Lab;
use corelab_tests::process::Process;
use corelab_tests::tools;

const NODES: [&str; 3] = ["core-01", "core-02", "core-03"];

const USER_DATA: &str = "#cloud-config
coreos:
  etcd2:
    discovery: https://discovery.etcd.io/<token>
    advertise-client-urls: http://$private_ipv4:2379,http://$private_ipv4:4001
    initial-advertise-peer-urls: http://$private_ipv4:2380
    listen-client-urls: http://0.0.0.0:2379,http://0.0.0.0:4001
    listen-peer-urls: http://$private_ipv4:2380,http://$private_ipv4:7001
  fleet:
    public-ip: $public_ipv4
  units:
    - name: etcd2.service
      command: start
    - name: fleet.service
      command: start
";

const HELLO: &str = "[Unit]
Description=My Service

[Service]
ExecStart=/bin/bash -c 'while true; do echo Hello World; sleep 1; done'
";

/// A lab with three machines in its fleet.
struct Walk {
    lab: Lab,
    /// The nodes by machine id, in the order of tables.
    machines: BTreeMap<String, &'static str>,
}

impl Walk {
    #[track_caller]
    fn of(lab: Lab) -> Walk {
        lab.ok(&["up"]);
        let id = |node: &&'static str| (lab.on(node, "cat /etc/machine-id").trim().to_string(), *node);
        let machines = NODES.iter().map(id).collect();
        Walk { lab, machines }
    }

    #[track_caller]
    fn new() -> Walk {
        let lab = Lab::new();
        lab.write("config.rb", "$num_instances=3\n");
        lab.write("user-data", USER_DATA);
        Walk::of(lab)
    }

    #[track_caller]
    fn types(&self, node: &str, line: &str) -> String {
        self.lab.on(node, line)
    }

    /// Exit status and standard error of what is to fail.
    #[track_caller]
    fn refused(&self, node: &str, line: &str, status: i32) -> String {
        self.lab.fails(&["ssh", node, "--", line], status)
    }

    fn id(&self, node: &str) -> &str {
        self.machines
            .iter()
            .find(|(_, name)| **name == node)
            .expect("a node of ours")
            .0
    }

    /// `4f4a4289.../172.17.8.101`
    fn legend(&self, node: &str) -> String {
        format!("{}.../{}", &self.id(node)[..8], address(node))
    }

    #[track_caller]
    fn node(&self, legend: &str) -> &'static str {
        let found = NODES.into_iter().find(|node| self.legend(node) == legend);
        found.unwrap_or_else(|| panic!("{legend} is nobody"))
    }

    /// What a table looks like where a tab is eight columns wide.
    #[track_caller]
    fn table(&self, node: &str, line: &str) -> String {
        spread(&self.types(node, line))
    }

    /// Which node each of these units is launched on, by the lines that say so.
    #[track_caller]
    fn launched(&self, lines: &[&str]) -> BTreeMap<String, &'static str> {
        let one = |line: &&str| {
            let (unit, legend) = line
                .strip_prefix("Unit ")
                .and_then(|rest| rest.split_once(" launched on "))
                .unwrap_or_else(|| panic!("{line}"));
            (unit.to_string(), self.node(legend))
        };
        lines.iter().map(one).collect()
    }

    /// Waits until systemd has all of these units in this state.
    #[track_caller]
    fn are(&self, node: &str, units: &[&str], state: &str) {
        eventually(&format!("{units:?} are {state}"), || {
            let table = self.types(node, "fleetctl list-units --no-legend --fields=unit,active,sub");
            let line = |unit: &&str| table.lines().any(|line| words(line) == format!("{unit} {state}"));
            units.iter().all(line).then_some(())
        });
    }

    /// What happens to the announced addresses from now on.
    #[track_caller]
    fn watches(&self, node: &str, log: &str) -> Process {
        let mut command = self.lab.command(tools::lab());
        let watch = "etcdctl watch /services/nginx/ --recursive --forever";
        command.args(["ssh", node, "--", watch]);
        Process::spawn(command, &self.lab.dir().join(log))
    }

    #[track_caller]
    fn all_are_there(&self, node: &str) {
        eventually("all machines are in the fleet", || {
            let listed = self.lab.lab(&["ssh", node, "--", "fleetctl list-machines --no-legend"]);
            (listed.stdout.iter().filter(|byte| **byte == b'\n').count() == 3).then_some(())
        });
    }

    /// The rows of list-machines, with this metadata.
    fn machine_rows(&self, metadata: &str) -> String {
        let row = |(id, node): (&String, &&str)| format!("{}...     {}    {metadata}\n", &id[..8], address(node));
        let rows: String = self.machines.iter().map(row).collect();
        format!("MACHINE         IP              METADATA\n{rows}")
    }
}

fn address(node: &str) -> String {
    node.replace("core-0", "172.17.8.10")
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn spread(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' => {
                let next = column / 8 * 8 + 8;
                out.extend(std::iter::repeat_n(' ', next - column));
                column = next;
                continue;
            }
            '\n' => column = 0,
            _ => column += 1,
        }
        out.push(c);
    }
    out
}
