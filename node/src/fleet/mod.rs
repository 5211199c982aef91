//! fleet: units spread over machines.
//!
//! `scheduler` decides, `mirror` is what is known of the cluster, `registry` reads and writes that in etcd, `engine`
//! carries decisions out while it leads, `agent` has systemd (`host`) do a machine's part, `monitor` knows whether
//! the cluster still counts on this machine, `promise` lets it go on where nobody has etcd, `peer` is how machines reach
//! each other, `tail` what systemd says of a unit, `api` answers, `schema` is its JSON, `collect` removes unit files
//! that nobody needs, `machine` is all of it on one machine, `config` and `daemon` are fleetd.
#[cfg(feature = "server")]
pub mod agent;
#[cfg(feature = "server")]
pub mod api;
#[cfg(feature = "server")]
mod collect;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod daemon;
#[cfg(feature = "server")]
mod discovery;
#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "server")]
pub mod host;
#[cfg(feature = "server")]
pub mod machine;
#[cfg(feature = "server")]
mod metrics;
#[cfg(feature = "server")]
pub mod mirror;
#[cfg(feature = "server")]
pub mod monitor;
#[cfg(feature = "server")]
pub mod peer;
#[cfg(feature = "server")]
pub mod promise;
#[cfg(feature = "server")]
pub mod registry;
#[cfg(feature = "server")]
pub mod scheduler;
pub mod schema;
#[cfg(feature = "server")]
pub mod tail;

/// The fleet whose behaviour this is.
pub const VERSION: &str = "0.11.5";
