//! A name server's packets.
#![no_main]
use labnode::dns::packet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let query = packet::query(7, "_etcd-server._tcp.example.com").unwrap();
    if packet::answers(data, &query, 7) {
        let _ = packet::parse(data);
    }
    let _ = packet::parse(data);
});
