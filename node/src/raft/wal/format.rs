//! The bytes of the log on disk.
//!
//! A segment `%016x-%016x.wal` (its number, the index of its first entry) is a run of frames, each on a
//! 16-byte boundary; unwritten space is zero. A frame is what one write and one sync put on disk, so a crash
//! can only hurt the last one, and it is acknowledged as a whole or not at all:
//!
//! ```text
//! frame    len u32 | number u32 | crc32(payload) u32 | crc32(the 12 bytes before) u32 | payload | zeros to 16
//! payload  record*                       numbers count up from 0 within a segment
//! record   kind u8 | body                all integers little-endian
//!   1 head       version u8 = 1 | member u64 | cluster u64 | previous entry | vote | committed   (first record of frame 0)
//!   2 entry      index u64 | term u64 | len u32 | payload: tag u8 (0 blank, 1 batch, 2 membership) | bytes
//!   3 vote       term u64 | member u64 | committed u8
//!   4 truncate   index u64               entries after it are gone
//!   5 purge      index u64 | term u64    entries up to it are in a snapshot
//!   6 committed  index u64 | term u64
//!   7 end                                the last byte of every payload
//! an optional entry id is: index u64 | term u64, both u64::MAX when there is none; so is a vote
//! ```
use bytes::{Buf, BufMut, Bytes};
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;

use crate::raft::types::{Batch, Entry, LeaderId, LogId, Vote, log_id, term_of};

pub const FRAME_HEADER: usize = 16;
const VERSION: u8 = 1;
/// Closes every payload, so that no part of a sector that was written is all zero.
const END: u8 = 7;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub member_id: u64,
    pub cluster_id: u64,
}

/// What a segment must know of the ones before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    pub meta: Meta,
    pub previous: Option<LogId>,
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
}

#[derive(Debug, PartialEq)]
pub enum Record {
    Head(Head),
    /// The entry, and where its payload starts and ends within the frame's payload.
    Entry(Entry, usize, usize),
    Vote(Vote),
    Truncate(u64),
    Purge(LogId),
    Committed(LogId),
}

pub fn put_head(out: &mut Vec<u8>, head: &Head) {
    out.put_u8(1);
    out.put_u8(VERSION);
    out.put_u64_le(head.meta.member_id);
    out.put_u64_le(head.meta.cluster_id);
    put_id(out, head.previous.as_ref());
    match &head.vote {
        Some(vote) => put_vote_body(out, vote),
        None => {
            out.put_u64_le(u64::MAX);
            out.put_u64_le(u64::MAX);
            out.put_u8(0);
        }
    }
    put_id(out, head.committed.as_ref());
}

/// Returns where the payload lies in `out`.
pub fn put_entry(out: &mut Vec<u8>, entry: &Entry) -> (usize, usize) {
    out.put_u8(2);
    out.put_u64_le(entry.log_id.index);
    out.put_u64_le(term_of(&entry.log_id));
    let len_at = out.len();
    out.put_u32_le(0);
    let start = out.len();
    put_payload(out, entry);
    let len = out.len() - start;
    out[len_at..len_at + 4].copy_from_slice(&(len as u32).to_le_bytes());
    (start, len)
}

fn put_payload(out: &mut Vec<u8>, entry: &Entry) {
    match &entry.payload {
        EntryPayload::Blank => out.put_u8(0),
        EntryPayload::Normal(batch) => {
            out.put_u8(1);
            out.extend_from_slice(&batch.0);
        }
        EntryPayload::Membership(membership) => {
            out.put_u8(2);
            let encoded = postcard::to_stdvec(membership).expect("a membership can be encoded");
            out.extend_from_slice(&encoded);
        }
    }
}

/// The entry whose payload these bytes are.
pub fn parse_payload(id: LogId, mut bytes: Bytes) -> Option<Entry> {
    if bytes.is_empty() {
        return None;
    }
    let payload = match bytes.get_u8() {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Normal(Batch(bytes)),
        2 => EntryPayload::Membership(postcard::from_bytes(&bytes).ok()?),
        _ => return None,
    };
    Some(Entry { log_id: id, payload })
}

pub fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.put_u8(3);
    put_vote_body(out, vote);
}

pub fn put_truncate(out: &mut Vec<u8>, after: u64) {
    out.put_u8(4);
    out.put_u64_le(after);
}

pub fn put_purge(out: &mut Vec<u8>, upto: &LogId) {
    out.put_u8(5);
    put_id(out, Some(upto));
}

pub fn put_committed(out: &mut Vec<u8>, id: &LogId) {
    out.put_u8(6);
    put_id(out, Some(id));
}

