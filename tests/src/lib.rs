//! What the end-to-end tests share: real servers in a directory of their own, a small HTTP client, and waiting for
//! things to happen instead of sleeping.
//!
//! A test needs root (it mounts and unshares), and the binary: `cargo build -p labnode`.
pub mod ca;
pub mod cloudinit;
pub mod cluster;
pub mod disk;
pub mod ec2;
pub mod hosts;
pub mod http;
pub mod lab;
pub mod ports;
pub mod process;
pub mod python;
pub mod services;
pub mod sshd;
pub mod terminal;
pub mod tools;
pub mod tree;
pub mod user;
pub mod writers;

use std::time::{Duration, Instant};

/// Far beyond what anything here takes, on a machine that is busy with something else.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Looks again and again until there is something; panics with `what` when it takes too long.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {LIMIT:?} for this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
