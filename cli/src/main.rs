//! `lab`, the host command: parse, run, exit code.
mod args;
mod boxes;
mod client;
mod commands;
mod config;
mod discovery;
mod failure;
mod flags;
mod http;
mod process;
mod render;
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
