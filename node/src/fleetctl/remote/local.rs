//! Commands on the machine that fleetctl runs on.
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use super::failed;
use crate::cloudconfig::go::errno;

/// Are we on this machine of the cluster?
pub fn is_here(machine: &str) -> bool {
    let ours = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    !machine.is_empty() && ours.trim() == machine
}

/// Runs a command with our input and outputs; its exit status, 255 for one that a signal has ended.
pub fn run(words: &[&str]) -> i32 {
    match Command::new(words[0]).args(&words[1..]).status() {
        Ok(status) => status.code().unwrap_or(255),
        Err(error) => {
            let why = match error.kind() {
                ErrorKind::NotFound => "executable file not found in $PATH".to_string(),
                _ => errno(&error),
            };
            failed(
                255,
                &format!("Error running local command: exec: {:?}: {why}", words[0]),
            )
        }
    }
}
