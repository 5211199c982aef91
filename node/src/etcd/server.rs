//! The running server: what the handlers share, and what goes on beside them.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::api::metrics::Metrics;
use super::auth::Passwords;
use super::cluster::{self, Attributes};
use super::config::Config;
use crate::kv::Time;
use crate::raft::Member;

/// What a cluster of these members speaks, as etcd 2.3 says it.
const CLUSTER_VERSION: &str = "2.3.0";

/// How long to leave it when publishing failed: without room on the disk it fails at once.
const PUBLISH_AGAIN: Duration = Duration::from_secs(1);

pub struct Server {
    pub config: Config,
    pub member: Arc<Member>,
    pub cluster_id: u64,
    pub cluster_hex: String,
    pub metrics: Metrics,
    pub passwords: Passwords,
    /// Held by the one request that may change the membership.
    pub membership_changes: tokio::sync::Mutex<()>,
    /// By the cluster's clock.
    pub started: Time,
    leadership: Mutex<Leadership>,
}

/// Who leads since when, and when the last leader was lost.
#[derive(Clone, Copy)]
struct Leadership {
    leader: Option<u64>,
    since: Time,
    lost: Option<Time>,
}

impl Server {
    pub fn new(config: Config, member: Arc<Member>, cluster_id: u64) -> Server {
        let started = member.state.clock.now();
        Server {
            config,
            member,
            cluster_id,
            cluster_hex: format!("{cluster_id:x}"),
            metrics: Metrics::default(),
            passwords: Passwords::default(),
            membership_changes: tokio::sync::Mutex::default(),
            started,
            leadership: Mutex::new(Leadership {
                leader: None,
                since: started,
                lost: None,
            }),
        }
    }

    pub fn now(&self) -> Time {
        self.member.state.clock.now()
    }

    pub fn cors_allows(&self, origin: &str) -> bool {
        self.config.cors.contains("*") || self.config.cors.contains(origin)
    }

    pub fn leader_since(&self) -> (Option<u64>, Time) {
        let leadership = self.leadership.lock().unwrap();
        (leadership.leader, leadership.since)
    }

    /// What etcd says of a request that found no quorum in time, with its guess at the cause.
    pub fn timeout_text(&self) -> String {
        let leadership = *self.leadership.lock().unwrap();
        let timeout = self.member.request_timeout().as_nanos() as Time;
        let recently =
            |time: Time| self.now().saturating_sub(time) <= timeout + Duration::from_secs(3).as_nanos() as Time;
        match leadership {
            Leadership { lost: Some(lost), .. } if recently(lost) => {
                "etcdserver: request timed out, possibly due to previous leader failure".into()
            }
            Leadership { leader: Some(id), .. } if id == self.member.id && !self.member.reaches_quorum() => {
                "etcdserver: request timed out, possibly due to connection lost".into()
            }
            _ => "etcdserver: request timed out".into(),
        }
    }

    /// Publishes this member's name and client URLs, until it is done.
    pub async fn publish(&self) {
        let client_urls = self
            .config
            .advertise_client_urls
            .iter()
            .map(|url| url.as_str().to_string())
            .collect();
        let attributes = Attributes {
            name: self.config.name.clone(),
            client_urls,
        };
        loop {
            match self.member.propose(cluster::publish(self.member.id, &attributes)).await {
                Ok(outcome) if outcome.result.is_ok() => {
                    let text = serde_json::to_string(&attributes).unwrap_or_default();
                    crate::log::info!("etcdserver", "published {text} to cluster {:x}", self.cluster_id);
                    return;
                }
                Ok(_) => return,
                Err(error) => {
                    crate::log::error!("etcdserver", "publish error: {error:?}, trying again");
                    tokio::time::sleep(PUBLISH_AGAIN).await;
                }
            }
        }
    }

    /// Keeps track of who leads; the leader sees to it that the cluster has a version.
    pub async fn follow_leadership(self: Arc<Self>) {
        let mut news = self.member.news();
        loop {
            let leader = self.member.leader();
            self.note_leader(leader);
            if leader == Some(self.member.id) {
                self.decide_version().await;
            }
            if !news.changed().await {
                return;
            }
        }
    }

    /// Returns when the cluster has removed this member.
    pub async fn removed(&self) {
        let mut news = self.member.news();
        loop {
            let gone = cluster::is_removed(&self.member.state.store.lock().unwrap(), self.member.id);
            if gone || !news.changed().await {
                if gone {
                    return;
                }
                std::future::pending::<()>().await;
            }
        }
    }

    fn note_leader(&self, leader: Option<u64>) {
        let mut leadership = self.leadership.lock().unwrap();
        if leadership.leader == leader {
            return;
        }
        let now = self.member.state.clock.now();
        if let Some(old) = leadership.leader {
            leadership.lost = Some(now);
            crate::log::info!(
                "raft",
                "raft.node: {:x} lost leader {old:x} at term {}",
                self.member.id,
                self.member.term()
            );
        }
        if let Some(new) = leader {
            crate::log::info!(
                "raft",
                "raft.node: {:x} elected leader {new:x} at term {}",
                self.member.id,
                self.member.term()
            );
        }
        leadership.leader = leader;
        leadership.since = now;
    }

    async fn decide_version(&self) {
        let undecided = || cluster::version(&self.member.state.store.lock().unwrap()).is_none();
        if undecided() && self.member.read_index().await.is_ok() && undecided() {
            crate::log::info!("etcdserver", "setting up the initial cluster version to 2.3");
            let _ = self.member.propose(cluster::set_version(CLUSTER_VERSION)).await;
        }
    }
}
