//! What units and operators ask for: machines emptied, failed units started again, restarts, files collected.
use std::time::{Duration, Instant};

use labnode::client::keys::Get;
use labnode::fleet::schema::JobState;
use labnode::unit::UnitFile;

use crate::cluster::*;

fn events(node: &Node, name: &str) -> Vec<String> {
    let all = node.fake.inside().events.clone();
    let of = all
        .iter()
        .filter_map(|event| event.strip_suffix(&format!(" {name}")).map(str::to_string));
    of.collect()
}

async fn launched(nodes: &[Node], name: &str) -> usize {
    eventually(&format!("{name} is launched"), || {
        let runs = running(nodes, name);
        (runs.len() == 1 && nodes.iter().all(|node| node.shown(name).0 == "launched")).then(|| runs[0])
    })
    .await
}

#[tokio::test]
async fn a_drained_machine_gives_its_units_away_one_at_a_time_and_none_runs_twice_meanwhile() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1", "m2"]).await;
    let names = ["a.service", "b.service", "c.service", "d.service"];
    for name in names {
        nodes[0].put(name, SLEEP).await;
    }
    nodes[0]
        .put("fixed.service", &format!("{SLEEP}[X-Fleet]\nMachineID=m1\n"))
        .await;
    for name in names.iter().chain(["fixed.service"].iter()) {
        launched(&nodes, name).await;
    }
    for node in &nodes {
        node.fake.inside().stops = Duration::from_millis(400);
    }
    assert_eq!(nodes[1].ask("POST", "/fleet/v1/machines/m9/drain", "").await.0, 404);
    assert_eq!(nodes[1].ask("POST", "/fleet/v1/machines/m1/drain", "").await.0, 204);
    let (mut twice, mut stopped_at_once) = (0, 0);
    eventually("all that may has moved", || {
        twice += names.iter().filter(|name| running(&nodes, name).len() > 1).count();
        let down = names.iter().filter(|name| running(&nodes, name).is_empty()).count();
        stopped_at_once = stopped_at_once.max(down);
        names.iter().all(|name| nodes[1].fake.runs(name)).then_some(())
    })
    .await;
    assert_eq!(twice, 0);
    assert!(stopped_at_once <= 1, "{stopped_at_once} were down at the same time");
    assert!(nodes[0].fake.runs("fixed.service"));
    let (_, body) = nodes[1].ask("GET", "/fleet/v1/machines", "").await;
    assert!(
        body.starts_with(r#"{"machines":[{"cordon":"draining","id":"m1","#),
        "{body}"
    );
    nodes[0].put("new.service", SLEEP).await;
    assert_eq!(launched(&nodes, "new.service").await, 1, "although it has less to do");
    let (_, why) = nodes[0].ask("GET", "/fleet/v1/explain/new.service", "").await;
    assert!(
        why.contains(r#""m1":"Machine takes no further units and gives away its own: it is drained""#),
        "{why}"
    );
    assert_eq!(nodes[0].ask("POST", "/fleet/v1/machines/m1/uncordon", "").await.0, 204);
    nodes[0].put("newer.service", SLEEP).await;
    assert_eq!(launched(&nodes, "newer.service").await, 0);
    let (_, body) = nodes[1].ask("GET", "/fleet/v1/machines", "").await;
    assert!(
        body.starts_with(r#"{"machines":[{"id":"m1","primaryIP":"m1"},"#),
        "{body}"
    );
    assert_eq!(nodes[0].ask("POST", "/fleet/v1/machines/m2/cordon", "").await.0, 204);
    nodes[0]
        .put("newest.service", &format!("{SLEEP}[X-Fleet]\nWeight=99\n"))
        .await;
    assert_eq!(launched(&nodes, "newest.service").await, 0);
    assert!(
        names.iter().all(|name| nodes[1].fake.runs(name)),
        "a cordon moves nothing"
    );
}

#[tokio::test]
async fn a_failed_unit_is_started_again_and_then_goes_elsewhere_if_it_asks_for_that() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1", "m2"]).await;
    nodes[0].fake.inside().weak = Some("weak".into());
    for (name, policy) in [
        ("weak-stays.service", ""),
        ("weak-here.service", "RestartFailed=here\nMachineMetadata=x!=y\n"),
        ("weak-goes.service", "RestartFailed=elsewhere\n"),
    ] {
        // All are on the first machine, where they fail.
        nodes[0].ask("POST", "/fleet/v1/machines/m2/cordon", "").await;
        nodes[0].put(name, &format!("{SLEEP}[X-Fleet]\n{policy}")).await;
        eventually("it is on the first machine", || {
            (nodes[0].shown(name).1 == "m1").then_some(())
        })
        .await;
    }
    nodes[0].ask("POST", "/fleet/v1/machines/m2/uncordon", "").await;
    eventually("one has gone elsewhere and is well", || {
        let moved = nodes[0].shown("weak-goes.service") == ("launched".into(), "m2".into());
        (moved && nodes[1].fake.runs("weak-goes.service")).then_some(())
    })
    .await;
    let starts = |name: &str| events(&nodes[0], name).iter().filter(|event| *event == "start").count();
    assert_eq!(starts("weak-goes.service"), 4, "once, and three times more");
    assert_eq!(starts("weak-stays.service"), 1);
    nodes[0].fake.inside().weak = None;
    eventually("the other is well again where it is", || {
        nodes[0].fake.runs("weak-here.service").then_some(())
    })
    .await;
    assert!(starts("weak-here.service") > 1);
    assert_eq!(nodes[0].shown("weak-here.service").1, "m1");
}

#[tokio::test]
async fn a_restart_stops_and_starts_a_unit_once() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1", "m2"]).await;
    nodes[0].put("a.service", SLEEP).await;
    let at = launched(&nodes, "a.service").await;
    let restart = "/fleet/v1/units/a.service/restart";
    assert_eq!(nodes[1 - at].ask("POST", restart, "").await, (204, String::new()));
    eventually("it has restarted", || {
        let expected = ["load", "start", "stop", "stopped", "start"];
        (events(&nodes[at], "a.service") == expected).then_some(())
    })
    .await;
    launched(&nodes, "a.service").await;
    nodes[0]
        .machine()
        .registry
        .set_wanted("a.service", JobState::Loaded)
        .await
        .unwrap();
    eventually("it is loaded", || {
        (nodes[0].shown("a.service").0 == "loaded").then_some(())
    })
    .await;
    assert_eq!(nodes[0].ask("POST", restart, "").await.0, 409);
    assert_eq!(
        nodes[0].ask("POST", "/fleet/v1/units/b.service/restart", "").await.0,
        404
    );
    // A later start is one start, whatever was asked before.
    nodes[0]
        .machine()
        .registry
        .set_wanted("a.service", JobState::Launched)
        .await
        .unwrap();
    launched(&nodes, "a.service").await;
    assert_eq!(
        events(&nodes[at], "a.service")
            .iter()
            .filter(|event| *event == "start")
            .count(),
        3
    );
}

