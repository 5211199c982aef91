//! Where we do better than etcd 2 on purpose.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use corelab_tests::cluster::{Member, Setup};
use corelab_tests::eventually;
use corelab_tests::http::{Conn, Watch};
use serde_json::Value;

/// Seconds since the epoch of a time as etcd writes it, like 2026-01-02T03:04:05.123456789Z; of today, so without
/// the calendar: only what is within the day.
fn second_of_day(text: &str) -> f64 {
    let time = text.split('T').nth(1).unwrap_or_default().trim_end_matches('Z');
    time.split(':')
        .fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap_or(f64::NAN))
}

fn now_of_day() -> f64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64();
    now % 86_400.0
}

/// How far a member's idea of the cluster's time may be from ours: a message is under way for a while.
const CLOCKS: f64 = 0.1;

/// The key is there until its time is over, and nowhere afterwards.
#[track_caller]
fn assert_gone_in_time(member: &Member, dir: &str, deadline: f64) {
    loop {
        let (before, key, after) = (now_of_day(), member.key(&format!("{dir}/x")), now_of_day());
        let listed = member.key(&format!("{dir}?recursive=true"))["node"]["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.iter().any(|node| node["key"] == format!("{dir}/x")));
        let there = key["node"]["value"] == "1";
        // Midnight makes the difference negative by a day: then it says nothing.
        let over = before - deadline;
        assert!(
            !(CLOCKS..40_000.0).contains(&over) || !there && !listed,
            "{} serves it {over} s late",
            member.name
        );
        let early = deadline - after;
        assert!(
            !(CLOCKS..40_000.0).contains(&early) || there,
            "{} lost it {early} s early",
            member.name
        );
        if !there {
            return;
        }
    }
}

#[test]
fn an_expired_key_is_served_by_no_member_and_its_event_comes() {
    let cluster = Setup::members(3).start();
    for (round, watched) in cluster.members.iter().enumerate() {
        let dir = format!("/lease{round}");
        let mut watch = watched.watch(&format!("{dir}?wait=true&recursive=true&stream=true"));
        let answer = cluster.members[0].set(&format!("{dir}/x"), "value=1&ttl=2").json();
        let deadline = second_of_day(answer["node"]["expiration"].as_str().expect("an expiration"));
        // Followers have it a moment later.
        for member in &cluster.members {
            assert_eq!(member.key(&format!("{dir}/x?quorum=true"))["node"]["value"], "1");
        }
        std::thread::scope(|scope| {
            for member in &cluster.members {
                let dir = dir.as_str();
                scope.spawn(move || assert_gone_in_time(member, dir, deadline));
            }
        });
        let actions: Vec<Value> = (0..2)
            .map(|_| watch.next_event().expect("an event").expect("an event")["action"].clone())
            .collect();
        assert_eq!(actions, ["set", "expire"]);
    }
}

#[test]
fn a_ttl_goes_on_after_the_leader_is_replaced() {
    let mut cluster = Setup::members(3)
        .flag("heartbeat-interval", 50)
        .flag("election-timeout", 500)
        .start();
    let index = cluster.members[0]
        .set("/lease/x", "value=1&ttl=4")
        .number("X-Etcd-Index");
    let leader = cluster.leader();
    let other = (leader + 1) % 3;
    let mut watch = cluster.members[other].watch(&format!("/lease/x?wait=true&waitIndex={}", index + 1));
    cluster.members[leader].kill9();
    assert_eq!(
        watch.next_event().expect("an event").expect("an event")["action"],
        "expire"
    );
}

#[test]
fn a_stalled_stream_is_closed_and_others_get_every_event() {
    const EVENTS: u64 = 20_000;
    let cluster = Setup::members(1).start();
    let member = &cluster.members[0];
    let mut stalled = member.watch("/s?wait=true&recursive=true&stream=true");
    let mut reading = member.watch("/s?wait=true&recursive=true&stream=true");
    let watchers = || {
        let stats = member.get("/v2/stats/store").expect("stats").json();
        stats["watchers"].as_u64().expect("watchers")
    };
    assert_eq!(watchers(), 2);
    let reader = std::thread::spawn(move || {
        let mut next = 0;
        while next < EVENTS {
            let event = reading.next_event().expect("an event").expect("the stream goes on");
            let number = event["node"]["value"]
                .as_str()
                .and_then(|value| value.split('.').next()?.parse().ok());
            assert_eq!(number, Some(next), "an event is missing or double");
            next += 1;
        }
        reading
    });
    let mut conn = Conn::open(member.client).expect("connect");
    let padding = ".".repeat(4000);
    // Pipelined in small lots: a round trip for each takes long.
    for lot in 0..EVENTS / 100 {
        for number in lot * 100..lot * 100 + 100 {
            conn.send("PUT", "/v2/keys/s/key", Some(&format!("value={number}{padding}")))
                .expect("send");
        }
        for _ in 0..100 {
            assert!(conn.answer(false).expect("an answer").status < 300);
        }
    }
    let reading = reader.join().expect("the reader");
    eventually("only the watcher that reads is left", || {
        (watchers() == 1).then_some(())
    });
    let mut got = 0;
    while stalled.next_event().unwrap_or(None).is_some() {
        got += 1;
    }
    assert!(got < EVENTS, "a stalled stream was given all");
    drop(reading);
    eventually("no watcher is left", || (watchers() == 0).then_some(()));
}

#[test]
fn a_stream_that_begins_in_history_goes_on_with_what_happens() {
    let cluster = Setup::members(1).start();
    let member = &cluster.members[0];
    let first = member.set("/h/key", "value=0").number("X-Etcd-Index");
    for number in 1..100 {
        member.set("/h/key", &format!("value={number}"));
    }
    // Somebody writes all the while, so that history ends at no quiet moment.
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (stop, client) = (stop.clone(), member.client);
        move || {
            let mut conn = Conn::open(client).expect("connect");
            let mut number = 100;
            while !stop.load(Ordering::Relaxed) {
                let form = format!("value={number}");
                assert!(
                    conn.ask("PUT", "/v2/keys/h/key", Some(&form))
                        .expect("an answer")
                        .status
                        < 300
                );
                number += 1;
            }
            number
        }
    });
    let path = format!("/h?wait=true&recursive=true&stream=true&waitIndex={first}");
    let mut streams: Vec<Watch> = (0..5).map(|_| member.watch(&path)).collect();
    for stream in &mut streams {
        for number in 0..200 {
            let event = stream.next_event().expect("an event").expect("the stream goes on");
            assert_eq!(event["node"]["value"], number.to_string());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let end: u64 = writer.join().expect("the writer");
    for stream in &mut streams {
        for number in 200..end {
            let event = stream.next_event().expect("an event").expect("the stream goes on");
            assert_eq!(event["node"]["value"], number.to_string());
        }
    }
}

#[test]
fn event_history_size_sets_how_far_back_a_watch_may_begin() {
    for size in [50u64, 2000] {
        let cluster = Setup::members(1).flag("event-history-size", size).start();
        let member = &cluster.members[0];
        let mut last = 0;
        for number in 0..2100 {
            last = member.set("/h", &format!("value={number}")).number("X-Etcd-Index");
        }
        let oldest = last - size + 1;
        let mut kept = member.watch(&format!("/h?wait=true&waitIndex={oldest}"));
        let event = kept.next_event().expect("an event").expect("an event");
        assert_eq!(event["node"]["modifiedIndex"], oldest);
        let cleared = member.key(&format!("/h?wait=true&waitIndex={}", oldest - 1));
        assert_eq!(cleared["errorCode"], 401, "{cleared}");
        let cause = format!("the requested history has been cleared [{oldest}/{}]", oldest - 1);
        assert_eq!(cleared["cause"], cause);
    }
}

#[test]
fn a_ttl_beyond_the_range_of_the_clock_is_a_long_one() {
    let cluster = Setup::members(1).start();
    let member = &cluster.members[0];
    member.set("/long", "value=1&ttl=9223372036854775807");
    let node = member.key("/long");
    assert_eq!(node["node"]["value"], "1", "{node}");
    assert!(
        node["node"]["ttl"].as_u64().is_some_and(|ttl| ttl > 1_000_000_000),
        "{node}"
    );
}
