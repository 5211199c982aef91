//! `lab down`, `lab halt`, `lab destroy`, `lab reload`: nodes go down, for a while or for good.
use std::fs;
use std::io::{IsTerminal, stdin};
use std::time::Instant;

use super::provision;
use crate::args::{Destroy, Halt, Reload};
use crate::commands::follow::follow;
use crate::commands::ssh_config;
use crate::failure::{Exit, Failure};
use crate::lab::{Lab, ask};
use crate::local::leftovers;
use crate::local::protocol::{Request, State};
use crate::{ssh, ui};

/// Halts nodes; with the last of them, the supervisor.
pub fn halt(args: &Halt) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let _lock = lab.project.lock()?;
    let began = Instant::now();
    let nodes = names(&lab, &args.nodes)?;
    let Some(supervisor) = lab.supervisor() else {
        ui::lines("the lab is down already");
        return Ok(());
    };
    let request = Request::Halt {
        nodes: nodes.clone(),
        force: args.force,
    };
    ask(&supervisor, &request, |_| {})?;
    end_if_idle(&lab)?;
    ui::phase(&format!("halted {}", nodes.join(" ")), began.elapsed());
    Ok(())
}

/// With the disks; with the last node, everything of the lab.
pub fn destroy(args: &Destroy) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let _lock = lab.project.lock()?;
    let nodes = names(&lab, &args.nodes)?;
    if !args.force && !confirmed(&nodes)? {
        ui::lines("nothing was destroyed");
        return Ok(());
    }
    let began = Instant::now();
    let whole = nodes.len() == lab.nodes.len();
    match lab.supervisor() {
        Some(supervisor) => ask(&supervisor, &Request::Destroy { nodes: nodes.clone() }, |_| {})?,
        None => leftovers(&lab.record.id),
    }
    if whole {
        ssh_config::forget(&lab)?;
    }
    for name in &nodes {
        // The next node of this name is another machine.
        ssh::forget(&lab.project.ssh(), name);
        remove(&lab, &lab.state.join("nodes").join(name))?;
    }
    if whole {
        forget(&lab)?;
    } else {
        end_if_idle(&lab)?;
    }
    ui::phase(&format!("destroyed {}", nodes.join(" ")), began.elapsed());
    Ok(())
}

/// Removes what there is of a lab without nodes.
pub fn forget(lab: &Lab) -> Result<(), Failure> {
    if let Some(supervisor) = lab.supervisor() {
        supervisor
            .end(|_| {})
            .map_err(|error| lab.cannot("end the lab's supervisor", error))?;
    }
    leftovers(&lab.record.id);
    remove(lab, &lab.state)?;
    lab.project.remove()
}

pub fn reload(args: &Reload) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let _lock = lab.project.lock()?;
    let supervisor = lab.running()?;
    let nodes = names(&lab, &args.nodes)?;
    let mut files = Vec::new();
    if args.provision {
        for node in lab.named(&nodes)? {
            provision::say_changes(&lab, node);
            let all = lab.spec(node)?.files;
            let user_data = all.into_iter().filter(|file| file.path == provision::USER_DATA);
            files.push((node.name.clone(), user_data.collect()));
        }
    }
    let request = Request::Reload { nodes, files };
    follow(&lab, &supervisor, &request, None)
}

fn names(lab: &Lab, typed: &[String]) -> Result<Vec<String>, Failure> {
    Ok(lab.named(typed)?.into_iter().map(|node| node.name.clone()).collect())
}

/// Nobody needs a supervisor of nothing.
pub fn end_if_idle(lab: &Lab) -> Result<(), Failure> {
    let runs = |state| matches!(state, State::Booting | State::Ready);
    if super::status::statuses(lab).iter().any(|status| runs(status.state)) {
        return Ok(());
    }
    match lab.supervisor() {
        Some(supervisor) => supervisor
            .end(|_| {})
            .map(drop)
            .map_err(|error| lab.cannot("end the lab's supervisor", error)),
        None => Ok(()),
    }
}

fn remove(lab: &Lab, dir: &std::path::Path) -> Result<(), Failure> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(lab.cannot("remove the disks", error)),
        _ => Ok(()),
    }
}

fn confirmed(nodes: &[String]) -> Result<bool, Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            "destroy asks first, and there is nobody to ask",
            "standard input",
            "it is no terminal",
            ui::command("destroy -f"),
        ));
    }
    let answer = ui::ask(&format!(
        "destroy {} with all that is on their disks? [y/N] ",
        nodes.join(" ")
    ));
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
