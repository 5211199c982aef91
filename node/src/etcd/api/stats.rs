//! /v2/stats: a member of itself, of its store, and the leader of its followers.
use serde::Serialize;

use super::allow;
use crate::etcd::http::reply::JSON;
use crate::etcd::http::{Reply, Request};
use crate::etcd::server::Server;
use crate::kv::{Time, time::write_rfc3339};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Own<'a> {
    name: &'a str,
    id: String,
    state: &'a str,
    start_time: String,
    leader_info: LeaderInfo,
    recv_append_request_cnt: u64,
    send_append_request_cnt: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderInfo {
    leader: String,
    uptime: String,
    start_time: String,
}

pub fn own(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "GET") {
        return;
    }
    let member = &server.member;
    let (leader, since) = server.leader_since();
    let counters = member.state.traffic.lock().unwrap().clone();
    let own = Own {
        name: &server.config.name,
        id: format!("{:x}", member.id),
        state: if member.is_leader() {
            "StateLeader"
        } else {
            "StateFollower"
        },
        start_time: rfc3339(server.started),
        leader_info: LeaderInfo {
            leader: leader.map(|id| format!("{id:x}")).unwrap_or_default(),
            uptime: go_duration(server.now().saturating_sub(since)),
            start_time: rfc3339(since),
        },
        recv_append_request_cnt: counters.appends_received,
        send_append_request_cnt: counters.appends_sent,
    };
    json(reply, &own);
}

pub fn store(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "GET") {
        return;
    }
    let stats = server.member.state.store.lock().unwrap().stats();
    reply
        .start(200)
        .header("Content-Type", JSON)
        .body(stats.to_json().as_bytes());
}

pub fn leader(server: &Server, request: &Request<'_>, reply: &mut Reply<'_>) {
    if !allow(request, reply, "GET") {
        return;
    }
    if !server.member.is_leader() {
        let body = serde_json::json!({ "message": "not current leader" }).to_string();
        reply.start(403).header("Content-Type", JSON).body(body.as_bytes());
        return;
    }
    #[derive(Serialize)]
    struct Latency {
        current: f64,
        average: f64,
        #[serde(rename = "standardDeviation")]
        standard_deviation: f64,
        minimum: f64,
        maximum: f64,
    }
    #[derive(Serialize)]
    struct Counts {
        fail: u64,
        success: u64,
    }
    #[derive(Serialize)]
    struct Follower {
        latency: Latency,
        counts: Counts,
    }
    #[derive(Serialize)]
    struct Leader {
        leader: String,
        followers: std::collections::BTreeMap<String, Follower>,
    }
    let followers = server.member.state.traffic.lock().unwrap().followers.clone();
    let followers = followers.into_iter().map(|(id, seen)| {
        let latency = Latency {
            current: seen.current,
            average: seen.average(),
            standard_deviation: seen.deviation(),
            minimum: seen.minimum,
            maximum: seen.maximum,
        };
        (
            format!("{id:x}"),
            Follower {
                latency,
                counts: Counts {
                    fail: seen.failed,
                    success: seen.succeeded,
                },
            },
        )
    });
    json(
        reply,
        &Leader {
            leader: format!("{:x}", server.member.id),
            followers: followers.collect(),
        },
    );
}

fn json(reply: &mut Reply<'_>, body: &impl Serialize) {
    let body = serde_json::to_vec(body).unwrap_or_default();
    reply.start(200).header("Content-Type", JSON).body(&body);
}

fn rfc3339(time: Time) -> String {
    let mut out = Vec::new();
    write_rfc3339(&mut out, time);
    String::from_utf8_lossy(&out).into_owned()
}

/// As Go prints a duration.
fn go_duration(nanos: u64) -> String {
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = format!("{rest:09}");
    let fraction = fraction.trim_end_matches('0');
    let seconds = if fraction.is_empty() {
        format!("{seconds}s")
    } else {
        format!("{seconds}.{fraction}s")
    };
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, _) => format!("{minutes}m{seconds}"),
        _ => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn durations_read_as_go_prints_them() {
        assert_eq!(go_duration(1_500_000_000), "1.5s");
        assert_eq!(go_duration(3_723_000_000_001), "1h2m3.000000001s");
        assert_eq!(go_duration(60_000_000_000), "1m0s");
    }
}
