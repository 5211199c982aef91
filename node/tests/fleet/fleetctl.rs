//! What fleetctl does beyond the original, on a fleet of three machines.
use labnode::client::keys::Set;
use serde_json::Value;

use super::cluster::{connect, eventually};
use super::replay::Fleet;

const SLEEP: &str = "[Service]\nExecStart=/bin/sleep 1\n";

/// stdout, stderr and exit status of what may end badly.
async fn ended(fleet: &Fleet, line: &str) -> (String, String, i32) {
    let args: Vec<&str> = line.split_whitespace().collect();
    let output = fleet.run(&args, &[]).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap_or(-1),
    )
}

fn events(fleet: &Fleet) -> Vec<String> {
    fleet.fakes().flat_map(|fake| fake.inside().events.clone()).collect()
}

fn forget(fleet: &Fleet) {
    fleet.fakes().for_each(|fake| fake.inside().events.clear());
}

#[tokio::test]
async fn lists_are_json_for_programs_and_nothing_else_is_on_stdout() {
    let fleet = Fleet::new().await;
    fleet.write("a.service", SLEEP);
    fleet.write("all.service", &format!("{SLEEP}[X-Fleet]\nGlobal=true\n"));
    fleet.fleetctl("start a.service all.service").await;
    let list = async |what: &str| -> Vec<Value> {
        let (out, err, code) = ended(&fleet, &format!("{what} --format json")).await;
        assert_eq!((err.as_str(), code), ("", 0), "{what}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{what}: {error}: {out}"))
    };
    let machines = list("list-machines").await;
    assert_eq!(machines.len(), 3);
    assert_eq!(machines[1]["metadata"]["role"], "r2");
    let files = list("list-unit-files").await;
    assert_eq!(
        (&files[0]["name"], &files[0]["global"]),
        (&"a.service".into(), &false.into())
    );
    assert_eq!(files[0]["machineID"], "10000000000000000000000000000000");
    assert_eq!(files[0]["hash"].as_str().map(str::len), Some(40));
    assert_eq!(files[1]["global"], true);
    let mut units = Vec::new();
    for _ in 0..600 {
        units = list("list-units").await;
        if units.len() == 4 && units.iter().all(|unit| unit["systemdActiveState"] == "active") {
            break;
        }
    }
    assert_eq!(units.len(), 4, "{units:?}");
    let (out, err, code) = ended(&fleet, "list-units --format=json --fields=unit").await;
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(err.contains("--fields is for tables"), "{err}");
}

#[tokio::test]
async fn restart_stops_and_starts_one_unit_after_the_other_and_ends_where_one_fails() {
    let fleet = Fleet::new().await;
    for name in ["a.service", "b.service"] {
        fleet.write(name, SLEEP);
    }
    fleet.write("false.service", "[Service]\nExecStart=/bin/false\n");
    fleet.fleetctl("start a b false").await;
    forget(&fleet);
    let (out, err, code) = ended(&fleet, "restart a b").await;
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("Unit a.service launched on "), "{out}");
    assert!(err.contains(": Unit(a.service) was restarted.\n"), "{err}");
    let seen = events(&fleet);
    for name in ["a", "b"] {
        for what in ["stop", "stopped", "start"] {
            let event = format!("{what} {name}.service");
            assert_eq!(
                seen.iter().filter(|seen| **seen == event).count(),
                1,
                "{event}: {seen:?}"
            );
        }
    }
    // They are on different machines: each has its own list, so it is asked once more with both on one.
    fleet.write("one.service", &format!("{SLEEP}[X-Fleet]\nMachineMetadata=role=r3\n"));
    fleet.write("two.service", &format!("{SLEEP}[X-Fleet]\nMachineMetadata=role=r3\n"));
    fleet.fleetctl("start one two").await;
    forget(&fleet);
    fleet.fleetctl("restart two one").await;
    let seen = fleet.nodes[2].fake.inside().events.clone();
    let at = |event: &str| {
        seen.iter()
            .position(|seen| seen == event)
            .unwrap_or_else(|| panic!("{event}: {seen:?}"))
    };
    assert!(at("start two.service") < at("stop one.service"), "{seen:?}");
    forget(&fleet);
    let (_, err, code) = ended(&fleet, "restart false a").await;
    assert_eq!(code, 1);
    assert_eq!(
        err,
        "Error restarting units: unit false.service is failed (failed); not restarted: a.service\n"
    );
    assert!(!events(&fleet).iter().any(|event| event.ends_with(" a.service")));
}

