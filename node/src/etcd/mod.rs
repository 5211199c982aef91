//! The etcd 2 server.
pub mod config;
pub mod ids;
pub mod log;
pub mod urls;
