//! What can be typed: clap definitions only.
use clap::{Parser, Subcommand, ValueEnum};

pub use crate::flags::{BoxVerb, Completion, Render, Token, Validate};
use crate::topology::{MAX_CLIENT_PORT, MAX_INSTANCES};

/// A cluster of etcd 2 members on this machine.
#[derive(Debug, Parser)]
#[command(name = "lab", version, after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start what is missing of the lab in ./.lab and wait until it is healthy
    Up(Up),
    /// Tell which members run and who leads
    Status(Status),
    /// Stop the members; their data stays
    Down(Down),
    /// Write a Vagrantfile, config.rb and user data that work with plain vagrant
    Render(Render),
    /// Write a lab.yaml to start from
    Init,
    /// Check lab.yaml, config.rb and the user data
    Validate(Validate),
    /// Fetch a discovery token
    Token(Token),
    /// Keep versioned, checked boxes: add, list, update, outdated, remove, prune
    #[command(subcommand)]
    Box(BoxVerb),
    /// Print the completion script for a shell
    Completion(Completion),
    /// Print the version
    Version,
}

#[derive(Debug, clap::Args)]
pub struct Up {
    /// How many members, core-01 and up; a lab keeps the number it began with [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_INSTANCES)))]
    pub num_instances: Option<u8>,

    /// Client port of core-01; each next member is 10 further, peers talk on the port after it [default: 2379]
    #[arg(long, value_name = "BASE", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_CLIENT_PORT)))]
    pub client_port: Option<u16>,
}

#[derive(Debug, clap::Args)]
pub struct Status {
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Debug, clap::Args)]
pub struct Down {
    /// Remove the data, the logs and ./.lab itself, too
    #[arg(long)]
    pub destroy: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 10 something needed is missing, 11 conflict, 12 timeout";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_lab_has_one_to_nine_members() {
        for (typed, fits) in [("0", false), ("1", true), ("9", true), ("10", false)] {
            let parsed = Args::try_parse_from(["lab", "up", "--num-instances", typed]);
            assert_eq!(parsed.is_ok(), fits, "{typed}");
        }
    }
}