#[tokio::test]
async fn replace_waits_until_the_new_file_runs() {
    let fleet = Fleet::new().await;
    fleet.write("a.service", SLEEP);
    fleet.fleetctl("start a.service").await;
    let same = fleet.fleetctl("start --replace a.service").await;
    assert_eq!(same, "Found same Unit(a.service) in Registry, nothing to do\n");
    fleet.write("a.service", "[Service]\nExecStart=/bin/sleep 2\n");
    let (out, err, code) = ended(&fleet, "submit --replace a.service").await;
    assert_eq!((out.as_str(), code), ("", 0));
    assert_eq!(
        err,
        "Warning: can not replace Unit(a.service) in state 'launched', use the appropriate command\n"
    );
    let out = fleet.fleetctl("start a.service --replace").await;
    assert_eq!(out, "Unit a.service launched on 10000000.../10.93.0.11\n");
    let unit = fleet.nodes[0].fake.inside().units["a.service"].clone();
    assert!(unit.active && unit.text.contains("sleep 2"), "{}", unit.text);
    assert_eq!(fleet.fleetctl("cat a").await, "[Service]\nExecStart=/bin/sleep 2\n");
    fleet.fleetctl("unload a").await;
    fleet.write("a.service", SLEEP);
    assert_eq!(
        fleet.fleetctl("submit --replace a.service").await,
        "Unit a.service inactive\n"
    );
    assert_eq!(fleet.fleetctl("cat a").await, SLEEP);
    fleet.fleetctl("start a").await;
    let out = fleet.fleetctl("destroy --block-attempts=0 a").await;
    assert_eq!(out, "Destroyed a.service\n");
    let gone = |fake: &super::cluster::Fake| !fake.inside().units.contains_key("a.service");
    assert!(fleet.fakes().all(gone), "no machine has it any more");
}

#[tokio::test]
async fn mistakes_are_named_with_their_place_and_what_may_be_meant() {
    let fleet = Fleet::new().await;
    fleet.write("bad.service", &format!("{SLEEP}[X-Fleet]\nMachineMetadata=novalue\n"));
    fleet.write("typo.service", &format!("{SLEEP}[X-Fleet]\nMachneOf=a.service\n"));
    fleet.write("hello.service", SLEEP);
    fleet.fleetctl("submit hello.service").await;
    let cases = [
        (
            "submit bad.service",
            1,
            "Error creating units: bad.service:4: MachineMetadata: \"novalue\" is none of",
        ),
        (
            "submit typo.service",
            0,
            "typo.service:4: Unit typo.service: unrecognized requirement",
        ),
        ("submit typo2.service", 1, "unable to find Unit(typo2.service)"),
        (
            "lst-units",
            2,
            "unknown subcommand: \"lst-units\" (did you mean \"list-units\"?)",
        ),
        ("list-units --fulll", 2, "-fulll (did you mean \"full\"?)"),
        ("list-units --fields unti", 1, "\"unti\" (did you mean \"unit\"?)"),
        ("help strat", 1, "Unrecognized command: strat (did you mean \"start\"?)"),
        (
            "cat helo",
            1,
            "Unit helo.service not found (did you mean \"hello.service\"?)",
        ),
        (
            "explain helo",
            1,
            "Unit helo.service not found (did you mean \"hello.service\"?)",
        ),
        (
            "list-units --format yaml",
            1,
            "--format \"yaml\" is neither table nor json",
        ),
    ];
    for (line, status, what) in cases {
        let (out, err, code) = ended(&fleet, line).await;
        assert!(err.contains(what), "{line}: {err}");
        assert_eq!(code, status, "{line}");
        assert!(code == 0 || out.is_empty(), "{line}: {out}");
    }
    let (_, err, _) = ended(&fleet, "submit typo.service").await;
    assert_eq!(err, "", "it is there already");
}

