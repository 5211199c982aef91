//! The etcd 2 key space, pure: values in, values out.
//!
//! A [`Store`] executes [`Command`]s at a time it is told, answers reads with [`View`]s, and hands [`Event`]s to
//! [`Sink`]s. It knows no clock, no disk and no network, so the same commands at the same times give the same
//! store on every member.
//!
//! Entry points: `store.rs` for what each command does, `node.rs` for the tree, `hub.rs` for who is told.
mod children;
mod command;
mod error;
mod event;
mod expiry;
mod history;
mod hub;
mod json;
mod node;
mod path;
mod snapshot;
mod stats;
mod store;
#[cfg(test)]
mod tests;
pub mod time;
mod view;

pub use command::Command;
pub use error::{Code, Error};
pub use event::{Action, Event, NodeExtern};
pub use hub::{Sink, WatchId};
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use store::Store;
pub use view::View;

/// A key: absolute and clean, as `/1/foo/bar`. Bytes, because etcd never asked for UTF-8.
pub type Path = bytes::Bytes;

/// What the tree and the events hold of keys and values: one exact allocation, shared, pinning no request buffer.
pub type Shared = std::sync::Arc<[u8]>;

/// Nanoseconds since the Unix epoch on the cluster's clock.
pub type Time = u64;

/// The namespace of the cluster's own records (members, version).
pub const CLUSTER: &[u8] = b"/0";
/// The namespace of the users' keys.
pub const KEYS: &[u8] = b"/1";
