//! fleet's own functional scenarios that need no real systemd: what is asked in [X-Fleet], and what comes of it.
use labnode::fleet::schema::JobState;

use crate::cluster::*;

async fn put(nodes: &[Node], name: &str, fleet: &str) {
    nodes[0].put(name, &format!("{SLEEP}[X-Fleet]\n{fleet}\n")).await;
}

/// Waits until exactly these units run, each on one machine; where they run.
async fn settled(nodes: &[Node], names: &[&str]) -> Vec<usize> {
    eventually(&format!("{names:?} run"), || {
        let places: Vec<usize> = names
            .iter()
            .filter_map(|name| match running(nodes, name)[..] {
                [at] if nodes[0].shown(name).0 == "launched" => Some(at),
                _ => None,
            })
            .collect();
        (places.len() == names.len()).then_some(places)
    })
    .await
}

#[tokio::test]
async fn instances_machine_ids_and_metadata_choose_their_machines() {
    let etcd = etcd().await;
    let mut nodes = Vec::new();
    for id in ["m1", "m2", "m3"] {
        nodes.push(Node::new(&etcd, id, &format!("metadata=hostname={id}\n")).await);
    }
    eventually("all are there", || {
        (nodes[0].machine().registry.mirror().machines().len() == 3).then_some(())
    })
    .await;
    for id in ["m3", "m1", "m2"] {
        put(&nodes, &format!("at@{id}.service"), "MachineMetadata=hostname=%i").await;
    }
    put(&nodes, "new.service", "MachineID=m3").await;
    put(&nodes, "old.service", "X-ConditionMachineID=m2").await;
    let names = [
        "at@m1.service",
        "at@m2.service",
        "at@m3.service",
        "new.service",
        "old.service",
    ];
    assert_eq!(settled(&nodes, &names).await, [0, 1, 2, 2, 1]);
}

#[tokio::test]
async fn pairs_stay_together_also_when_their_machine_dies() {
    let etcd = etcd().await;
    let mut nodes = cluster(&etcd, &["m1", "m2", "m3"]).await;
    let names = ["ping@1.service", "ping@2.service", "ping@3.service"];
    let others = ["pong@1.service", "pong@2.service", "pong@3.service"];
    for n in 1..=3 {
        put(&nodes, &format!("ping@{n}.service"), "").await;
        put(&nodes, &format!("pong@{n}.service"), "MachineOf=ping@%i.service").await;
    }
    let places = settled(&nodes, &names).await;
    assert_eq!(settled(&nodes, &others).await, places);
    // The machine is gone as by a crash, with all that ran on it.
    let dead = places[2];
    drop(nodes[dead].machine.take());
    let dead = nodes.remove(dead);
    dead.fake.inside().units.clear();
    let places = settled(&nodes, &names).await;
    assert_eq!(settled(&nodes, &others).await, places);
}

