//! A discovery service's answer, and the members that it names.
#![no_main]
use labnode::etcd::discovery::answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(body) = serde_json::from_slice::<answer::Body>(data) else {
        return;
    };
    let _ = answer::explain(&body);
    let Some(node) = body.node else { return };
    let entries = answer::entries(node);
    if let Ok(members) = answer::members(&entries, "http://discovery/token") {
        assert!(members.len() <= answer::values(&entries).split(',').count());
    }
});
