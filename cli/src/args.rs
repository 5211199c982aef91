//! What can be typed.
use clap::{Parser, Subcommand};

/// A cluster on this machine.
#[derive(Parser)]
#[command(name = "lab", disable_version_flag = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Start the members of a cluster on localhost, those that do not run yet
    Up {
        /// How many members
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=5))]
        num_instances: u16,
    },
    /// Show the members
    Status,
    /// Stop the members; their data stays
    Down {
        /// Remove their data, too
        #[arg(long)]
        destroy: bool,
    },
    /// Print the version
    Version,
}
