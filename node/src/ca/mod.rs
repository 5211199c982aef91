//! etcd-ca: a certificate authority in a directory, for the clusters of people who have none.
//!
//! `authority` makes certificates without a directory and a command line, for `lab`.
#[cfg(feature = "server")]
mod args;
pub mod authority;
pub mod certs;
#[cfg(feature = "server")]
mod commands;
#[cfg(feature = "server")]
mod depot;
pub mod keys;
#[cfg(feature = "server")]
mod prompt;
#[cfg(all(test, feature = "server"))]
mod tests;

#[cfg(feature = "server")]
use crate::sys;
#[cfg(feature = "server")]
use args::Command;

/// Exit status out. Environment variables mean nothing to it.
#[cfg(feature = "server")]
pub fn run(args: &[String], _: &[(String, String)]) -> i32 {
    let args = match args::parse(args) {
        Ok(args) => args,
        Err(text) => {
            sys::print(&args::usage(), &format!("{text}\n"));
            return 1;
        }
    };
    let result = match &args.command {
        Command::Help => {
            sys::print(&args::usage(), "");
            Ok(())
        }
        Command::Version => {
            sys::print(&format!("etcd-ca version {}\n", env!("CARGO_PKG_VERSION")), "");
            Ok(())
        }
        Command::Unknown(word) => {
            sys::print(&format!("No help topic for '{word}'\n"), "");
            Ok(())
        }
        Command::Init => commands::init(&args),
        Command::NewCert => commands::new_cert(&args),
        Command::Sign => commands::sign(&args),
        Command::Chain => commands::chain(&args),
        Command::Export => commands::export(&args),
        Command::Status => commands::status(&args),
    };
    match result {
        Ok(()) => 0,
        Err(text) => {
            sys::print("", &format!("{text}\n"));
            1
        }
    }
}
