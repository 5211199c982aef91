//! Asking for a passphrase: the question on stderr, the answer not shown on a terminal.
use std::io::{self, IsTerminal};

use crate::{sys, terminal};

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
    let secret = terminal::read_secret().map_err(|error| format!("cannot read the passphrase: {error}"))?;
    if secret.hidden {
        sys::print("", "\n");
    }
    Ok(secret.line)
}
