//! What rendering into a directory changes there, and what it must not touch (pure).
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Paths and digests of what was rendered there before.
pub type Manifest = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    New,
    Same,
    /// Of what we wrote: lines that come and go.
    Changed {
        added: usize,
        removed: usize,
    },
    /// Rendered before, and no longer.
    Gone,
    /// Made or changed by somebody else since.
    Foreign {
        added: usize,
        removed: usize,
    },
}

pub fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// For each file what becomes of it. `existing` holds what is there of the wanted files and of the manifest's.
pub fn changes(
    wanted: &BTreeMap<String, String>,
    existing: &BTreeMap<String, String>,
    manifest: &Manifest,
) -> BTreeMap<String, Change> {
    let ours = |path: &String, text: &String| manifest.get(path) == Some(&digest(text));
    let mut changes = BTreeMap::new();
    for (path, text) in wanted {
        let change = match existing.get(path) {
            None => Change::New,
            Some(old) if old == text => Change::Same,
            Some(old) => {
                let (added, removed) = difference(old, text);
                match ours(path, old) {
                    true => Change::Changed { added, removed },
                    false => Change::Foreign { added, removed },
                }
            }
        };
        changes.insert(path.clone(), change);
    }
    for (path, old) in existing
        .iter()
        .filter(|(path, _)| !wanted.contains_key(*path) && manifest.contains_key(*path))
    {
        let change = match ours(path, old) {
            true => Change::Gone,
            false => Change::Foreign {
                added: 0,
                removed: old.lines().count(),
            },
        };
        changes.insert(path.clone(), change);
    }
    changes
}

/// Lines that only one of the texts has.
fn difference(old: &str, new: &str) -> (usize, usize) {
    let mut count: BTreeMap<&str, isize> = BTreeMap::new();
    for line in new.lines() {
        *count.entry(line).or_default() += 1;
    }
    for line in old.lines() {
        *count.entry(line).or_default() -= 1;
    }
    let sum = |sign: isize| count.values().map(|n| (n * sign).max(0).unsigned_abs()).sum();
    (sum(1), sum(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files
            .iter()
            .map(|(path, text)| (path.to_string(), text.to_string()))
            .collect()
    }

    #[test]
    fn what_we_wrote_may_change_and_what_others_wrote_may_not() {
        let wanted = files(&[("a", "1\n2\n"), ("b", "x"), ("c", "x"), ("d", "new")]);
        let existing = files(&[
            ("a", "1\n3\n4\n"),
            ("b", "x"),
            ("c", "mine"),
            ("e", "old"),
            ("f", "edited"),
            ("g", "foreign"),
        ]);
        let manifest = [("a", "1\n3\n4\n"), ("c", "x"), ("e", "old"), ("f", "f")];
        let manifest = manifest.map(|(path, text)| (path.to_string(), digest(text))).into();
        let expected = [
            ("a", Change::Changed { added: 1, removed: 2 }),
            ("b", Change::Same),
            ("c", Change::Foreign { added: 1, removed: 1 }),
            ("d", Change::New),
            ("e", Change::Gone),
            ("f", Change::Foreign { added: 0, removed: 1 }),
        ];
        let expected = expected.map(|(path, change)| (path.to_string(), change)).into();
        assert_eq!(changes(&wanted, &existing, &manifest), expected);
    }
}