#[tokio::test]
async fn explain_says_what_speaks_against_each_machine_and_who_waits_is_sent_there() {
    let fleet = Fleet::new().await;
    fleet.write("no.service", &format!("{SLEEP}[X-Fleet]\nMachineMetadata=role=r9\n"));
    fleet.write("r2.service", &format!("{SLEEP}[X-Fleet]\nMachineMetadata=role=r2\n"));
    let (_, err, code) = ended(&fleet, "start --block-attempts=20 no.service").await;
    assert_eq!(code, 1);
    let hint = "Unit no.service waits: no machine can take it, see: fleetctl explain no.service\n";
    assert!(err.contains(hint), "{err}");
    fleet.fleetctl("start r2.service").await;
    let text = fleet.fleetctl("explain r2").await;
    assert_eq!(
        text,
        "Unit r2.service shall be launched and is on 20000000.../10.93.0.12\n\
         MACHINE\t\t\tREASON\n\
         10000000.../10.93.0.11\tlocal Machine metadata insufficient\n\
         20000000.../10.93.0.12\tit is here\n\
         30000000.../10.93.0.13\tlocal Machine metadata insufficient\n"
    );
    let etcd = format!("--driver=etcd --endpoint=http://127.0.0.1:{}", fleet.etcd.port);
    assert_eq!(fleet.fleetctl(&format!("{etcd} explain r2")).await, text);
    let json: Value = serde_json::from_str(&fleet.fleetctl("explain no --format=json").await).unwrap();
    assert_eq!(json["desiredState"], "launched");
    assert_eq!(json["machines"].as_object().map(|machines| machines.len()), Some(3));
}

#[tokio::test]
async fn etcd_itself_serves_as_well_as_the_api() {
    let fleet = Fleet::new().await;
    let etcd = format!("--driver=etcd --endpoint=http://127.0.0.1:{}", fleet.etcd.port);
    fleet.write("a.service", SLEEP);
    fleet.write("t@.service", SLEEP);
    let out = fleet.fleetctl(&format!("{etcd} start a t@1.service")).await;
    assert!(
        out.contains("Unit a.service launched on 10000000.../10.93.0.11\n"),
        "{out}"
    );
    for line in ["list-machines", "list-unit-files", "cat t@1"] {
        let direct = fleet.fleetctl(&format!("{etcd} {line}")).await;
        let mut shown = String::new();
        // The API follows etcd, and may be a moment behind it.
        for _ in 0..600 {
            shown = fleet.fleetctl(line).await;
            if shown == direct {
                break;
            }
        }
        assert_eq!(shown, direct, "{line}");
    }
    fleet.write("a.service", "[Service]\nExecStart=/bin/sleep 2\n");
    fleet.fleetctl(&format!("{etcd} start --replace a")).await;
    assert!(fleet.nodes[0].fake.inside().units["a.service"].text.contains("sleep 2"));
    assert_eq!(
        fleet.fleetctl(&format!("{etcd} unload a")).await,
        "Unit a.service inactive\n"
    );
    assert_eq!(
        fleet.fleetctl(&format!("{etcd} destroy a")).await,
        "Destroyed a.service\n"
    );
    // A machine of a fleet that is newer than this fleetctl.
    let newer = r#"{"ID":"40000000000000000000000000000000","PublicIP":"","Metadata":{},"Version":"1.0.0"}"#;
    let key = "/_coreos.com/fleet/machines/40000000000000000000000000000000/object";
    connect(fleet.etcd.port).set(key, newer, &Set::default()).await.unwrap();
    let (out, err, code) = ended(&fleet, &format!("{etcd} list-machines --no-legend")).await;
    assert_eq!((out.lines().count(), code), (4, 0));
    assert!(out.ends_with("40000000...\t-\t\t-\n"), "{out:?}");
    assert!(
        err.contains("\nversion of fleet found in the cluster (1.0.0). You are strongly\n"),
        "{err}"
    );
}

