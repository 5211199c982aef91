//! Which batches have been applied, so that one that was sent twice is applied once.
//!
//! Part of the replicated state: every member decides alike.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::batch::Header;

/// Runs of members that are remembered. A batch is sent again for seconds at most, so the oldest can go.
const KEPT: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions(BTreeMap<u64, Session>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// Every batch below has been applied or given up.
    low: u64,
    applied: BTreeSet<u64>,
    /// The log index of its newest batch.
    last: u64,
}

impl Sessions {
    /// True the first time a batch comes by.
    pub fn admit(&mut self, header: &Header, index: u64) -> bool {
        if !self.0.contains_key(&header.session) && self.0.len() >= KEPT {
            let oldest = self.0.iter().min_by_key(|(_, session)| session.last).map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                self.0.remove(&oldest);
            }
        }
        let session = self.0.entry(header.session).or_default();
        session.last = index;
        if header.low > session.low {
            session.low = header.low;
            session.applied = session.applied.split_off(&header.low);
        }
        header.number >= session.low && session.applied.insert(header.number)
    }
}
