//! Changes of the membership: made by the leader, one at a time, never at the price of the quorum.
//!
//! A new member is a learner at first: it is sent the log, and counts for nothing. Once it has caught up the leader
//! makes it a voter. So adding a member that never starts, or cannot, costs nothing and can be taken back.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, Instant};
use serde::{Deserialize, Serialize};

use super::member::Member;
use super::rpc::{self, Class};
use super::types::{Peer, TypeConfig};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Change {
    Add(u64, Peer),
    Promote(u64),
    Update(u64, Peer),
    /// `force`: also where too few of the members that stay have been heard of.
    Remove {
        id: u64,
        force: bool,
    },
}

/// What the leader says to a change.
#[derive(Debug, Serialize, Deserialize)]
pub enum Changed {
    /// It is in the log at this index, and committed.
    Done(u64),
    Refused(Refused),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    #[error("peerURL exists")]
    PeerUrlExists,
    #[error(
        "of the {stay} members that would stay, {heard} can be reached and {quorum} are needed: start the others or remove those that are gone first, or force it"
    )]
    NoQuorum { stay: usize, heard: usize, quorum: usize },
    #[error("it is the only member that takes part in decisions: wait until another one has caught up")]
    LastVoter,
}

#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("{0}")]
    Refused(Refused),
    #[error("no leader made the change in time")]
    Timeout,
}

impl Member {
    /// Changes the membership and waits until the change is applied here.
    pub async fn change(&self, change: Change) -> Result<(), ChangeError> {
        let in_time = async {
            loop {
                let answer = match self.leader() {
                    Some(leader) if leader == self.id => make(self, change.clone()).await.map_err(io::Error::other),
                    Some(leader) => self
                        .call(leader, Class::Client, rpc::message(rpc::CHANGE, &change))
                        .await
                        .and_then(|bytes| rpc::parse_answer::<Changed>(&bytes)),
                    None => Err(io::ErrorKind::NotConnected.into()),
                };
                match answer {
                    Ok(Changed::Done(index)) => {
                        self.state.wait_applied(index).await;
                        return Ok(());
                    }
                    Ok(Changed::Refused(why)) => return Err(ChangeError::Refused(why)),
                    Err(_) => self.look_again().await,
                }
            }
        };
        let result = tokio::time::timeout(self.request_timeout(), in_time).await;
        result.unwrap_or(Err(ChangeError::Timeout))
    }

    /// How many of these answer this leader from now on: at least `enough` of them, or those that do within an
    /// election's time. Itself is one that does.
    async fn hear(&self, members: &[u64], enough: usize) -> usize {
        let began = tokio::time::Instant::now();
        let mut metrics = self.raft.metrics();
        let count = |metrics: &openraft::RaftMetrics<TypeConfig>| {
            let since = |id: &u64| {
                let last = metrics.heartbeat.as_ref()?.get(id).copied().flatten()?;
                Some(last.elapsed() < began.elapsed())
            };
            let hears = |id: &&u64| **id == self.id || since(id).unwrap_or(false);
            members.iter().filter(hears).count()
        };
        let heard = async { while count(&metrics.borrow_watched()) < enough && metrics.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(self.options.election, heard).await;
        count(&self.raft.metrics().borrow_watched())
    }
}

/// The leader's part.
pub(super) async fn make(member: &Member, change: Change) -> Result<Changed, String> {
    let membership = member.membership();
    let membership = membership.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let taken = |own: u64, peer: &Peer| {
        let mut others = membership.nodes().filter(|(id, _)| **id != own);
        others.any(|(_, other)| other.peer_urls.iter().any(|url| peer.peer_urls.contains(url)))
    };
    let refused = match &change {
        Change::Add(id, peer) | Change::Update(id, peer) if taken(*id, peer) => Some(Refused::PeerUrlExists),
        Change::Remove { id, force } if voters.contains(id) => {
            let staying: Vec<u64> = voters.iter().copied().filter(|voter| voter != id).collect();
            let (stay, quorum) = (staying.len(), staying.len() / 2 + 1);
            match stay {
                0 => Some(Refused::LastVoter),
                _ if *force => None,
                // Asked now: a change that only a dead member could confirm would stop the cluster.
                _ => {
                    let heard = member.hear(&staying, quorum).await;
                    (heard < quorum).then_some(Refused::NoQuorum { stay, heard, quorum })
                }
            }
        }
        Change::Promote(id) if member.hear(&[*id], 1).await == 0 => return Err("it does not answer".into()),
        _ => None,
    };
    if let Some(why) = refused {
        return Ok(Changed::Refused(why));
    }
    // openraft's leader may remove itself, and leads until that is committed, but may change nothing more.
    if !voters.contains(&member.id) {
        return Err("this leader is on its way out".into());
    }
    // A change that an earlier leader left half done may have this one on its way out: then that comes first.
    let stays = membership
        .get_joint_config()
        .last()
        .is_none_or(|last| last.contains(&member.id));
    if !stays {
        let own = ChangeMembers::RemoveVoters([member.id].into());
        let completed = member.raft.change_membership(own, false).await;
        return Err(completed
            .err()
            .map_or_else(|| "this leader is on its way out".into(), |error| error.to_string()));
    }
    let response = match change {
        Change::Add(id, peer) => member.raft.add_learner(id, peer, false).await,
        Change::Promote(id) => {
            let voters = ChangeMembers::AddVoterIds([id].into());
            member.raft.change_membership(voters, true).await
        }
        Change::Update(id, peer) => {
            let nodes = ChangeMembers::SetNodes([(id, peer)].into());
            member.raft.change_membership(nodes, true).await
        }
        Change::Remove { id, .. } => {
            let ids = [id].into();
            let change = match voters.contains(&id) {
                true => ChangeMembers::RemoveVoters(ids),
                false => ChangeMembers::RemoveNodes(ids),
            };
            member.raft.change_membership(change, false).await
        }
    };
    match response {
        Ok(response) => Ok(Changed::Done(response.log_id.index)),
        Err(error) => Err(error.to_string()),
    }
}

/// A new member takes part in decisions once it has what the others have.
pub(super) async fn promote_learners(member: Arc<Member>) {
    /// Entries a learner may lag and still count as caught up.
    const CLOSE: u64 = 64;
    const LOOK_AGAIN: Duration = Duration::from_millis(100);
    let mut news = member.raft.server_metrics();
    loop {
        let learners: Vec<u64> = news
            .borrow_watched()
            .membership_config
            .membership()
            .learner_ids()
            .collect();
        if learners.is_empty() || !member.is_leader() {
            if news.changed().await.is_err() {
                return;
            }
            continue;
        }
        let ready = {
            let now = member.raft.metrics();
            let now = now.borrow_watched();
            let last = now.last_log_index.unwrap_or(0);
            let matched = |id: &u64| now.replication.as_ref().and_then(|all| all.get(id).copied().flatten());
            learners
                .into_iter()
                .find(|id| matched(id).is_some_and(|id| id.index + CLOSE >= last))
        };
        if let Some(id) = ready
            && let Ok(Changed::Done(_)) = make(&member, Change::Promote(id)).await
        {
            crate::log::info!("etcdserver", "member {id:x} has caught up and takes part in decisions");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
