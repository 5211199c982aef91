//! Client writes as they travel: many commands in one log entry, with the leader's time and a number that makes
//! a repeated batch harmless.
//!
//! ```text
//! version u8 = 1 | time u64 | session u64 | number u64 | low u64 | count u32 | command*     little-endian
//! ```
//! A command is its postcard form. `time` is filled in by the leader, everything else by the member that a client
//! talked to: `session` is one run of that member, `number` counts its batches, below `low` none is sent again.
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::types::Batch;
use crate::kv::{Command, Time};

const VERSION: u8 = 1;
const TIME_AT: usize = 1;
const LOW_AT: usize = 25;
const COUNT_AT: usize = 33;
const HEADER: usize = 37;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub time: Time,
    pub session: u64,
    pub number: u64,
    pub low: u64,
    pub count: u32,
}

/// A batch being filled.
pub struct Builder {
    bytes: Vec<u8>,
    count: u32,
}

impl Builder {
    pub fn new(session: u64, number: u64) -> Builder {
        let mut bytes = Vec::with_capacity(4096);
        bytes.put_u8(VERSION);
        bytes.put_u64_le(0);
        bytes.put_u64_le(session);
        bytes.put_u64_le(number);
        bytes.put_u64_le(0);
        bytes.put_u32_le(0);
        Builder { bytes, count: 0 }
    }

    pub fn push(&mut self, command: &Command) {
        self.bytes = postcard::to_extend(command, std::mem::take(&mut self.bytes)).expect("a command can be encoded");
        self.count += 1;
    }

    /// Bytes so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn finish(mut self, low: u64) -> Bytes {
        self.bytes[LOW_AT..LOW_AT + 8].copy_from_slice(&low.to_le_bytes());
        self.bytes[COUNT_AT..HEADER].copy_from_slice(&self.count.to_le_bytes());
        Bytes::from(self.bytes)
    }
}

/// The batch with the leader's time in it.
pub fn stamp(bytes: Bytes, time: Time) -> Batch {
    let mut bytes = BytesMut::from(bytes);
    bytes[TIME_AT..TIME_AT + 8].copy_from_slice(&time.to_le_bytes());
    Batch(bytes.freeze())
}

/// None where the bytes are not a batch.
pub fn header(mut bytes: &[u8]) -> Option<Header> {
    if bytes.len() < HEADER || bytes.get_u8() != VERSION {
        return None;
    }
    Some(Header {
        time: bytes.get_u64_le(),
        session: bytes.get_u64_le(),
        number: bytes.get_u64_le(),
        low: bytes.get_u64_le(),
        count: bytes.get_u32_le(),
    })
}

/// The commands of a batch, decoded one by one.
pub fn commands(batch: &Batch) -> Commands<'_> {
    Commands {
        rest: batch.0.get(HEADER..).unwrap_or_default(),
    }
}

pub struct Commands<'a> {
    rest: &'a [u8],
}

impl Iterator for Commands<'_> {
    type Item = Command;

    fn next(&mut self) -> Option<Command> {
        if self.rest.is_empty() {
            return None;
        }
        let (command, rest) = postcard::take_from_bytes(self.rest).ok()?;
        self.rest = rest;
        Some(command)
    }
}
