//! What the scheduler promises, by example and for whatever units and machines there are.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::unit::UnitFile;

fn unit(name: &str, text: &str, machine: Option<&str>) -> Unit {
    let file = UnitFile::parse(&format!("[X-Fleet]\n{text}")).unwrap();
    let (requirements, problems) = Requirements::read(&UnitName::new(name), &file);
    assert_eq!(problems, []);
    Unit {
        name: name.into(),
        requirements: Arc::new(requirements),
        wanted: true,
        machine: machine.map(str::to_string),
        failed_on: BTreeSet::new(),
    }
}

fn machine(id: &str, metadata: &[(&str, &str)]) -> Machine {
    Machine {
        id: id.into(),
        metadata: metadata.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        presence: Presence::Here,
    }
}

fn plan(units: &[Unit], machines: &[Machine]) -> Vec<Decision> {
    super::plan(units, machines, false)
}

fn three() -> Vec<Machine> {
    vec![
        machine("m1", &[("role", "a")]),
        machine("m2", &[("role", "b")]),
        machine("m3", &[("role", "b")]),
    ]
}

/// The units after a plan has been carried out.
fn after(units: &[Unit], decisions: &[Decision]) -> Vec<Unit> {
    let mut units = units.to_vec();
    for decision in decisions {
        let (name, to) = match decision {
            Decision::Unschedule { unit, machine, .. } => {
                let now = units.iter().find(|u| u.name == *unit).unwrap().machine.clone();
                assert_eq!(now.as_ref(), Some(machine), "{decision:?}");
                (unit, None)
            }
            Decision::Schedule { unit, machine } => {
                assert_eq!(
                    units.iter().find(|u| u.name == *unit).unwrap().machine,
                    None,
                    "{decision:?}"
                );
                (unit, Some(machine.clone()))
            }
        };
        units.iter_mut().find(|u| u.name == *name).unwrap().machine = to;
    }
    units
}

fn places(units: &[Unit], machines: &[Machine]) -> BTreeMap<String, String> {
    let units = after(units, &plan(units, machines));
    let placed = units.into_iter().filter_map(|unit| Some((unit.name, unit.machine?)));
    placed.collect()
}

#[test]
fn the_least_loaded_machine_is_taken_and_then_the_first() {
    let units = [
        unit("a.service", "", Some("m1")),
        unit("b.service", "", None),
        unit("c.service", "", None),
        unit("d.service", "", None),
    ];
    let placed = places(&units, &three());
    assert_eq!(
        (&*placed["b.service"], &*placed["c.service"], &*placed["d.service"]),
        ("m2", "m3", "m1")
    );
}

#[test]
fn of_five_that_conflict_three_run_and_one_more_when_one_goes() {
    let name = |n: u32| format!("c@{n}.service");
    let units: Vec<Unit> = (0..5).map(|n| unit(&name(n), "Conflicts=c@*.service", None)).collect();
    let mut units = after(&units, &plan(&units, &three()));
    assert_eq!(units.iter().filter(|unit| unit.machine.is_some()).count(), 3);
    units.retain(|unit| unit.name != "c@1.service");
    assert_eq!(plan(&units, &three()).len(), 1);
}

#[test]
fn a_conflict_of_either_side_keeps_both_apart() {
    let machines = [machine("m1", &[])];
    for (there, comes) in [("Conflicts=b.service", ""), ("", "Conflicts=a.service")] {
        let units = [unit("a.service", there, Some("m1")), unit("b.service", comes, None)];
        assert_eq!(plan(&units, &machines), []);
        let why = Cluster::explain(&units, &machines, "b.service").unwrap();
        assert_eq!(why["m1"], Some(Reason::Conflict("a.service".into())));
    }
}

#[test]
fn a_chain_moves_as_one_when_its_machine_is_lost() {
    let units = [
        unit("a.service", "MachineOf=b.service", Some("gone")),
        unit("b.service", "MachineOf=c.service", Some("gone")),
        unit("c.service", "", Some("gone")),
        unit("d.service", "MachineOf=d.service", None),
    ];
    let placed = places(&units, &three());
    assert_eq!(placed.len(), 3, "one that follows itself is nowhere");
    assert!(placed.values().all(|id| id == "m1"));
}

#[test]
fn metadata_machine_id_and_preference_choose() {
    let id = "0123456789abcdef";
    let mut machines = three();
    machines.push(machine(id, &[("role", "c")]));
    for (text, expected) in [
        ("MachineMetadata=role=b", Some("m2")),
        ("MachineMetadata=role!=a\nMachineMetadata=role in (a, c)", Some(id)),
        ("MachineMetadata=role=x", None),
        ("MachineID=m3", Some("m3")),
        ("MachineID=01234567", Some(id)),
        ("MachineID=0123", None),
        ("PreferredMetadata=role=b", Some("m2")),
        ("PreferredMetadata=role=x", Some(id)),
    ] {
        let placed = places(&[unit("a.service", text, None)], &machines);
        assert_eq!(placed.get("a.service").map(String::as_str), expected, "{text}");
    }
}