#[tokio::test]
async fn unit_files_that_no_unit_has_are_removed_and_those_that_somebody_may_use_are_not() {
    let etcd = etcd().await;
    let nodes = cluster_with(&etcd, &["m1"], "agent_ttl=1s\n").await;
    let registry = &nodes[0].machine().registry;
    let text = |n: u32| UnitFile::parse(&format!("[Service]\nExecStart=/bin/sleep {n}\n")).unwrap();
    for (name, n) in [("kept.service", 1), ("gone.service", 2)] {
        registry.create_unit(name, &text(n), JobState::Inactive).await.unwrap();
    }
    registry.destroy("gone.service").await.unwrap();
    eventually("both files are known", || {
        (registry.mirror().units.len() == 2).then_some(())
    })
    .await;
    let client = connect(etcd.port);
    let key = |n: u32| format!("/_coreos.com/fleet/unit/{}", text(n).hash());
    let before = client.get(&key(2), &Get::default()).await.unwrap().node.unwrap();
    let (hash, index) = (text(2).hash(), before.modified_index);
    let begun = Instant::now();
    eventually("the unused one goes", || {
        (!registry.mirror().units.contains_key(&hash)).then_some(())
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(client.get(&key(1), &Get::default()).await.is_ok());
    // A create between the look and the removal: written again, it is no longer the one that was unused.
    registry
        .create_unit("again.service", &text(2), JobState::Inactive)
        .await
        .unwrap();
    assert_eq!(registry.collect(&hash, index).await.unwrap(), None);
    // A client that does not write it again, and whose file went at the wrong moment, gets it back.
    let late = client.get(&key(2), &Get::default()).await.unwrap().node.unwrap();
    assert!(registry.collect(&hash, late.modified_index).await.unwrap().is_some());
    eventually("it is back", || {
        registry.mirror().units.contains_key(&hash).then_some(())
    })
    .await;
}