#[tokio::test]
async fn drain_waits_until_what_can_move_has_moved_and_tells_what_stays() {
    let fleet = Fleet::new().await;
    fleet.write("mov.service", SLEEP);
    fleet.write(
        "pin.service",
        &format!("{SLEEP}[X-Fleet]\nMachineID=10000000000000000000000000000000\n"),
    );
    fleet.fleetctl("start mov pin").await;
    let (_, err, code) = ended(&fleet, "drain 7").await;
    assert_eq!((err.as_str(), code), ("7: machine does not exist\n", 1));
    let (out, err, code) = ended(&fleet, "drain 1").await;
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with("Triggered machine 10000000.../10.93.0.11 drain\n"),
        "{out}"
    );
    assert!(
        out.contains("Unit mov.service launched on 20000000.../10.93.0.12\n"),
        "{out}"
    );
    assert!(out.ends_with("Machine 10000000.../10.93.0.11 is drained\n"), "{out}");
    assert!(
        err.starts_with("Unit pin.service stays on 10000000.../10.93.0.11"),
        "{err}"
    );
    eventually("it runs there", || {
        fleet.nodes[1].fake.runs("mov.service").then_some(())
    })
    .await;
    let (_, table, _) = cordons(&fleet).await;
    assert_eq!(
        table,
        "MACHINE\t\tCORDON\n10000000...\tdraining\n20000000...\t-\n30000000...\t-\n"
    );
    let out = fleet.fleetctl("uncordon 1").await;
    assert_eq!(out, "Machine 10000000.../10.93.0.11 takes units again\n");
    let out = fleet.fleetctl("explain pin").await;
    assert!(out.contains("\n10000000.../10.93.0.11\tit is here\n"), "{out}");
}

/// The machines as the original lists them, with their cordons, and what of these JSON has.
async fn cordons(fleet: &Fleet) -> (String, String, Vec<Value>) {
    let plain = fleet.fleetctl("list-machines").await;
    let with = fleet.fleetctl("list-machines --fields=machine,cordon").await;
    let json = fleet.fleetctl("list-machines --format=json").await;
    let json: Vec<Value> = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    (
        plain,
        with,
        json.into_iter().map(|machine| machine["cordon"].clone()).collect(),
    )
}

#[tokio::test]
async fn a_cordon_is_listed_where_it_is_asked_for_and_explained() {
    let fleet = Fleet::new().await;
    let (plain, none, json) = cordons(&fleet).await;
    assert_eq!(none.matches("\t-\n").count(), 3, "{none}");
    assert_eq!(json, [Value::Null, Value::Null, Value::Null]);
    fleet.write("a.service", SLEEP);
    fleet.fleetctl("start a").await;
    let out = fleet.fleetctl("cordon 1 3").await;
    assert_eq!(out.lines().count(), 2);
    let after = cordons(&fleet).await;
    let table = "MACHINE\t\tCORDON\n10000000...\tcordoned\n20000000...\t-\n30000000...\tcordoned\n";
    assert_eq!(
        after,
        (
            plain,
            table.into(),
            vec!["cordoned".into(), Value::Null, "cordoned".into()]
        )
    );
    assert_eq!(
        fleet.fleetctl("explain a").await,
        "Unit a.service shall be launched and is on 10000000.../10.93.0.11\n\
         MACHINE\t\t\tREASON\n\
         10000000.../10.93.0.11\tit is here; the machine is cordoned\n\
         20000000.../10.93.0.12\tit could run here\n\
         30000000.../10.93.0.13\tMachine takes no further units: it is cordoned\n"
    );
}
