//! W3: a unit from load to destroy, and web servers on machines of their own that announce themselves.
use std::fs;
use std::os::unix::fs::symlink;

use corelab_tests::sshd::Agent;

use super::*;

/// Nodes have no containers: a process of theirs is the web server.
const NGINX: &str = r#"[Unit]
Description=nginx web server service on port %i
Requires=etcd2.service
Requires=nginx-discovery@%i.service
After=etcd2.service
Before=nginx-discovery@%i.service

[Service]
EnvironmentFile=/etc/environment
ExecStart=/usr/bin/systemd-socket-activate --accept --inetd -l ${COREOS_PUBLIC_IPV4}:%i \
  /bin/bash -c 'grep -qx .; printf "HTTP/1.0 200 OK\r\n\r\nnginx@%i on %H\n"'
# Who comes after it finds it answering.
ExecStartPost=/bin/bash -c 'until curl -sfo /dev/null ${COREOS_PUBLIC_IPV4}:%i; do sleep 0.05; done'

[X-Fleet]
# One of them on a machine.
Conflicts=nginx@*.service
"#;

const DISCOVERY: &str = r#"[Unit]
Description=nginx web server on port %i etcd registration
Requires=etcd2.service
Requires=nginx@%i.service
After=etcd2.service
After=nginx@%i.service
BindsTo=nginx@%i.service

[Service]
EnvironmentFile=/etc/environment
ExecStart=/bin/bash -c '\
  while true; do \
    if curl -sf ${COREOS_PUBLIC_IPV4}:%i; then \
      etcdctl set /services/nginx/${COREOS_PUBLIC_IPV4} \'{"host": "%H", "port": %i}\' --ttl 30; \
    else \
      etcdctl rm /services/nginx/${COREOS_PUBLIC_IPV4}; \
    fi; \
    sleep 20; \
  done'
ExecStop=/usr/bin/etcdctl rm /services/nginx/${COREOS_PUBLIC_IPV4}

[X-Fleet]
MachineOf=nginx@%i.service
"#;

/// What the original's own commands are, as the walk-through prints them.
const COMMANDS: &str = "COMMANDS:
        cat             Output the contents of a submitted unit
        destroy         Destroy one or more units in the cluster
        fd-forward      Proxy stdin and stdout to a unix domain socket
        help            Show a list of commands or help for one command
        journal         Print the journal of a unit in the cluster to stdout
        list-machines   Enumerate the current hosts in the cluster
        list-unit-files List the units that exist in the cluster.
        list-units      List the current state of units in the cluster
        load            Schedule one or more units in the cluster, first submitting them if necessary.
        ssh             Open interactive shell on a machine in the cluster
        start           Instruct systemd to start one or more units in the cluster, first submitting and loading if necessary.
        status          Output the status of one or more units in the cluster
        stop            Instruct systemd to stop one or more units in the cluster.
        submit          Upload one or more units to the cluster without starting them
        unload          Unschedule one or more units in the cluster.
        verify          DEPRECATED - No longer works
        version         Print the version and exit
";

/// The unit files as W3 has them: templates, and instances that are links to them.
fn unit_files(lab: &Lab) {
    let of = |path: &str| lab.dir().join("unit-files").join(path);
    for dir in ["static", "templates", "instances"] {
        fs::create_dir_all(of(dir)).expect("a directory");
    }
    lab.write("unit-files/static/hello.service", HELLO);
    lab.write("unit-files/templates/nginx@.service", NGINX);
    lab.write("unit-files/templates/nginx-discovery@.service", DISCOVERY);
    for port in [5555, 6666, 7777] {
        for name in ["nginx", "nginx-discovery"] {
            let template = format!("../templates/{name}@.service");
            symlink(template, of(&format!("instances/{name}@{port}.service"))).expect("a link");
        }
    }
}

#[test]
fn w3_a_unit_goes_through_its_states_and_web_servers_announce_themselves() {
    let walk = Walk::new();
    let lab = &walk.lab;
    // The walk-through's first machine is the one whose id is the smallest, and has what is scheduled first.
    let one = *walk.machines.values().next().expect("a machine");
    let three = *walk.machines.values().last().expect("a machine");
    unit_files(lab);
    lab.sh("lab ssh-config > ssh-config");
    lab.sh(&format!("tar -c unit-files | ssh -C -F ssh-config {one} \"tar -x\""));

    walk.all_are_there(one);
    assert_eq!(walk.table(one, "fleetctl list-machines"), walk.machine_rows("-"));
    let help = walk.table(one, "fleetctl");
    assert!(help.contains("VERSION:\n        0.11.5\n"), "{help}");
    for line in COMMANDS.lines() {
        assert!(help.lines().any(|have| have == line), "{line}\nis not in\n{help}");
    }

    hello(&walk, one, three);
    instances(&walk, one);
    templates(&walk, one);
    lab.gone();
}

