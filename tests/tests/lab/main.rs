//! Labs as people use them: real nodes on this machine, OpenSSH, and nothing left afterwards.
mod apart;
mod certificates;
mod changes;
mod faults;
mod fleet;
mod fleetctl;
mod learn;
mod limits;
mod refusals;
mod rootless;
mod ssh;
mod teardown;
mod user_data;
mod waiting;
mod walk;
mod walk_fleet;
