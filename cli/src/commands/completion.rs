//! `lab completion`: what a shell has to know to complete `lab`.
use clap::CommandFactory;

use crate::args::{Args, Completion};
use crate::failure::Failure;
use crate::ui;

pub fn run(args: &Completion) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "lab", &mut script);
    ui::lines(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
