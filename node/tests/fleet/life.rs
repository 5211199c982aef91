//! What a cluster does day by day: units come, go, and move with machines that come and go.
use labnode::client::keys::Get;

use crate::cluster::*;

#[tokio::test]
async fn units_are_spread_started_and_shown_and_one_that_is_bad_holds_up_no_other() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1", "m2", "m3"]).await;
    nodes[0].put("bad.service", SLEEP).await;
    for (n, node) in nodes.iter().enumerate() {
        node.put(
            &format!("c@{n}.service"),
            &format!("{SLEEP}[X-Fleet]\nConflicts=c@*.service\n"),
        )
        .await;
    }
    nodes[1]
        .put("side.service", &format!("{SLEEP}[X-Fleet]\nMachineOf=c@1.service\n"))
        .await;
    nodes[1]
        .put("all.service", &format!("{SLEEP}[X-Fleet]\nGlobal=true\n"))
        .await;
    eventually("everything is launched", || {
        let names = ["c@0.service", "c@1.service", "c@2.service", "side.service"];
        let launched = names.iter().all(|name| nodes[2].shown(name).0 == "launched");
        (launched && running(&nodes, "all.service").len() == 3).then_some(())
    })
    .await;
    let mut places: Vec<String> = (0..3).map(|n| nodes[0].shown(&format!("c@{n}.service")).1).collect();
    assert_eq!(nodes[0].shown("side.service").1, places[1]);
    places.sort();
    assert_eq!(places, ["m1", "m2", "m3"]);
    // The keys are fleet's own.
    let get = Get {
        quorum: true,
        ..Get::default()
    };
    let client = connect(etcd.port);
    let key = |rest: &str| format!("/_coreos.com/fleet/{rest}");
    let at = nodes[0].shown("side.service").1;
    for (rest, value) in [
        ("job/side.service/target", &*at),
        ("job/side.service/job-state", &at),
        ("engine/version", "1"),
    ] {
        assert_eq!(
            client.get(&key(rest), &get).await.unwrap().node.unwrap().value,
            value,
            "{rest}"
        );
    }
}

#[tokio::test]
async fn a_destroyed_unit_stops_before_its_file_goes() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1"]).await;
    nodes[0].put("a.service", SLEEP).await;
    eventually("it is launched", || {
        (nodes[0].shown("a.service").0 == "launched").then_some(())
    })
    .await;
    nodes[0].machine().registry.destroy("a.service").await.unwrap();
    eventually("it is unloaded", || {
        nodes[0].fake.inside().units.is_empty().then_some(())
    })
    .await;
    let events = nodes[0].fake.inside().events.clone();
    let word = |event: &str| format!("{event} a.service");
    assert_eq!(events, ["load", "start", "stop", "stopped", "unload"].map(word));
    eventually("its state is gone", || {
        nodes[0].machine().registry.mirror().states.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_machine_cut_off_stops_what_may_move_before_others_run_it_and_keeps_what_asks_for_it() {
    let etcd = etcd().await;
    let nodes = cluster_with(&etcd, &["m1", "m2"], SOON).await;
    nodes[0].put("moves.service", SLEEP).await;
    nodes[0]
        .put(
            "keeps.service",
            &format!("{SLEEP}[X-Fleet]\nOnDisconnect=keep\nMachineOf=moves.service\n"),
        )
        .await;
    let at = eventually("both run", || match &running(&nodes, "moves.service")[..] {
        [at] if nodes[*at].fake.runs("keeps.service") && nodes[*at].shown("keeps.service").0 == "launched" => Some(*at),
        _ => None,
    })
    .await;
    nodes[at].wire.whole.send(false).unwrap();
    let mut both = 0;
    eventually("the other machine runs it", || {
        let runs = running(&nodes, "moves.service");
        both += usize::from(runs.len() > 1);
        (runs == [1 - at]).then_some(())
    })
    .await;
    assert_eq!(both, 0, "it ran twice");
    assert!(nodes[at].fake.runs("keeps.service"));
    nodes[at].wire.whole.send(true).unwrap();
    eventually("the one that came back gives up what the other has", || {
        (running(&nodes, "keeps.service") == [1 - at] && running(&nodes, "moves.service") == [1 - at]).then_some(())
    })
    .await;
    eventually("and takes no heartbeat of the other with it", || {
        (nodes[1 - at].shown("keeps.service").0 == "launched").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_restarted_finds_its_units_running_and_leaves_them_so() {
    let etcd = etcd().await;
    let mut nodes = cluster(&etcd, &["m1", "m2"]).await;
    nodes[0].put("a.service", SLEEP).await;
    let at = eventually("it runs", || running(&nodes, "a.service").first().copied()).await;
    eventually("it is launched", || {
        (nodes[0].shown("a.service").0 == "launched").then_some(())
    })
    .await;
    // Dropped as by a crash: nothing is told to anybody.
    drop(nodes[at].machine.take());
    nodes[at].start();
    eventually("it reports on its unit", || {
        (nodes[at].shown("a.service").0 == "launched").then_some(())
    })
    .await;
    throughout(TTL * 2, || assert_eq!(running(&nodes, "a.service"), [at])).await;
    assert_eq!(nodes[at].fake.inside().events, ["load a.service", "start a.service"]);
}

#[tokio::test]
async fn when_the_leader_leaves_another_leads_and_its_units_run_elsewhere() {
    let etcd = etcd().await;
    let mut nodes = cluster(&etcd, &["m1", "m2", "m3"]).await;
    let leader = |nodes: &[Node], of: usize| {
        let lease = nodes[of].machine().registry.mirror().lease.clone();
        lease.and_then(|(lease, _)| nodes.iter().position(|node| node.config.machine_id == lease.machine_id))
    };
    let old = eventually("somebody leads", || leader(&nodes, 0)).await;
    let id = nodes[old].config.machine_id.clone();
    nodes[old]
        .put("a.service", &format!("{SLEEP}[X-Fleet]\nPreferredMetadata=x=y\n"))
        .await;
    eventually("it runs", || running(&nodes, "a.service").first().copied()).await;
    let leaves = nodes[old].machine.take().unwrap();
    leaves.leave().await;
    assert!(
        nodes[old].fake.inside().units.is_empty(),
        "units of a machine that leaves are stopped and removed"
    );
    let other = (old + 1) % 3;
    eventually("another leads, and the machine is gone", || {
        let new = leader(&nodes, other)?;
        let known = nodes[other].machine().registry.mirror().machine(&id).is_some();
        (new != old && !known).then_some(())
    })
    .await;
    eventually("the unit runs elsewhere", || {
        running(&nodes, "a.service").first().copied()
    })
    .await;
}

#[tokio::test]
async fn a_second_machine_with_the_same_id_does_not_register() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1"]).await;
    let second = Node::new(&etcd, "m1", "public_ip=10.0.0.9\n").await;
    let mut progress = second.machine().registry.progress();
    progress.wait_for(|progress| progress.filled).await.unwrap();
    throughout(TTL * 2, || assert!(!second.machine().monitor.reachable())).await;
    let mut second = second;
    second.machine.take().unwrap().leave().await;
    assert_eq!(
        nodes[0].machine().registry.mirror().machine("m1").unwrap().public_ip,
        "m1"
    );
}
