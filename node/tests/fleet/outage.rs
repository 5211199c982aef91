//! etcd that stands still, for one machine or for all: what goes on, what stops, and what is shown.
use std::time::Instant;

use crate::cluster::*;

/// Units that may run anywhere, spread over the nodes.
async fn spread(nodes: &[Node], count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("u{n}.service")).collect();
    for name in &names {
        nodes[0].put(name, SLEEP).await;
    }
    eventually("all are launched", || {
        let launched = |name: &String| nodes.iter().all(|node| node.shown(name).0 == "launched");
        names.iter().all(launched).then_some(())
    })
    .await;
    names
}

/// Whom each node asks before it goes on without etcd is in the registry.
async fn acquainted(nodes: &[Node]) {
    eventually(
        "each machine has said whom it asks, and the others know where it listens",
        || {
            let knows = |node: &Node| {
                let mirror = node.machine().registry.mirror();
                let asks = mirror.asks.values().filter(|asks| asks.len() == nodes.len() - 1);
                asks.count() == nodes.len() && mirror.peers.len() == nodes.len()
            };
            nodes.iter().all(knows).then_some(())
        },
    )
    .await;
}

fn count(nodes: &[Node], what: &str) -> usize {
    let of = |node: &Node| {
        node.fake
            .inside()
            .events
            .iter()
            .filter(|event| event.starts_with(what))
            .count()
    };
    nodes.iter().map(of).sum()
}

#[tokio::test]
async fn an_etcd_that_stands_still_for_everybody_stops_nothing_and_nothing_is_shown_as_gone() {
    let etcd = etcd().await;
    let nodes = cluster_with(&etcd, &["m1", "m2", "m3"], SOON).await;
    let names = spread(&nodes, 6).await;
    acquainted(&nodes).await;
    let places: Vec<_> = names.iter().map(|name| nodes[0].shown(name)).collect();
    etcd.stop();
    let begun = Instant::now();
    let mut oldest = None;
    let mut as_before = || {
        for (name, place) in names.iter().zip(&places) {
            assert_eq!(running(&nodes, name).len(), 1, "{name} after {:?}", begun.elapsed());
            for node in &nodes {
                assert_eq!(node.shown(name), *place, "{name} after {:?}", begun.elapsed());
            }
        }
        let mirror = nodes[0].machine().registry.mirror();
        oldest = oldest.max(mirror.stale("m2", TTL * 2 / 3, Instant::now()));
    };
    throughout(TTL * 3, &mut as_before).await;
    as_before();
    etcd.go_on();
    throughout(TTL * 3, &mut as_before).await;
    assert!(
        oldest >= Some(TTL.as_secs() * 2),
        "how old the states were was to be seen: {oldest:?}"
    );
    assert_eq!((count(&nodes, "stop"), count(&nodes, "start")), (0, names.len()));
    eventually("all are fresh again", || {
        let mirror = nodes[0].machine().registry.mirror();
        let fresh = |id: &str| mirror.stale(id, TTL * 2 / 3, Instant::now()).is_none();
        ["m1", "m2", "m3"].iter().all(|id| fresh(id)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_the_word_of_one_that_cannot_be_asked_units_that_may_move_stop_and_come_back() {
    let etcd = etcd().await;
    let mut nodes = cluster_with(&etcd, &["m1", "m2"], SOON).await;
    nodes.push(Node::new(&etcd, "m3", &format!("peer_addr=off\n{SOON}")).await);
    let names = spread(&nodes, 3).await;
    eventually("each machine has said whom it asks", || {
        let mirror = nodes[0].machine().registry.mirror();
        (mirror.asks.values().filter(|asks| asks.len() == 2).count() == 3).then_some(())
    })
    .await;
    etcd.stop();
    eventually("all have stopped but those of the one that can ask all others", || {
        let left = names.iter().filter(|name| !running(&nodes[..2], name).is_empty());
        (left.count() == 0).then_some(())
    })
    .await;
    etcd.go_on();
    let mut twice = 0;
    eventually("all run again", || {
        twice += names.iter().filter(|name| running(&nodes, name).len() > 1).count();
        names.iter().all(|name| running(&nodes, name).len() == 1).then_some(())
    })
    .await;
    assert_eq!(twice, 0);
}

#[tokio::test]
async fn a_machine_that_is_cut_off_has_no_promise_and_nothing_ever_runs_twice() {
    let etcd = etcd().await;
    let nodes = cluster_with(&etcd, &["m1", "m2", "m3"], SOON).await;
    let names = spread(&nodes, 6).await;
    acquainted(&nodes).await;
    for round in 0..2 {
        let cut = &nodes[round];
        cut.wire.whole.send(false).unwrap();
        let cut_at = Instant::now();
        let (mut twice, mut elsewhere) = (0, false);
        let mut look = || {
            twice += names.iter().filter(|name| running(&nodes, name).len() > 1).count();
            let rest = nodes.iter().filter(|node| !std::ptr::eq(*node, cut));
            let runs = |name: &String| rest.clone().any(|node| node.fake.runs(name));
            elsewhere |= names.iter().all(runs);
            elsewhere
        };
        eventually("the others have all units", || look().then_some(())).await;
        assert!(cut_at.elapsed() < TTL * 3, "{:?}", cut_at.elapsed());
        cut.wire.whole.send(true).unwrap();
        eventually("it is back", || {
            let back = cut.machine().monitor.reachable();
            (look() && back).then_some(())
        })
        .await;
        assert_eq!(twice, 0, "round {round}");
    }
}

#[tokio::test]
async fn a_leader_that_begins_anew_or_came_later_acts_on_no_machine_too_early() {
    let etcd = etcd().await;
    let mut nodes = cluster_with(&etcd, &["m1", "m2"], SOON).await;
    let name = &spread(&nodes, 1).await[0];
    acquainted(&nodes).await;
    let at = running(&nodes, name)[0];
    let other = 1 - at;
    // The other begins anew while etcd is away for both: it does not know what it promised.
    etcd.stop();
    throughout(TTL, || assert_eq!(running(&nodes, name), [at])).await;
    drop(nodes[other].machine.take());
    nodes[other].start();
    nodes[at].wire.whole.send(false).unwrap();
    etcd.go_on();
    let begun = Instant::now();
    let mut twice = 0;
    eventually("the other runs it", || {
        let runs = running(&nodes, name);
        twice += usize::from(runs.len() > 1);
        (runs == [other]).then_some(())
    })
    .await;
    assert_eq!(twice, 0);
    assert!(begun.elapsed() >= TTL, "{:?}", begun.elapsed());
}
