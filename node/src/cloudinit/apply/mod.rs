//! Carries a plan out: step by step as the original does, or all or nothing with `--strict`.
pub mod files;
mod keys;
mod machine;

use crate::cloudconfig::go::{errno, quote};
use crate::cloudconfig::plan::{Plan, Step, Telling};
use crate::cloudconfig::{files::File, paths};
pub use machine::Machine;

use super::log::say;

/// Stops at the first step that fails; what came before it stays done.
pub async fn apply(plan: &Plan, machine: &Machine) -> Result<(), String> {
    for step in &plan.0 {
        match step {
            Step::Write(file) => files::write(machine, file)?,
            step => act(step, machine).await?,
        }
    }
    Ok(())
}

/// All files are staged beside their places before anything else happens, and renamed once users and commands have
/// succeeded; then units act. What fails before that leaves no file behind, and a unit that fails is an error.
pub async fn apply_strictly(plan: &Plan, machine: &Machine) -> Result<(), String> {
    if let Some(why) = plan.failure() {
        return Err(format!("{why}; nothing was applied"));
    }
    for file in plan.files() {
        file.mode()?;
        let above = plan
            .files()
            .find(|other| file.path.starts_with(&format!("{}/", other.path)));
        if let Some(above) = above {
            let (path, above) = (&file.path, &above.path);
            return Err(format!(
                "{path} cannot be below {above}, which is a file as well; nothing was applied"
            ));
        }
    }
    let mut staged = files::Staged::default();
    for file in plan.files() {
        staged
            .add(machine, file)
            .map_err(|why| format!("{why}; nothing was applied"))?;
    }
    let is_early = |step: &Step| {
        use Step::{AuthorizeKeys, CreateUser, Hostname, ImportKeys, Password};
        matches!(
            step,
            Hostname(_) | CreateUser { .. } | Password { .. } | AuthorizeKeys { .. } | ImportKeys { .. }
        )
    };
    let last = plan.0.iter().rposition(is_early).map_or(0, |last| last + 1);
    let (early, late) = plan.0.split_at(last);
    for step in early {
        act(step, machine)
            .await
            .map_err(|why| format!("{why}; no file was written and no unit touched"))?;
    }
    staged
        .own(machine)
        .map_err(|why| format!("{why}; no file was written and no unit touched"))?;
    staged.commit()?;
    let mut failed = Vec::new();
    for step in late {
        match step {
            Step::Write(file) => files::tell(file),
            Step::Command { unit, command, .. } => {
                if let Err(why) = command_strictly(step, machine).await {
                    failed.push(format!("{command} of {unit}: {why}"));
                }
            }
            step => act(step, machine).await?,
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(failed.join("\n")),
    }
}

/// A job that ends with anything but "done" is an error, told with the unit's last words.
async fn command_strictly(step: &Step, machine: &Machine) -> Result<(), String> {
    let Step::Command { unit, .. } = step else {
        return Ok(());
    };
    let result = run_command(step, machine).await?;
    // "skipped" is what a condition of the unit decided.
    if matches!(result.as_str(), "done" | "skipped") {
        return Ok(());
    }
    let journal = machine.journal(unit).await;
    let lines: String = journal.lines().map(|line| format!("\n    {line}")).collect();
    match lines.is_empty() {
        true => Err(format!("{result}; its journal is empty: systemctl status {unit}")),
        false => Err(format!("{result}; the end of its journal:{lines}")),
    }
}

async fn run_command(step: &Step, machine: &Machine) -> Result<String, String> {
    let Step::Command { unit, command, telling } = step else {
        return Ok(String::new());
    };
    match telling {
        Telling::Command => say(&format!("Calling unit command {} on {}", quote(command), quote(unit))),
        Telling::Networkd => say("Restarting systemd-networkd"),
        Telling::Silent => {}
    }
    let result = machine.unit_command(unit, command).await?;
    match telling {
        Telling::Command => say(&format!("Result of {} on {}: {result}", quote(command), quote(unit))),
        Telling::Networkd => say(&format!("Restarted systemd-networkd ({result})")),
        Telling::Silent => {}
    }
    Ok(result)
}

async fn act(step: &Step, machine: &Machine) -> Result<(), String> {
    match step {
        Step::Say(text) => say(text),
        Step::Write(file) => files::write(machine, file)?,
        Step::Fail(why) => return Err(why.clone()),
        Step::Hostname(name) => machine.set_hostname(name).await?,
        Step::CreateUser { name, args } => {
            if let Err(why) = machine.useradd(args).await {
                say(&format!("Failed creating user '{name}': {why}"));
                return Err(why);
            }
        }
        Step::Password { user, hash } => {
            if let Err(why) = machine
                .run("/usr/sbin/chpasswd", &["-e"], &format!("{user}:{hash}"))
                .await
            {
                say(&format!("Failed setting '{user}' user's password: {why}"));
                return Err(why);
            }
        }
        Step::AuthorizeKeys { user, name, keys } => keys::authorize(machine, user, name, keys).await?,
        Step::ImportKeys { user, name, url } => {
            let keys = keys::fetch(url).await?;
            keys::authorize(machine, user, name, &keys).await?;
        }
        Step::TakeDown(interface) => machine.take_down(interface).await,
        Step::Modprobe(args) => machine.modprobe(args).await?,
        Step::Mask(path) => files::mask(machine, path)?,
        Step::Unmask(path) => files::unmask(machine, path)?,
        Step::Enable { unit, runtime } => machine.enable(unit, *runtime).await?,
        Step::Reload => {
            let reloaded = machine.reload().await;
            reloaded.map_err(|why| format!("failed systemd daemon-reload: {why}"))?;
        }
        Step::Command { .. } => drop(run_command(step, machine).await?),
    }
    Ok(())
}

/// Puts a script into the workspace and starts it as a service of its own, which is not waited for. The original's bash
/// runs it whatever its first line says; strictly, that line is what counts.
pub async fn run_script(script: &[u8], workspace: &str, strict: bool, machine: &Machine) -> Result<(), String> {
    let dir = paths::absolute(&format!("{workspace}/scripts"));
    let prepared = std::fs::create_dir_all(machine.root.at(&dir));
    prepared.map_err(|error| format!("mkdir {dir}: {}", errno(&error)))?;
    let number: u32 = rand::random();
    let path = format!("{dir}/{number}");
    let permissions = "0744".to_string();
    let file = File::new(&path, script);
    files::write(machine, &File { permissions, ..file })?;
    let unit = format!("coreos-cloudinit-{number}.service");
    say(&format!("Creating transient systemd unit '{unit}'"));
    let command: Vec<String> = match strict {
        true => vec![path],
        false => vec!["/bin/bash".into(), path],
    };
    let started = machine.start_transient(&unit, &command).await;
    files::write(machine, &File::new(format!("{dir}/unit-name"), unit))?;
    started
}
