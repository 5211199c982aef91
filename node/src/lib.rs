//! The parts of a Corelab node.
//!
//! `kv` is pure; `raft` alone knows openraft; `etcd` is the server on top of both;
//! `cloudconfig` is the pure part of coreos-cloudinit; `unit` is what a unit file says, `fleet` puts units on machines;
//! `fleetctl` talks to it, over `ssh` as well; `ca` is etcd-ca; `client` talks to such servers, `tls` reads certificates for either side.
pub mod ca;
pub mod client;
pub mod closest;
pub mod cloudconfig;
#[cfg(feature = "server")]
pub mod cloudinit;
pub mod dns;
#[cfg(feature = "server")]
pub mod etcd;
#[cfg(feature = "server")]
pub mod etcdctl;
pub mod fleet;
#[cfg(feature = "server")]
pub mod fleetctl;
#[cfg(feature = "server")]
pub mod kv;
#[cfg(feature = "server")]
pub mod log;
mod pretend;
#[cfg(feature = "server")]
pub mod raft;
pub mod shell;
#[cfg(feature = "server")]
pub mod ssh;
#[cfg(feature = "server")]
pub mod sys;
#[cfg(feature = "server")]
pub mod systemd;
#[cfg(feature = "server")]
pub mod terminal;
pub mod tls;
pub mod unit;
pub mod wall;
