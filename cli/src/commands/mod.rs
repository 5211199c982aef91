//! One verb a file.
mod boxes;
mod completion;
mod down;
mod init;
mod render;
mod status;
mod token;
mod up;
mod validate;

use crate::args::{Args, Verb};
use crate::failure::{Exit, Failure};
use crate::topology::Topology;
use crate::{state, ui};

pub fn run(args: Args) -> Result<(), Failure> {
    match args.verb {
        Verb::Up(args) => up::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Down(args) => down::run(&args),
        Verb::Render(args) => render::run(&args),
        Verb::Init => init::run(),
        Verb::Validate(args) => validate::run(&args),
        Verb::Token(args) => token::run(&args),
        Verb::Completion(args) => completion::run(&args),
        Verb::Box(verb) => boxes::run(&verb),
        Verb::Version => {
            ui::lines(&format!("lab {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
    }
}

/// The lab that is here.
fn existing() -> Result<Topology, Failure> {
    let missing = || {
        let here = std::env::current_dir().unwrap_or_default();
        let why = format!("{}/lab.json does not exist in it", state::DIR);
        Failure::new(
            Exit::Failed,
            "there is no lab in this directory",
            here.display(),
            why,
            ui::command("up"),
        )
    };
    state::topology()?.ok_or_else(missing)
}
