//! An SSH client over russh, as fleetctl needs one: fleet's known hosts, keys of an agent or of files, ssh's configuration.
pub mod agent;
pub mod client;
pub mod config;
mod console;
pub mod known_hosts;
pub mod proxy;
pub mod session;

use std::fmt;

/// Why something cannot be done over SSH, in words that follow "Failed building SSH client: " and its like.
#[derive(Debug)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<russh::Error> for Error {
    fn from(error: russh::Error) -> Error {
        Error(format!("ssh: {error}"))
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        std::io::Error::other(error.0)
    }
}
