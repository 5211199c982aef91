//! Unit files that no unit has any more are removed, by the engine that leads.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::registry::Registry;
use crate::log;
use crate::unit::{Hash, UnitFile};

const LOG: &str = "engine";

/// A file goes only if nobody has used or written it for a while. Our own clients write a file again before they make a
/// unit of it, and then its removal is refused; others do not, so a removed file is kept here for as long, and given
/// back to a unit that turns out to need it.
pub struct Collector {
    registry: Arc<Registry>,
    patience: Duration,
    /// Since when a file, last written at this index, has been without a unit.
    unused: HashMap<Hash, (u64, Instant)>,
    removed: HashMap<Hash, (Arc<UnitFile>, Instant)>,
}

impl Collector {
    pub fn new(registry: Arc<Registry>, patience: Duration) -> Collector {
        Collector {
            registry,
            patience,
            unused: HashMap::new(),
            removed: HashMap::new(),
        }
    }

    pub async fn step(&mut self) {
        self.removed.retain(|_, (_, when)| when.elapsed() < self.patience);
        let (due, missed) = {
            let mirror = self.registry.mirror();
            let mut unused = mirror.blobs.clone();
            let mut missed = Vec::new();
            for hash in mirror.jobs.values().filter_map(|job| job.hash) {
                unused.remove(&hash);
                if let Some((file, _)) = self.removed.get(&hash)
                    && !mirror.units.contains_key(&hash)
                {
                    missed.push(file.clone());
                }
            }
            self.unused
                .retain(|hash, (index, _)| unused.get(hash).is_some_and(|now| now == index));
            let now = Instant::now();
            let mut due = Vec::new();
            for (hash, index) in unused {
                let (_, since) = self.unused.entry(hash).or_insert((index, now));
                if since.elapsed() >= self.patience
                    && let Some(file) = mirror.units.get(&hash)
                {
                    due.push((hash, index, file.clone()));
                }
            }
            (due, missed)
        };
        for file in missed {
            if let Err(error) = self.registry.give_back(&file).await {
                log::warning!(LOG, "cannot give back the unit file {}: {error}", file.hash());
            }
        }
        for (hash, index, file) in due {
            // Kept before it is gone: what is removed may be needed at once.
            self.removed.insert(hash, (file, Instant::now()));
            match self.registry.collect(&hash, index).await {
                Ok(_) => drop(self.unused.remove(&hash)),
                Err(error) => log::warning!(LOG, "cannot remove the unused unit file {hash}: {error}"),
            }
        }
    }
}
