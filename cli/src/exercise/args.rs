//! `lab learn`, `lab prove`, `lab lint` as they are typed: clap definitions only.
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Learn {
    /// The folder's name under labs/, what follows its number, or the number alone [default: list them]
    pub name: Option<String>,

    /// By itself, to the end; exit code 3 when a check is red
    #[arg(long)]
    pub auto: bool,

    /// Without showing what to type, without hints, with values chosen by chance
    #[arg(long, conflicts_with = "auto")]
    pub exam: bool,

    /// What chance begins with
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// From the first step on, with a new lab
    #[arg(long)]
    pub restart: bool,

    /// Leave the lab as it is at the end
    #[arg(long, requires = "auto")]
    pub keep: bool,

    #[command(flatten)]
    pub reports: Reports,
}

#[derive(Debug, Args)]
pub struct Reports {
    /// Write a report for programs
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a report for CI
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,

    /// Write a page with a picture of what happened
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Back {
    /// The exercise
    pub name: String,

    /// Before this step [default: the one before the step that it is at]
    pub step: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Prove {
    /// As lab learn takes them; all: every one
    #[arg(required = true)]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Exercises {
    /// As lab learn takes them, or files [default: all]
    pub names: Vec<String>,
}