#[test]
fn weight_counts_as_load_and_a_template_has_its_limit_per_machine() {
    let units = [
        unit("a.service", "Weight=5", Some("m1")),
        unit("b.service", "", Some("m2")),
        unit("w@1.service", "MaxPerMachine=1", None),
        unit("w@2.service", "MaxPerMachine=1", None),
        unit("w@3.service", "MaxPerMachine=1", None),
        unit("w@4.service", "MaxPerMachine=1", None),
    ];
    let placed = places(&units, &three());
    assert_eq!(
        (
            &*placed["w@1.service"],
            &*placed["w@2.service"],
            &*placed["w@3.service"]
        ),
        ("m3", "m2", "m1")
    );
    assert!(!placed.contains_key("w@4.service"));
}

#[test]
fn a_cordoned_machine_keeps_what_it_has_and_gets_nothing() {
    let mut machines = [machine("m1", &[])];
    machines[0].presence = Presence::Cordoned;
    let units = [unit("a.service", "", Some("m1")), unit("b.service", "", None)];
    assert_eq!(plan(&units, &machines), []);
    assert_eq!(
        Cluster::explain(&units, &machines, "b.service").unwrap()["m1"],
        Some(Reason::Cordoned)
    );
}

#[test]
fn a_drained_machine_gives_units_away_one_by_one_with_those_that_follow_them() {
    let mut machines = [machine("m1", &[]), machine("m2", &[])];
    machines[0].presence = Presence::Draining;
    let mut units = vec![
        unit("a.service", "", Some("m1")),
        unit("b.service", "MachineOf=a.service", Some("m1")),
        unit("c.service", "", Some("m1")),
        unit("d.service", "MachineMetadata=role!=x\nConflicts=e.service", Some("m1")),
        unit("e.service", "", Some("m2")),
        unit("g.service", "Global=true", None),
        unit("n.service", "", None),
        unit("p.service", "MachineID=m1", Some("m1")),
    ];
    let on_m1 = |units: &[Unit]| {
        let there = units.iter().filter(|unit| unit.machine.as_deref() == Some("m1"));
        there.map(|unit| unit.name.clone()).collect::<Vec<_>>()
    };
    units = after(&units, &plan(&units, &machines));
    assert_eq!(on_m1(&units).len(), 5, "not before it may move; and nothing new comes");
    units = after(&units, &super::plan(&units, &machines, true));
    assert_eq!(on_m1(&units), ["c.service", "d.service", "p.service"]);
    for _ in 0..3 {
        units = after(&units, &super::plan(&units, &machines, true));
    }
    assert_eq!(
        on_m1(&units),
        ["d.service", "p.service"],
        "what could be nowhere else stays"
    );
    assert!(globals_on(&units, &machines[0]).contains("g.service"));
}

#[test]
fn what_a_machine_has_that_is_away_is_not_touched() {
    let machines = [Machine::away("m1"), machine("m2", &[])];
    let mut units = [
        unit("a.service", "MachineMetadata=role=a", Some("m1")),
        unit("b.service", "MachineOf=a.service", None),
        unit("c.service", "", None),
    ];
    let placed = places(&units, &machines);
    assert_eq!((&*placed["a.service"], &*placed["c.service"]), ("m1", "m2"));
    assert!(!placed.contains_key("b.service"));
    units[0].wanted = false;
    assert!(!places(&units, &machines).contains_key("a.service"));
}

#[test]
fn a_unit_leaves_the_machine_where_it_has_failed_and_waits_when_it_has_failed_on_all() {
    let machines = [machine("m1", &[]), machine("m2", &[])];
    let mut units = [unit("a.service", "", Some("m1"))];
    units[0].failed_on.insert("m1".into());
    assert_eq!(places(&units, &machines)["a.service"], "m2");
    units[0].failed_on.insert("m2".into());
    assert!(places(&units, &machines).is_empty());
    let mut bound = [unit("a.service", "MachineID=m1", Some("m1"))];
    bound[0].failed_on.insert("m1".into());
    assert_eq!(plan(&bound, &machines), [], "it can be nowhere else");
}

#[test]
fn a_replaced_unit_moves_and_of_two_that_replace_each_other_one_runs() {
    let two = [machine("m1", &[]), machine("m2", &[])];
    let units = [
        unit("new.service", "Replaces=old.service\nMachineMetadata=x!=y", None),
        unit("old.service", "", Some("m1")),
        unit("other.service", "Weight=9", Some("m2")),
    ];
    let placed = places(&units, &two);
    assert_eq!((&*placed["new.service"], &*placed["old.service"]), ("m1", "m2"));
    let circle = [
        unit("r0.service", "Replaces=r1.service", None),
        unit("r1.service", "Replaces=r0.service", None),
    ];
    assert_eq!(places(&circle, &two[..1]).len(), 1);
    let ring = ["Replaces=r1.service", "Replaces=r2.service", "Replaces=r0.service"];
    let ring: Vec<Unit> = (0..3).map(|n| unit(&format!("r{n}.service"), ring[n], None)).collect();
    let settled = after(&ring, &plan(&ring, &two[..1]));
    assert_eq!(plan(&settled, &two[..1]), [], "nobody is replaced round and round");
}

