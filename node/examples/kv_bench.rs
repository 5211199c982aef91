//! Measures the key space: `cargo run --release --example kv_bench [keys [keys per directory]]`. Prints time per
//! operation, and the memory of that many keys with values of 256 bytes.
#![allow(clippy::print_stdout)]
use std::{hint::black_box, sync::Arc, time::Instant};

use labnode::kv::{Command, Event, Path, Sink, Snapshot, Store};

const NOW: u64 = 1_451_747_045_000_000_000;

fn main() -> anyhow::Result<()> {
    let keys: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |count| count.parse())?;
    let per_directory: usize = std::env::args().nth(2).map_or(Ok(keys), |count| count.parse())?;
    let value = Path::from(vec![b'v'; 256]);

    let mut store = Store::new(1000);
    let small: Vec<Command> = (0..1000).map(|n| set(format!("/1/bench/key{n:04}"), &value)).collect();
    per("set, 1000 keys in one directory", keys, |n| {
        drop(black_box(store.apply(&small[n % 1000], NOW)))
    });
    per("get, 1000 keys", keys, |n| {
        drop(black_box(store.get(small[n % 1000].path(), NOW)))
    });
    let mut out = Vec::new();
    per("list the 1000 keys", 1000, |_| {
        out.clear();
        if let Ok(view) = store.get(b"/1/bench", NOW) {
            view.write_get(&mut out, 2, true, true, NOW);
        }
    });

    struct Count(Arc<std::sync::atomic::AtomicU64>);
    impl Sink for Count {
        fn send(&mut self, _: &Arc<Event>) -> bool {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            true
        }
    }
    let count = Arc::default();
    for _ in 0..1000 {
        store.watch(b"/1/bench/key0000", false, true, 0, Box::new(Count(Arc::clone(&count))))?;
    }
    per("set of a key with 1000 watchers", 1000, |_| {
        drop(black_box(store.apply(&small[0], NOW)))
    });
    per("set of another key meanwhile", keys, |_| {
        drop(black_box(store.apply(&small[1], NOW)))
    });
    drop(store);
    drop(small);

    many(keys, per_directory, &value)
}

fn many(keys: usize, per_directory: usize, value: &Path) -> anyhow::Result<()> {
    let before = rss()?;
    let mut store = Store::new(1000);
    // Spread over the key space, so that no leaf of the tree is filled in order.
    let path = |n: usize| {
        let n = n.wrapping_mul(7_368_787) % keys;
        format!("/1/d{:05}/key{:07}", n / per_directory, n % per_directory)
    };
    per(
        &format!("set, {keys} new keys, {per_directory} in a directory"),
        keys,
        |n| {
            drop(black_box(store.apply(&set(path(n), value), NOW)));
        },
    );
    println!("{:>10} MB  for all of them", (rss()? - before) / 1_000_000);
    per("get one of them", keys, |n| {
        drop(black_box(store.get(path(n).as_bytes(), NOW)))
    });
    let snapshot = store.snapshot();
    per("set one of them while a snapshot is held", keys / 10, |n| {
        drop(black_box(store.apply(&set(path(n), value), NOW)));
    });
    let mut bytes = Vec::new();
    per("write the snapshot", 1, |_| drop(black_box(snapshot.write(&mut bytes))));
    per("read it back", 1, |_| {
        drop(black_box(Snapshot::read(&mut &bytes[..], 1000)))
    });
    drop((snapshot, bytes));
    per("drop the store", 1, |_| {
        store = Store::new(1);
    });
    Ok(())
}

fn set(path: String, value: &Path) -> Command {
    Command::Set {
        path: path.into(),
        dir: false,
        value: value.clone(),
        ttl: None,
        refresh: false,
    }
}

fn per(what: &str, count: usize, mut run: impl FnMut(usize)) {
    let start = Instant::now();
    (0..count).for_each(&mut run);
    println!("{:>10.0} ns  {what}", start.elapsed().as_nanos() as f64 / count as f64);
}

/// The process's resident memory in bytes, as Linux counts it.
fn rss() -> anyhow::Result<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * rustix::param::page_size())
}
