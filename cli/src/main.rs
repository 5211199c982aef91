//! `lab`: parse, run, exit status.
mod args;
mod commands;
mod member;
mod ui;

use clap::Parser;

fn main() -> std::process::ExitCode {
    let args = args::Args::parse();
    let result = match args.command {
        args::Command::Up { num_instances } => commands::up::run(num_instances),
        args::Command::Status => commands::status::run(),
        args::Command::Down { destroy } => commands::down::run(destroy),
        args::Command::Version => commands::version::run(),
    };
    match result {
        Ok(()) => 0.into(),
        Err(failure) => {
            ui::failure(&failure);
            failure.code.into()
        }
    }
}
