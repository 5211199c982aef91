//! One verb a file.
mod boxes;
mod changes;
mod completion;
mod doctor;
mod down;
mod fault;
mod follow;
mod gc;
mod hosts;
mod image;
mod init;
mod learn;
mod logs;
mod provision;
mod proxy;
mod render;
mod shell;
pub mod ssh_config;
mod status;
mod token;
mod up;
mod vagrant;
mod validate;

use crate::args::{Args, Verb};
use crate::failure::{Exit, Failure};
use crate::{local, ui};

pub fn run(args: Args) -> Result<(), Failure> {
    match args.verb {
        Verb::Up(args) => up::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Halt(args) => down::halt(&args),
        Verb::Destroy(args) => down::destroy(&args),
        Verb::Reload(args) => down::reload(&args),
        Verb::Provision(args) => provision::run(&args),
        Verb::Ssh(args) => shell::ssh(&args),
        Verb::SshConfig(args) => ssh_config::run(&args),
        Verb::Exec(args) => shell::exec(&args),
        Verb::Cp(args) => shell::cp(&args),
        Verb::Logs(args) => logs::logs(&args),
        Verb::Console(args) => logs::console(&args),
        Verb::Port(args) => logs::port(&args),
        Verb::Image(args) => image::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Gc(args) => gc::run(&args),
        Verb::Proxy(args) => proxy::run(&args),
        Verb::Render(args) => render::run(&args),
        Verb::Init => init::run(),
        Verb::Validate(args) => validate::run(&args),
        Verb::Token(args) => token::run(&args),
        Verb::Fault(verb) => fault::run(verb),
        Verb::Heal(args) => fault::heal(&args),
        Verb::Learn(args) => learn::run(&args),
        Verb::Back(args) => learn::back(&args),
        Verb::Prove(args) => learn::prove(&args),
        Verb::Lint(args) => learn::lint(&args),
        Verb::Schema => learn::schema(),
        Verb::Completion(args) => completion::run(&args),
        Verb::Box(verb) => boxes::run(&verb),
        Verb::Version => {
            ui::lines(&format!("lab {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Verb::Supervise { dir } => local::supervisor::run(&dir).map_err(|error| inner("the lab's supervisor", &error)),
        Verb::Erase { dir } => local::erase::erase(&dir).map_err(|error| inner(&dir.display().to_string(), &error)),
        Verb::Boot { name } => Err(inner(&name, &local::boot::run(&name))),
    }
}

/// Of a process that nobody types; its words go to a log.
fn inner(what: &str, error: &std::io::Error) -> Failure {
    let failed = format!("{what} cannot go on");
    Failure::new(Exit::Failed, failed, "its start", error, ui::command("doctor"))
}