#[test]
fn a_global_unit_yields_to_what_is_scheduled() {
    let machines = [machine("m1", &[]), machine("m2", &[])];
    let units = [
        unit("a-global.service", "Global=true\nConflicts=b.service", None),
        unit("b.service", "", Some("m1")),
    ];
    assert_eq!(plan(&units, &machines), []);
    assert!(globals_on(&units, &machines[0]).is_empty());
    assert_eq!(
        globals_on(&units[..1], &machines[1]),
        ["a-global.service".to_string()].into()
    );
    let other = [
        unit("g.service", "Global=true", None),
        unit("n.service", "Conflicts=g.service", None),
    ];
    assert_eq!(
        plan(&other, &machines),
        [],
        "there is no machine without the global unit"
    );
}

/// Units of few names and machines of few kinds, so that they meet.
fn any_units() -> impl Strategy<Value = Vec<Unit>> {
    let one = (
        0..12u32,
        proptest::option::of(0..12u32),
        proptest::option::of(prop_oneof![
            Just("u1*.service"),
            Just("u*3.service"),
            Just("u5.service")
        ]),
        proptest::option::of(prop_oneof![Just("role=a"), Just("role=b"), Just("role!=a")]),
        (0..8u32, proptest::option::of(0..5u32), 1..4u32, any::<bool>()),
    );
    proptest::collection::vec(one, 0..14).prop_map(|all| {
        let mut units: HashMap<String, Unit> = HashMap::new();
        for (n, peer, conflict, metadata, (kind, at, weight, wanted)) in all {
            let mut text = format!("Weight={weight}\n");
            if let Some(peer) = peer.filter(|_| kind > 4) {
                text += &format!("MachineOf=u{peer}.service\n");
            }
            if let Some(pattern) = conflict {
                text += &format!("Conflicts={pattern}\n");
            }
            if let Some(term) = metadata {
                text += &format!("MachineMetadata={term}\n");
            }
            if kind == 0 {
                text += "Global=true\n";
            }
            let at = at.filter(|_| kind > 0).map(|at| format!("m{at}"));
            let name = format!("u{n}.service");
            let unit = Unit {
                wanted: wanted || n % 2 == 0,
                ..unit(&name, &text, at.as_deref())
            };
            units.insert(name, unit);
        }
        units.into_values().collect()
    })
}

fn any_machines() -> impl Strategy<Value = Vec<Machine>> {
    proptest::collection::btree_map(0..5u32, (0..3usize, proptest::bool::weighted(0.1)), 0..5).prop_map(|all| {
        let one = |(n, (role, cordoned)): (u32, (usize, bool))| {
            let mut one = machine(&format!("m{n}"), &[("role", ["a", "b", "c"][role])]);
            if cordoned {
                one.presence = Presence::Cordoned;
            }
            one
        };
        all.into_iter().map(one).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_plan_keeps_its_promises(units in any_units(), machines in any_machines()) {
        let decisions = plan(&units, &machines);
        let done = after(&units, &decisions);
        let on = |id: &str| done.iter().filter(move |u| u.machine.as_deref() == Some(id)).collect::<Vec<_>>();
        for unit in done.iter().filter(|unit| unit.machine.is_some()) {
            let id = unit.machine.as_deref().unwrap();
            prop_assert!(unit.wanted);
            let home = machines.iter().find(|machine| machine.id == id);
            prop_assert!(home.is_some(), "{} is on a machine that is gone", unit.name);
            prop_assert!(unit.requirements.metadata.iter().all(|term| term.met(&home.unwrap().metadata)));
            for other in on(id).iter().filter(|other| other.name != unit.name) {
                prop_assert!(!unit.requirements.conflicts_with(&other.name), "{} and {}", unit.name, other.name);
            }
            for global in globals_on(&done, home.unwrap()) {
                prop_assert!(!unit.requirements.conflicts_with(&global), "{} and {global}", unit.name);
                let theirs = done.iter().find(|unit| unit.name == global).unwrap();
                prop_assert!(!theirs.requirements.conflicts_with(&unit.name), "{global} and {}", unit.name);
            }
            for peer in &unit.requirements.peers {
                let peer = done.iter().find(|unit| unit.name == *peer);
                prop_assert!(peer.is_some_and(|peer| peer.machine == unit.machine));
            }
        }
        for unit in done.iter().filter(|unit| unit.wanted && unit.machine.is_none() && !unit.requirements.global) {
            let why = Cluster::explain(&done, &machines, &unit.name).unwrap();
            prop_assert!(why.values().all(Option::is_some), "{} could be somewhere: {why:?}", unit.name);
        }
        prop_assert_eq!(plan(&done, &machines), vec![], "a second plan finds nothing to do");
        let mut shuffled = units.clone();
        shuffled.reverse();
        let mut backwards = machines.clone();
        backwards.reverse();
        prop_assert_eq!(plan(&shuffled, &backwards), decisions);
    }
}
