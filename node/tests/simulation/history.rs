//! What clients saw, and whether one store that was never disturbed could have shown it to them.
//!
//! Every write and every quorum read carries the store's index, which orders them; the order must agree with what
//! each client knew: whoever began after another had his answer sees its effect.
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub enum Kind {
    /// A write of `value` to `key`, answered with its index.
    Write { key: String, value: String },
    /// A quorum read of `key`: the value and the index it was written at, if it was there.
    Read { key: String, found: Option<(String, u64)> },
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub began: u64,
    pub answered: u64,
    /// The store's index: of the write, or when the read was made.
    pub index: u64,
    pub kind: Kind,
}

#[derive(Default)]
pub struct History {
    pub seen: Vec<Seen>,
    /// Every value that any write carried, also those without an answer. Values are unique.
    pub tried: BTreeSet<String>,
}

impl History {
    pub fn check(&self) -> Result<(), String> {
        self.one_write_an_index()?;
        self.no_going_back()?;
        self.reads_see_the_newest_write()
    }

    fn one_write_an_index(&self) -> Result<(), String> {
        let mut by_index: BTreeMap<u64, &Seen> = BTreeMap::new();
        for seen in self.seen.iter().filter(|seen| matches!(seen.kind, Kind::Write { .. })) {
            if let Some(other) = by_index.insert(seen.index, seen) {
                return Err(format!(
                    "two acknowledged writes share an index: {other:?} and {seen:?}"
                ));
            }
        }
        Ok(())
    }

    fn no_going_back(&self) -> Result<(), String> {
        let mut by_answer: Vec<&Seen> = self.seen.iter().collect();
        by_answer.sort_by_key(|seen| seen.answered);
        let mut by_begin = by_answer.clone();
        by_begin.sort_by_key(|seen| seen.began);
        let mut newest: Option<&Seen> = None;
        let mut answered = by_answer.into_iter().peekable();
        for seen in by_begin {
            while let Some(before) = answered.next_if(|before| before.answered < seen.began) {
                if newest.is_none_or(|newest| before.index > newest.index) {
                    newest = Some(before);
                }
            }
            let Some(newest) = newest else { continue };
            let is_write = matches!(seen.kind, Kind::Write { .. });
            if seen.index < newest.index || (is_write && seen.index == newest.index) {
                return Err(format!(
                    "went back in time: {seen:?} began after {newest:?} was answered"
                ));
            }
        }
        Ok(())
    }

    fn reads_see_the_newest_write(&self) -> Result<(), String> {
        let mut writes: BTreeMap<&str, BTreeMap<u64, &str>> = BTreeMap::new();
        for seen in &self.seen {
            if let Kind::Write { key, value } = &seen.kind {
                writes.entry(key).or_default().insert(seen.index, value);
            }
        }
        for seen in &self.seen {
            let Kind::Read { key, found } = &seen.kind else {
                continue;
            };
            let acknowledged = writes.get(key.as_str());
            let newest = acknowledged.and_then(|writes| writes.range(..=seen.index).next_back());
            match (found, newest) {
                (None, Some((index, value))) => return Err(format!("{seen:?} misses {value} written at {index}")),
                (Some((value, _)), _) if !self.tried.contains(value) => {
                    return Err(format!("{seen:?} shows what nobody wrote"));
                }
                (Some((_, at)), Some((index, value))) if at < index => {
                    return Err(format!("{seen:?} shows an older value than {value} written at {index}"));
                }
                (Some((value, at)), Some((index, written))) if at == index && value != written => {
                    return Err(format!(
                        "{seen:?} shows another value than {written} written at {index}"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
