//! Clusters of agents and engines with a systemd of their own making, over a real etcd.
//!
//! fleet's own functional scenarios, by their numbers in its checklist, and where they are held here:
mod cluster;
mod life;
mod outage;
mod policy;
mod secured;