#[tokio::test]
async fn units_that_conflict_share_no_machine_and_a_waiting_one_starts_when_there_is_room() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1", "m2", "m3"]).await;
    for n in 0..5 {
        put(
            &nodes,
            &format!("c@{n}.service"),
            "Conflicts=x.service y.service\nConflicts=c@*.service",
        )
        .await;
    }
    let run = |nodes: &[Node]| {
        let all = (0..5)
            .map(|n| format!("c@{n}.service"))
            .filter(|name| !running(nodes, name).is_empty());
        all.collect::<Vec<String>>()
    };
    let three = eventually("three run", || Some(run(&nodes)).filter(|all| all.len() == 3)).await;
    let waiting = (0..5)
        .map(|n| format!("c@{n}.service"))
        .find(|name| !three.contains(name))
        .unwrap();
    let (_, why) = nodes[1].ask("GET", &format!("/fleet/v1/explain/{waiting}"), "").await;
    assert_eq!(
        why.matches("found conflict with locally-scheduled Unit").count(),
        3,
        "{why}"
    );
    // The conflict of one side is enough, in either order.
    put(&nodes, "y.service", "").await;
    nodes[0]
        .ask("DELETE", &format!("/fleet/v1/units/{}", three[0]), "")
        .await;
    eventually("another has its place", || {
        let now = run(&nodes);
        let together =
            (0..3).any(|at| nodes[at].fake.runs("y.service") && now.iter().any(|name| nodes[at].fake.runs(name)));
        assert!(!together, "they conflict");
        let y = usize::from(!running(&nodes, "y.service").is_empty());
        (now.len() + y == 3 && !now.contains(&three[0])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_unit_that_replaces_another_takes_its_machine_and_two_that_replace_each_other_do_not_chase() {
    let etcd = etcd().await;
    let nodes = vec![
        Node::new(&etcd, "m1", "metadata=first=yes\n").await,
        Node::new(&etcd, "m2", "").await,
    ];
    put(&nodes, "old.service", "PreferredMetadata=first=yes").await;
    assert_eq!(settled(&nodes, &["old.service"]).await, [0]);
    put(&nodes, "new.service", "Replaces=old.service\nMachineMetadata=first=yes").await;
    eventually("one has replaced the other", || {
        let places = (running(&nodes, "new.service"), running(&nodes, "old.service"));
        (places == (vec![0], vec![1])).then_some(())
    })
    .await;
    put(&nodes, "r0.service", "Replaces=r1.service\nMachineMetadata=first=yes").await;
    put(&nodes, "r1.service", "Replaces=r0.service\nMachineMetadata=first=yes").await;
    settled(&nodes, &["r0.service"]).await;
    let starts = |name: &str| {
        let of = |node: &Node| {
            node.fake
                .inside()
                .events
                .iter()
                .filter(|event| **event == format!("start {name}"))
                .count()
        };
        nodes.iter().map(of).sum::<usize>()
    };
    let now = (starts("r0.service"), starts("r1.service"));
    throughout(TTL, || {
        assert_eq!(
            (starts("r0.service"), starts("r1.service")),
            now,
            "nobody is moved round and round"
        );
    })
    .await;
    assert_eq!(
        running(&nodes, "r0.service").len() + running(&nodes, "r1.service").len(),
        1
    );
}

#[tokio::test]
async fn global_units_run_everywhere_also_where_a_machine_joins_late_and_one_of_two_that_conflict() {
    let etcd = etcd().await;
    let mut nodes = cluster(&etcd, &["m1", "m2"]).await;
    put(&nodes, "all.service", "Global=true").await;
    put(&nodes, "ga.service", "Global=true\nConflicts=gb.service").await;
    put(&nodes, "gb.service", "Global=true").await;
    nodes.push(Node::new(&etcd, "m3", "").await);
    eventually("they run on all three", || {
        (running(&nodes, "all.service").len() == 3 && running(&nodes, "ga.service").len() == 3).then_some(())
    })
    .await;
    assert!(running(&nodes, "gb.service").is_empty());
    assert_eq!(
        nodes[2].shown("all.service"),
        (String::new(), String::new()),
        "it has no machine of its own"
    );
}

#[tokio::test]
async fn units_come_and_go_and_come_again() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1", "m2"]).await;
    let state = |wanted: JobState| nodes[0].machine().registry.set_wanted("a.service", wanted);
    for _ in 0..3 {
        nodes[0].put("a.service", SLEEP).await;
        settled(&nodes, &["a.service"]).await;
        for (wanted, files) in [(JobState::Loaded, 1), (JobState::Inactive, 0), (JobState::Launched, 1)] {
            state(wanted).await.unwrap();
            eventually("it is as wanted", || {
                let loaded = nodes
                    .iter()
                    .filter(|node| node.fake.inside().units.contains_key("a.service"))
                    .count();
                (nodes[1].shown("a.service").0 == wanted.name() && loaded == files).then_some(())
            })
            .await;
        }
        assert_eq!(nodes[1].ask("DELETE", "/fleet/v1/units/a.service", "").await.0, 204);
        eventually("nothing is left of it", || {
            let there = nodes
                .iter()
                .any(|node| node.fake.inside().units.contains_key("a.service"));
            let mirror = nodes[0].machine().registry.mirror();
            (!there && mirror.states.is_empty() && mirror.jobs.is_empty()).then_some(())
        })
        .await;
    }
}