#[track_caller]
fn hello(walk: &Walk, one: &str, three: &str) {
    let at = walk.legend(one);
    let link = |node| {
        walk.types(node, "ls -al /run/systemd/system")
            .contains("hello.service -> /run/fleet/units/hello.service")
    };
    assert_eq!(
        walk.types(one, "fleetctl load unit-files/static/hello.service"),
        format!("Unit hello.service inactive\nUnit hello.service loaded on {at}\n")
    );
    let files = walk.table(one, "fleetctl list-unit-files");
    let hash = files
        .lines()
        .nth(1)
        .and_then(|row| row.get(16..23))
        .expect("a hash")
        .to_string();
    assert_eq!(
        files,
        format!(
            "UNIT            HASH    DSTATE  STATE   TARGET\n\
             hello.service   {hash} loaded  loaded  {at}\n"
        )
    );
    let units = |state: &str| {
        format!(
            "UNIT            MACHINE                         ACTIVE          SUB\n\
             hello.service   {at}        {state}\n"
        )
    };
    assert_eq!(walk.table(one, "fleetctl list-units"), units("inactive        dead"));
    assert!(link(one) && !link(three));

    assert_eq!(
        walk.types(one, "fleetctl unload hello.service"),
        "Unit hello.service inactive\n"
    );
    eventually("it is on no machine", || {
        (walk.table(one, "fleetctl list-units") == "UNIT    MACHINE ACTIVE  SUB\n").then_some(())
    });
    assert_eq!(
        walk.table(one, "fleetctl list-unit-files"),
        format!(
            "UNIT            HASH    DSTATE          STATE           TARGET\n\
             hello.service   {hash} inactive        inactive        -\n"
        )
    );
    assert!(!link(one));
    let gone = walk.refused(one, "ls -l /run/fleet/units/hello.service", 2);
    assert!(gone.contains("No such file or directory"), "{gone}");
    // Printed is what systemd says of a unit that is loaded and not started; fleet 0.11.5 does not ask it about this one.
    assert_eq!(
        walk.refused(one, "fleetctl status hello.service", 1),
        "Unit hello.service does not appear to be loaded.\n"
    );

    // From another machine.
    assert_eq!(
        walk.types(three, "fleetctl start hello.service"),
        format!("Unit hello.service launched on {at}\n")
    );
    // Narrower than before: a column is as wide as what is in it.
    let running = format!(
        "UNIT            MACHINE                         ACTIVE  SUB\n\
         hello.service   {at}        active  running\n"
    );
    eventually("it runs", || {
        (walk.table(three, "fleetctl list-units") == running).then_some(())
    });
    let status = eventually("it says something", || {
        let status = walk.types(one, "fleetctl status hello.service");
        status.contains(": Hello World").then_some(status)
    });
    for part in [
        "● hello.service - My Service\n     Loaded: loaded (",
        "/hello.service; linked-runtime;",
        "\n     Active: active (running) since ",
        "\n   Main PID: ",
        "/system.slice/hello.service\n",
        "while true; do echo Hello World; sleep 1; done",
        " systemd[1]: Started hello.service - My Service.\n",
    ] {
        assert!(status.contains(part), "{part:?} is not in\n{status}");
    }
    assert_eq!(
        walk.types(three, "fleetctl stop hello.service"),
        format!("Unit hello.service loaded on {at}\n")
    );
    // On its way there it may be shown as deactivating.
    eventually("it has stopped", || {
        (walk.table(three, "fleetctl list-units") == units("inactive        dead")).then_some(())
    });
    assert_eq!(
        walk.types(one, "fleetctl destroy hello.service"),
        "Destroyed hello.service\n"
    );
}

