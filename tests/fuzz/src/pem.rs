//! Keys, requests and certificates as text.
#![no_main]
use std::sync::OnceLock;

use labnode::ca::{certs, keys::Key};
use labnode::tls::names::Names;
use libfuzzer_sys::fuzz_target;

fn key() -> rcgen::KeyPair {
    static PEM: OnceLock<String> = OnceLock::new();
    let pem = PEM.get_or_init(|| rcgen::KeyPair::generate().unwrap().serialize_pem());
    rcgen::KeyPair::from_pem(pem).unwrap()
}

fuzz_target!(|data: &[u8]| {
    let _ = Names::of(data);
    let _ = Names::of(data).map(|names| {
        (
            names.covers("127.0.0.1"),
            names.covers("a.example.com"),
            names.to_string(),
        )
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Key::from_encrypted_pem(text, "secret");
    let _ = certs::sign(text, text, key(), 2, 10);
});
