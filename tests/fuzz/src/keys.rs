//! Forms on /v2/keys, applied to a store: it always holds what its snapshot says.
#![no_main]
use labnode::etcd::api::keys;
use labnode::etcd::http::{Body, Request, path};
use labnode::kv::{Snapshot, Store};
use libfuzzer_sys::fuzz_target;

// One request a line: `METHOD /path?query`.
fuzz_target!(|data: &str| {
    let mut store = Store::new(100);
    for (second, line) in data.lines().take(64).enumerate() {
        let Some((method, target)) = line.split_once(' ') else {
            continue;
        };
        let request = Request {
            method,
            target,
            http11: true,
            headers: &[],
            body: Body::Bytes(b""),
        };
        let (Ok(fields), Some(key)) = (keys::parse(&request), path::unescape(target.split('?').next().unwrap())) else {
            continue;
        };
        let mut full = keys::PREFIX.as_bytes().to_vec();
        full.extend_from_slice(&key);
        let now = second as u64 * 1_000_000_000;
        store.expire(now);
        let _ = store.apply(&keys::command(method, path::join(&full), fields), now);
    }
    let bytes = |snapshot: &Snapshot| {
        let mut bytes = Vec::new();
        snapshot.write(&mut bytes).unwrap();
        bytes
    };
    let written = bytes(&store.snapshot());
    let read = Snapshot::read(&mut written.as_slice(), 100).unwrap();
    assert_eq!(bytes(&read), written);
});