#[track_caller]
fn instances(walk: &Walk, one: &str) {
    let said = walk.types(one, "fleetctl start unit-files/instances/*");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 12, "{said}");
    let units = [
        "nginx-discovery@5555.service",
        "nginx-discovery@6666.service",
        "nginx-discovery@7777.service",
        "nginx@5555.service",
        "nginx@6666.service",
        "nginx@7777.service",
    ];
    assert_eq!(lines[..6], units.map(|unit| format!("Unit {unit} inactive")));
    // As they come: the walk-through's own order is by chance.
    let on = walk.launched(&lines[6..]);
    assert_eq!(on.keys().map(String::as_str).collect::<Vec<_>>(), units);
    let mut spread: Vec<&str> = units[3..].iter().map(|unit| on[*unit]).collect();
    for port in [5555, 6666, 7777] {
        let (server, sidecar) = (
            format!("nginx@{port}.service"),
            format!("nginx-discovery@{port}.service"),
        );
        assert_eq!(on[&server], on[&sidecar], "MachineOf");
    }
    spread.sort_unstable();
    assert_eq!(spread, NODES, "Conflicts");
    walk.are(one, &units, "active running");
    for (unit, node) in on.iter().filter(|(unit, _)| unit.starts_with("nginx@")) {
        let port = &unit[6..10];
        let page = walk.types(one, &format!("curl -sf {}:{port}", address(node)));
        assert_eq!(page, format!("nginx@{port} on {node}\n"));
    }

    let watch = walk.watches(one, "watched");
    let seen = |what: &str, node: &str| {
        watch
            .log()
            .matches(&format!("[{what}] /services/nginx/{}\n", address(node)))
            .count()
    };
    for (unit, node) in on.iter().filter(|(unit, _)| unit.starts_with("nginx@")) {
        let said = format!(
            "[set] /services/nginx/{}\n{{\"host\": \"{node}\", \"port\": {}}}\n",
            address(node),
            &unit[6..10]
        );
        eventually("it announces itself", || watch.log().contains(&said).then_some(()));
    }

    let (stops, stays) = (on["nginx@5555.service"], on["nginx@6666.service"]);
    assert_eq!(
        walk.types(one, "fleetctl stop nginx@5555.service"),
        format!("Unit nginx@5555.service loaded on {}\n", walk.legend(stops))
    );
    // BindsTo takes the sidecar along, and the sidecar its key.
    walk.are(
        one,
        &["nginx@5555.service", "nginx-discovery@5555.service"],
        "inactive dead",
    );
    eventually("its key is gone", || (seen("delete", stops) == 1).then_some(()));
    let before = seen("set", stops);
    assert_eq!(
        walk.types(one, "fleetctl start nginx@5555.service"),
        format!("Unit nginx@5555.service launched on {}\n", walk.legend(stops))
    );
    // Requires brings the sidecar back.
    walk.are(
        one,
        &["nginx@5555.service", "nginx-discovery@5555.service"],
        "active running",
    );
    eventually("its key is back", || (seen("set", stops) > before).then_some(()));

    // Written anew every 20 seconds, and once before anybody watched: by the second time the first has had its 30.
    eventually("the other's key is kept alive", || {
        (seen("set", stays) >= 2).then_some(())
    });
    assert_eq!(seen("expire", stays), 0, "{}", watch.log());
    let key = walk.types(
        one,
        &format!("etcdctl -o extended get /services/nginx/{}", address(stays)),
    );
    let ttl = key.lines().find_map(|line| line.strip_prefix("TTL: ")).expect("a TTL");
    assert!((1..=30).contains(&ttl.parse::<u32>().expect("a number")), "{key}");

    let said = walk.types(
        one,
        "fleetctl destroy nginx-discovery@5555.service nginx@5555.service \\
         nginx-discovery@6666.service nginx@6666.service \\
         nginx-discovery@7777.service nginx@7777.service",
    );
    let destroyed: String = [5555, 6666, 7777]
        .map(|port| format!("Destroyed nginx-discovery@{port}.service\nDestroyed nginx@{port}.service\n"))
        .concat();
    assert_eq!(said, destroyed);
}

#[track_caller]
fn templates(walk: &Walk, one: &str) {
    let watch = walk.watches(one, "watched again");
    // The walk-through leaves out what submit says.
    assert_eq!(
        walk.types(one, "fleetctl submit unit-files/templates/*"),
        "Unit nginx-discovery@.service inactive\nUnit nginx@.service inactive\n"
    );
    // Printed are two lines each that say `loaded` and `launched`, as of load and then of start; of start alone fleet
    // 0.11.5 says `inactive` and `launched`, in the order of the arguments and of what comes about.
    let said = walk.types(one, "fleetctl start nginx@4444.service nginx-discovery@4444.service");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "Unit nginx@4444.service inactive",
            "Unit nginx-discovery@4444.service inactive"
        ]
    );
    let on = walk.launched(&lines[2..]);
    let node = on["nginx@4444.service"];
    assert_eq!(on["nginx-discovery@4444.service"], node);
    let said = format!(
        "[set] /services/nginx/{}\n{{\"host\": \"{node}\", \"port\": 4444}}\n",
        address(node)
    );
    eventually("it announces itself", || watch.log().contains(&said).then_some(()));

    // The way in that the walk-through prints brings no agent along, without which 0.11.5 has no keys.
    let id = &walk.id(node)[..8];
    let refused = walk.refused(one, &format!("fleetctl ssh {id}"), 1);
    assert!(
        refused.contains("SSH_AUTH_SOCK environment variable is not set."),
        "{refused}"
    );
    let agent = Agent::start(walk.lab.dir(), &[&walk.lab.dir().join(".lab/ssh/id_ed25519")]);
    let enters = |whom: &str, input: &str| {
        let shell = format!(
            "printf '{input}' | SSH_AUTH_SOCK={} lab ssh {one} -- -A fleetctl ssh {whom}",
            agent.socket.display()
        );
        walk.lab.sh(&shell)
    };
    // Behind what a login says.
    let last = |said: String| said.lines().last().unwrap_or_default().to_string();
    assert_eq!(last(enters(id, "yes\\nhostname\\n")), node);
    // nginx@6666.service, which is printed, has been destroyed two commands before.
    assert_eq!(last(enters("nginx@4444.service", "hostname\\n")), node);
    let refused = walk.refused(one, "fleetctl ssh nginx@6666.service hostname", 1);
    assert_eq!(refused, "Unable to proceed: could not find matching unit or machine\n");
}
