//! fleet: units spread over machines.
//!
//! `scheduler` decides, `mirror` is what is known of the cluster, `registry` reads and writes that in etcd, `engine`
//! carries decisions out while it leads, `agent` has systemd (`host`) do a machine's part, `monitor` knows whether
//! the cluster still counts on this machine, `api` answers, `schema` is its JSON, `machine` is all of it on one machine, `config` and `daemon` are fleetd.
#[cfg(feature = "server")]
pub mod agent;
#[cfg(feature = "server")]
pub mod api;
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
pub mod mirror;
#[cfg(feature = "server")]
pub mod monitor;
#[cfg(feature = "server")]
pub mod registry;
#[cfg(feature = "server")]
pub mod scheduler;
pub mod schema;

/// The fleet whose behaviour this is.
pub const VERSION: &str = "0.11.5";
