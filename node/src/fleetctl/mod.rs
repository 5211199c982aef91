//! fleetctl 0.11.5: its commands, flags, texts, tables and exit codes, with what 1.0 has added.
//!
//! `commands` is the table of all commands and flags, `settings` what the program's own flags mean, `driver` how the
//! cluster is asked (`transport`: over which stream); then a file per group of commands. A new command is an entry in
//! `commands` and a line in `dispatch`.
mod commands;
mod completion;
mod create;
mod driver;
mod explain;
mod flags;
mod help;
mod lists;
mod machines;
pub mod remote;
mod restart;
mod say;
mod settings;
mod table;
mod transport;
mod units;
mod wait;

use crate::closest;
use crate::fleet::VERSION;
use crate::fleet::schema::{JobState, Unit};
use crate::unit::{Requirements, UnitFile, UnitName};
use commands::{COMMANDS, Command, GLOBAL};
use driver::{Driver, Duty};
use flags::{Bad, Parsed};
use remote::Remote;
use settings::Settings;

/// How a command ends when it does not end well: exit status, and a line for stderr.
#[derive(Debug)]
pub struct Failure(pub i32, pub String);

impl Failure {
    pub fn new(text: impl Into<String>) -> Failure {
        Failure(1, text.into())
    }

    /// Everything has been said already.
    pub fn told() -> Failure {
        Failure(1, String::new())
    }
}

/// What commands are given.
pub struct Context {
    pub settings: Settings,
    pub driver: Driver,
    /// The ways to the cluster's machines.
    pub remote: Remote,
    pub command: Parsed,
}

/// Whether a unit runs on all machines that it may run on.
pub fn is_global(unit: &Unit) -> bool {
    let file = UnitFile::from(unit.options.clone());
    Requirements::read(&UnitName::new(&unit.name), &file).0.global
}

/// Runs fleetctl with these arguments; returns its exit status.
pub fn run(args: &[String], env: &[(String, String)]) -> i32 {
    let mut global = match flags::parse(GLOBAL, args) {
        Ok(global) => global,
        Err(Bad::Flag(why)) => return refused(&why, "Usage of fleetctl:", GLOBAL, ""),
        Err(Bad::Help) => return said(&help::overview()),
    };
    let words = std::mem::take(&mut global.args);
    if global.is("version") {
        return said(&format!("fleetctl version {VERSION}\n"));
    }
    let Some((name, rest)) = words.split_first().filter(|_| !global.is("help") && !global.is("h")) else {
        return said(&help::overview());
    };
    let Some(command) = commands::find(name) else {
        let names = COMMANDS.iter().map(|command| command.name);
        say::err(&format!(
            "fleetctl: unknown subcommand: {name:?}{}",
            closest::hint(name, names)
        ));
        say::err("Run 'fleetctl help' for usage.");
        return 2;
    };
    let anywhere = (!command.foreign).then_some((GLOBAL, &mut global));
    let parsed = match flags::parse_command(command.flags, rest, anywhere) {
        Ok(parsed) => parsed,
        Err(Bad::Flag(why)) => return refused(&why, "Usage:", command.flags, &why),
        Err(Bad::Help) => return refused("", "Usage:", command.flags, "flag: help requested"),
    };
    let ended = match offline(command, &parsed) {
        Some(ended) => ended,
        None => online(command, parsed, global, env),
    };
    match ended {
        Ok(()) => 0,
        Err(Failure(code, text)) => {
            if !text.is_empty() {
                say::err(&text);
            }
            code
        }
    }
}

fn said(text: &str) -> i32 {
    crate::sys::print(text, "");
    0
}

/// As Go's flag package refuses: what is wrong, the flags, and what the command adds.
fn refused(why: &str, title: &str, flags: &[flags::Flag], after: &str) -> i32 {
    for line in [why, title].into_iter().filter(|line| !line.is_empty()) {
        say::err(line);
    }
    crate::sys::print("", &flags::defaults(flags));
    if !after.is_empty() {
        say::err(after);
    }
    2
}

/// Commands that need no cluster.
fn offline(command: &Command, parsed: &Parsed) -> Option<Result<(), Failure>> {
    let text = match command.name {
        "version" => Ok(format!("fleetctl version {VERSION}\n")),
        "fd-forward" => Err(Failure(remote::fd_forward::run(&parsed.args), String::new())),
        "verify" => Err(Failure(2, units::UNSIGNED.into())),
        "completion" => completion::run(&parsed.args),
        "help" => match parsed.args.first() {
            None => Ok(help::overview()),
            Some(topic) => commands::find(topic).map(help::of).ok_or_else(|| {
                let hint = closest::hint(topic, COMMANDS.iter().map(|command| command.name));
                Failure::new(format!("Unrecognized command: {topic}{hint}"))
            }),
        },
        _ => return None,
    };
    Some(text.map(|text| {
        said(&text);
    }))
}

fn online(command: &Command, parsed: Parsed, mut global: Parsed, env: &[(String, String)]) -> Result<(), Failure> {
    settings::with_environment(&mut global, env).map_err(|why| Failure(2, why))?;
    let of_client = |why: String| Failure::new(format!("Unable to initialize client: {why}"));
    let settings = settings::resolve(&global, env).map_err(of_client)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let remote = Remote::new(settings.ssh.clone()).await.map_err(told)?;
        let driver = Driver::new(&settings, remote.tunnel.clone()).await.map_err(of_client)?;
        let context = Context {
            settings,
            driver,
            remote,
            command: parsed,
        };
        dispatch(command.name, &context).await
    })
}

fn told(failure: remote::Failure) -> Failure {
    Failure(failure.status, failure.text.trim_end().to_string())
}

async fn dispatch(name: &str, context: &Context) -> Result<(), Failure> {
    match name {
        "list-machines" => lists::machines(context).await,
        "list-units" => lists::units(context).await,
        "list-unit-files" => lists::unit_files(context).await,
        "cat" => lists::cat(context).await,
        "explain" => explain::run(context).await,
        "submit" => units::submit(context).await,
        "load" => units::forward(context, "load", JobState::Loaded).await,
        "start" => units::forward(context, "start", JobState::Launched).await,
        "stop" => units::backward(context, "stop", JobState::Loaded).await,
        "unload" => units::backward(context, "unload", JobState::Inactive).await,
        "destroy" => units::destroy(context).await,
        "restart" => restart::run(context).await,
        "cordon" => machines::run(context, Duty::Cordon).await,
        "uncordon" => machines::run(context, Duty::Uncordon).await,
        "ssh" | "status" | "journal" => match remote::run(name, context).await {
            0 => Ok(()),
            status => Err(Failure(status, String::new())),
        },
        "drain" => machines::run(context, Duty::Drain).await,
        other => Err(Failure::new(format!("fleetctl: {other} runs nothing"))),
    }
}
