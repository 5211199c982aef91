//! The parts of a Corelab node.
pub mod kv;
pub mod raft;
pub mod etcd;
