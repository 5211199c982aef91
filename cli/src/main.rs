//! `lab`, the host command: parse, run, exit code.
mod args;
mod client;
mod commands;
mod failure;
mod process;
mod state;
mod topology;
mod ui;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::run(args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            ui::failure(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}
