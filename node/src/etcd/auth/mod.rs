//! Authentication: users with passwords, roles with patterns of keys, and the switch that makes them count.
//!
//! Records live in the key space as etcd keeps them: `/2/users/NAME` and `/2/roles/NAME` in JSON, `/2/enabled`. They
//! are read anew for each request: that is a fraction of a microsecond while the switch is off and a few when it is
//! on, and nothing can be out of date. What is kept beside them is which passwords were right (`passwords.rs`).
pub mod access;
pub mod passwords;
pub mod records;
pub mod store;

pub use passwords::Passwords;

/// A refusal: HTTP status and message.
pub type Refusal = (u16, String);