fn put_vote_body(out: &mut Vec<u8>, vote: &Vote) {
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for);
    out.put_u8(vote.committed as u8);
}

fn put_id(out: &mut Vec<u8>, id: Option<&LogId>) {
    match id {
        Some(id) => {
            out.put_u64_le(id.index);
            out.put_u64_le(term_of(id));
        }
        None => {
            out.put_u64_le(u64::MAX);
            out.put_u64_le(u64::MAX);
        }
    }
}

/// Starts a frame in an empty buffer: the header is filled in by `end_frame`.
pub fn begin_frame(out: &mut Vec<u8>) {
    out.clear();
    out.resize(FRAME_HEADER, 0);
}

pub fn end_frame(out: &mut Vec<u8>, number: u32) {
    out.push(END);
    let len = (out.len() - FRAME_HEADER) as u32;
    let crc = crc32fast::hash(&out[FRAME_HEADER..]);
    out[0..4].copy_from_slice(&len.to_le_bytes());
    out[4..8].copy_from_slice(&number.to_le_bytes());
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    let header_crc = crc32fast::hash(&out[0..12]);
    out[12..16].copy_from_slice(&header_crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(FRAME_HEADER), 0);
}

#[derive(Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub len: usize,
    pub number: u32,
    pub crc: u32,
}

impl FrameHeader {
    /// None when the header is damaged.
    pub fn parse(bytes: &[u8; FRAME_HEADER]) -> Option<FrameHeader> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if crc32fast::hash(&bytes[0..12]) != word(12) {
            return None;
        }
        Some(FrameHeader {
            len: word(0) as usize,
            number: word(4),
            crc: word(8),
        })
    }
}

/// The records of a frame's payload; None where the bytes make no sense.
pub fn parse_records(payload: &Bytes) -> Option<Vec<Record>> {
    let mut rest = payload.clone();
    let mut records = Vec::new();
    while rest.has_remaining() {
        let record = match rest.get_u8() {
            1 => {
                need(&rest, 1 + 16 + 16 + 17 + 16)?;
                if rest.get_u8() != VERSION {
                    return None;
                }
                let meta = Meta {
                    member_id: rest.get_u64_le(),
                    cluster_id: rest.get_u64_le(),
                };
                let previous = get_id(&mut rest);
                let vote = get_vote(&mut rest);
                Record::Head(Head {
                    meta,
                    previous,
                    vote,
                    committed: get_id(&mut rest),
                })
            }
            2 => {
                need(&rest, 20)?;
                let (index, term) = (rest.get_u64_le(), rest.get_u64_le());
                let len = rest.get_u32_le() as usize;
                need(&rest, len)?;
                let start = payload.len() - rest.len();
                let entry = parse_payload(log_id(term, index), rest.split_to(len))?;
                Record::Entry(entry, start, len)
            }
            3 => {
                need(&rest, 17)?;
                Record::Vote(get_vote(&mut rest)?)
            }
            4 => {
                need(&rest, 8)?;
                Record::Truncate(rest.get_u64_le())
            }
            5 => {
                need(&rest, 16)?;
                Record::Purge(get_id(&mut rest)?)
            }
            6 => {
                need(&rest, 16)?;
                Record::Committed(get_id(&mut rest)?)
            }
            END => continue,
            _ => return None,
        };
        records.push(record);
    }
    Some(records)
}

fn need(rest: &Bytes, len: usize) -> Option<()> {
    (rest.len() >= len).then_some(())
}

fn get_id(rest: &mut Bytes) -> Option<LogId> {
    let (index, term) = (rest.get_u64_le(), rest.get_u64_le());
    (index != u64::MAX).then(|| log_id(term, index))
}

fn get_vote(rest: &mut Bytes) -> Option<Vote> {
    let (term, voted_for) = (rest.get_u64_le(), rest.get_u64_le());
    let committed = rest.get_u8() != 0;
    (term != u64::MAX).then(|| Vote {
        leader_id: LeaderId::new(term, voted_for),
        committed,
    })
}

pub fn segment_name(number: u64, first: u64) -> String {
    format!("{number:016x}-{first:016x}.wal")
}

pub fn parse_segment_name(name: &str) -> Option<(u64, u64)> {
    let (number, first) = name.strip_suffix(".wal")?.split_once('-')?;
    if number.len() != 16 || first.len() != 16 {
        return None;
    }
    Some((
        u64::from_str_radix(number, 16).ok()?,
        u64::from_str_radix(first, 16).ok()?,
    ))
}
