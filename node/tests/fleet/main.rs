//! Clusters of agents and engines with a systemd of their own making, over a real etcd.
//!
//! fleet's own functional scenarios, by their numbers in its checklist, and what holds them on the server's side.
//! `lab` is tests/tests/lab/fleet.rs, on real nodes; `scheduler` and `api` are the unit tests of these modules.
//!
//! | scenario | held by |
//! |---|---|
//! | 3 a unit of a machine that goes down runs elsewhere | `lab`, `outage` |
//! | 4 a machine comes back and takes nothing back | `lab`, `life` |
//! | 5 etcd lost on a single node changes nothing | `lab` |
//! | 7 [Install] is done | `lab` |
//! | 8-12 machines, page tokens, PATCH | `requests`, `schema` |
//! | 13 instances by `MachineMetadata=...%i` | `scenarios` |
//! | 14 orderly leave | `life`, `lab` |
//! | 15 duplicate machine id | `life` |
//! | 16 MachineOf pairs, and where they go | `scenarios`, `scheduler` |
//! | 17-19 conflicts | `scenarios`, `scheduler` |
//! | 20, 21 Replaces, in a circle too | `scenarios`, `scheduler` |
//! | 22 MachineID | `scenarios`, `scheduler` |
//! | 23, 24 Global, late joiners, conflicting ones | `scenarios` |
//! | 25-27 SIGHUP, SIGTERM, SIGTERM without etcd | `lab` |
//! | 28, 30 load, start, state, stop, unload in systemd | `lab` |
//! | 31-33 come, go and come again | `scenarios` |
mod cluster;
mod fleetctl;
mod life;
mod outage;
mod policy;
mod replay;
mod requests;
mod scenarios;
mod secured;
