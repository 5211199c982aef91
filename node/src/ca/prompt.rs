//! Asking for a passphrase: the question on stderr, the answer not shown on a terminal.
use std::io::{self, BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::sys;

/// A new passphrase, asked for twice on a terminal; it may be empty.
pub fn new_passphrase() -> Result<String, String> {
    let first = ask("Enter passphrase (empty for no passphrase): ")?;
    if io::stdin().is_terminal() && ask("Enter same passphrase again: ")? != first {
        return Err("Passphrases do not match".into());
    }
    Ok(first)
}

/// The passphrase of a key that there is.
pub fn passphrase(whose: &str) -> Result<String, String> {
    ask(&format!("Enter passphrase of the {whose} key (empty if it has none): "))
}

fn ask(question: &str) -> Result<String, String> {
    sys::print("", question);
    let quiet = Quiet::start();
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    if quiet.is_some() {
        sys::print("", "\n");
    }
    read.map_err(|error| format!("cannot read the passphrase: {error}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_string())
}

/// Turns the terminal's echo off until dropped.
struct Quiet(Termios);

impl Quiet {
    /// None: stdin is no terminal.
    fn start() -> Option<Quiet> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
