//! The etcd 2 server: its flags, its HTTP APIs, and what starts and stops it.
//!
//! `run` is the whole life of a server. A client's request goes `http` -> `api` -> `raft::Member`, and back.
pub mod api;
pub mod auth;
pub mod bootstrap;
pub mod cluster;
pub mod config;
pub mod discovery;
pub mod discovery_service;
pub mod ec2;
pub mod http;
pub mod ids;
mod join;
pub mod listen;
pub mod peer;
pub mod proxy;
mod remote;
pub mod run;
pub mod security;
pub mod server;
pub mod urls;
