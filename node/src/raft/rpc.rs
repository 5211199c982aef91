//! What members say to each other: one request, one answer.
//!
//! ```text
//! request   kind u8 | body        answer   status u8 (0 ok, 1 error) | body
//!   1 append       time u64 | len u32 | postcard(vote, previous, commit) | entries as in wal/format.rs     answer: postcard
//!   2 vote  3 pre-vote  5 transfer                                                             postcard in, postcard out
//!   4 snapshot     postcard(SnapshotPart)                                                      answer: postcard
//!   6 forward      a batch (batch.rs)                                                          answer: postcard(Forwarded)
//!   7 read index   nothing                                                                     answer: postcard(ReadIndex)
//!   8 change       postcard(change::Change)                                                    answer: postcard(change::Changed)
//! ```
//! The connection's greeting (`peer.rs`) carries the version.
use std::future::Future;
use std::io;
use std::pin::Pin;

use bytes::{Buf, BufMut, Bytes};
use openraft::raft::AppendEntriesRequest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::types::{LogId, Peer, SnapshotMeta, TypeConfig, Vote};
use super::wal::format::{self, Record};
use crate::kv::Time;

pub const APPEND: u8 = 1;
pub const VOTE: u8 = 2;
pub const PRE_VOTE: u8 = 3;
pub const SNAPSHOT: u8 = 4;
pub const TRANSFER: u8 = 5;
pub const FORWARD: u8 = 6;
pub const READ_INDEX: u8 = 7;
pub const CHANGE: u8 = 8;

/// Requests of one class share a connection: a long snapshot never delays a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    Append,
    Heartbeat,
    Snapshot,
    Client,
}

/// Carries a request to a member and its answer back.
pub trait Transport: Send + Sync + 'static {
    fn call(
        &self,
        to: u64,
        peer: &Peer,
        class: Class,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send + '_>>;
}

/// A piece of a snapshot file, in order; the last one has it installed.
#[derive(Debug, Serialize, Deserialize)]
pub struct SnapshotPart {
    pub vote: Vote,
    pub meta: SnapshotMeta,
    pub offset: u64,
    #[serde(with = "as_bytes")]
    pub data: Vec<u8>,
    pub last: bool,
}

/// What became of a forwarded batch.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarded {
    Committed,
    NotLeader,
    Full,
}

/// The index that a reader has to wait for, or None: ask the leader.
pub type ReadIndex = Option<u64>;

pub fn message<T: Serialize>(kind: u8, body: &T) -> Bytes {
    Bytes::from(postcard::to_extend(body, vec![kind]).expect("a message can be encoded"))
}

pub fn answer<T: Serialize, E: std::fmt::Display>(result: Result<T, E>) -> Bytes {
    let encoded = match &result {
        Ok(body) => postcard::to_extend(body, vec![0]),
        Err(error) => postcard::to_extend(&error.to_string(), vec![1]),
    };
    Bytes::from(encoded.expect("an answer can be encoded"))
}

pub fn parse_answer<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    match bytes.split_first() {
        Some((0, body)) => postcard::from_bytes(body).map_err(invalid),
        Some((1, body)) => Err(io::Error::other(postcard::from_bytes::<String>(body).map_err(invalid)?)),
        _ => Err(invalid("neither an answer nor an error")),
    }
}

pub fn parse<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    postcard::from_bytes(body).map_err(invalid)
}

pub fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("unreadable message of a member: {error}"),
    )
}

pub fn append(request: &AppendEntriesRequest<TypeConfig>, time: Time) -> Bytes {
    let size: usize = request
        .entries
        .iter()
        .map(|entry| {
            if let openraft::EntryPayload::Normal(batch) = &entry.payload {
                batch.0.len() + 32
            } else {
                128
            }
        })
        .sum();
    let mut out = Vec::with_capacity(128 + size);
    out.put_u8(APPEND);
    out.put_u64_le(time);
    out.put_u32_le(0);
    let start = out.len();
    out = postcard::to_extend(&(request.vote, request.prev_log_id, request.leader_commit), out)
        .expect("a message can be encoded");
    let len = (out.len() - start) as u32;
    out[start - 4..start].copy_from_slice(&len.to_le_bytes());
    for entry in &request.entries {
        format::put_entry(&mut out, entry);
    }
    Bytes::from(out)
}

pub fn parse_append(mut body: Bytes) -> io::Result<(Time, AppendEntriesRequest<TypeConfig>)> {
    if body.len() < 12 {
        return Err(invalid("too short"));
    }
    let time = body.get_u64_le();
    let len = body.get_u32_le() as usize;
    if body.len() < len {
        return Err(invalid("too short"));
    }
    let (vote, prev_log_id, leader_commit): (Vote, Option<LogId>, Option<LogId>) = parse(&body.split_to(len))?;
    let mut entries = Vec::new();
    for record in format::parse_records(&body).ok_or_else(|| invalid("damaged entries"))? {
        match record {
            Record::Entry(entry, ..) => entries.push(entry),
            _ => return Err(invalid("not an entry")),
        }
    }
    Ok((
        time,
        AppendEntriesRequest {
            vote,
            prev_log_id,
            entries,
            leader_commit,
        },
    ))
}

mod as_bytes {
    use serde::{Deserializer, Serializer, de::Visitor};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Owned;
        impl Visitor<'_> for Owned {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Owned)
    }
}
