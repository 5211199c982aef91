//! Consensus and disk: the only part that knows openraft.
//!
//! A client's command goes `propose` (into a batch, to the leader) -> openraft -> `log` and `wal` (onto disk) and
//! `network` (to the others) -> `machine` (applied, its outcome handed to who waits). `member` holds it together.
pub mod backup;
pub mod batch;
pub mod change;
pub mod clock;
pub mod disk;
mod log;
mod machine;
pub mod member;
mod network;
pub mod peer;
mod propose;
mod read;
pub mod rpc;
mod sessions;
pub mod snapshot;
mod traffic;
pub mod types;
pub mod wal;

pub use change::{Change, ChangeError};
pub use machine::{Applied, Outcome, State};
pub use member::{Member, Options};
pub use propose::ProposeError;
pub use traffic::{FollowerStats, Traffic};
