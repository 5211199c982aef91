//! The local provider: nodes in namespaces of this machine, with real systemd in each.
//!
//! `lab` speaks to the lab's supervisor over a socket (`client`); the supervisor holds everything that runs.
pub mod boot;
mod cgroup;
mod checkpoint;
pub mod client;
mod clone;
mod console;
pub mod disk;
pub mod erase;
mod forward;
mod harm;
pub mod health;
mod inside;
mod jobs;
mod leases;
pub mod limits;
mod netns;
mod node;
pub mod probe;
pub mod protocol;
mod rootless;
mod services;
pub mod supervisor;

pub use services::DISCOVERY_PORT;
pub use supervisor::HOST;

/// Removes the control group of a lab whose supervisor is gone.
pub fn leftovers(id: &str) {
    if let Ok(cgroup) = cgroup::Cgroup::of_lab(id) {
        cgroup.drain();
        cgroup.remove();
    }
}
