//! `lab`, the host command: parse, run, exit code.
mod args;
mod boxes;
mod commands;
mod config;
mod discovery;
mod exercise;
mod failure;
mod faults;
mod flags;
mod http;
mod image;
mod lab;
mod local;
mod plan;
mod ports;
mod project;
mod provider;
mod render;
mod ssh;
mod tls;
mod topology;
mod ui;
mod vagrant;
mod wire;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::run(args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.what.is_empty() {
                ui::failure(&failure);
            }
            ExitCode::from(failure.exit.code())
        }
    }
}
