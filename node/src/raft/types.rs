//! The types that openraft is given, and short names for the ones it gives.
use bytes::Bytes;
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    pub TypeConfig:
        D = Batch,
        R = (),
        NodeId = u64,
        Node = Peer,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

/// A member as the others reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub peer_urls: Vec<String>,
}

/// Client writes that travel as one log entry, encoded once where they were received (see `batch.rs`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch(pub Bytes);

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

impl std::fmt::Display for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type Membership = openraft::Membership<u64, Peer>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub type Snapshot = openraft::alias::SnapshotOf<TypeConfig, super::snapshot::SnapshotFile>;
pub type Raft = openraft::Raft<TypeConfig, super::machine::Machine>;

pub type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;
pub type IoFlushed = openraft::storage::IOFlushed<TypeConfig>;

pub fn log_id(term: u64, index: u64) -> LogId {
    use openraft::vote::RaftLeaderId;
    LogId {
        leader_id: LeaderId::new(term, 0).to_committed(),
        index,
    }
}

pub fn term_of(id: &LogId) -> u64 {
    id.leader_id.term
}

/// The vote of a member whose log ends like this. Without one it would stand for election in an earlier term.
pub fn vote_after(last: LogId, member: u64) -> Vote {
    use openraft::vote::RaftLeaderId;
    Vote {
        leader_id: LeaderId::new(term_of(&last), member),
        committed: false,
    }
}
