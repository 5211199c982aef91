//! Snapshot files, damaged at will: read or refused, and what is read is written alike again.
#![no_main]
use labnode::kv::{Snapshot, Store};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(snapshot) = Snapshot::read(&mut &data[..], 1000) else {
        return;
    };
    let mut written = Vec::new();
    snapshot.write(&mut written).unwrap();
    let again = Snapshot::read(&mut written.as_slice(), 1000).unwrap();
    let mut store = Store::new(1000);
    store.restore(again);
    store.expire(u64::MAX >> 1);
    let _ = store.get(b"/1", 0);
});
