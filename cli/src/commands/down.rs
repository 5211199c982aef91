//! `lab down`, `lab halt`, `lab destroy`, `lab reload`: nodes go down, for a while or for good.
use std::io::{IsTerminal, stdin};
use std::time::{Duration, Instant};

use super::provision;
use crate::args::{Destroy, Halt, Reload};
use crate::commands::follow::{self, follow};
use crate::commands::{render, ssh_config, vagrant};
use crate::failure::{Exit, Failure};
use crate::lab::{Lab, ask};
use crate::local::client::Supervisor;
use crate::local::disk::File;
use crate::local::erase::erase;
use crate::local::leftovers;
use crate::local::protocol::{NodeStatus, Request, State};
use crate::vagrant::Vagrant;
use crate::{ssh, tls, ui};

/// Halts nodes; with the last of them, the supervisor.
pub fn halt(args: &Halt) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let _lock = lab.project.lock()?;
    if let Some(vagrant) = Vagrant::of(&lab) {
        let words: &[&str] = if args.force { &["halt", "-f"] } else { &["halt"] };
        return vagrant::verb(&vagrant, &lab, words, &args.nodes);
    }
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
    if let Some(vagrant) = Vagrant::of(&lab) {
        return vagrant::destroy(&vagrant, &lab, args.force, &args.nodes);
    }
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
        tls::forget(&lab.tls(), name);
        remove(&lab, &lab.state.join("nodes").join(name))?;
    }
    if whole {
        forget(&lab)?;
    } else {
        let mut record = lab.project.existing()?;
        record.made.retain(|name, _| !nodes.contains(name));
        lab.project.save(&record)?;
        // Those that the settings do not ask for are no nodes of the lab any more.
        let lab = Lab::existing()?;
        lab.project.save(&lab.record)?;
        ssh_config::write(&lab)?;
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
    if let Some(vagrant) = Vagrant::of(&lab) {
        let words: &[&str] = if args.provision {
            &["reload", "--provision"]
        } else {
            &["reload"]
        };
        render::again(&lab)?;
        return vagrant::verb(&vagrant, &lab, words, &args.nodes);
    }
    let supervisor = lab.running()?;
    let nodes = names(&lab, &args.nodes)?;
    reload_nodes(&lab, &supervisor, &nodes, args.provision, None)?;
    follow::say_troubles(&super::status::statuses(&lab));
    Ok(())
}

/// With the limits of now; with the user data of now if that is asked for.
pub fn reload_nodes(
    lab: &Lab,
    supervisor: &Supervisor,
    names: &[String],
    provision: bool,
    limit: Option<Duration>,
) -> Result<(), Failure> {
    let mut files = Vec::new();
    let mut specs = Vec::new();
    let mut record = lab.project.existing()?;
    let now = super::status::statuses(lab);
    // A cluster whose other members are there is waited for.
    let whole = lab.wanted().iter().all(|node| {
        let runs = |status: &NodeStatus| status.name == node.name && status.state == State::Ready;
        names.contains(&node.name) || now.iter().any(runs)
    });
    for node in lab.named(names)? {
        let mut spec = lab.spec(node)?;
        spec.etcd = whole && lab.starts_etcd(node);
        spec.part = !whole;
        let made = lab.made(node)?;
        let known = record.made.entry(node.name.clone()).or_insert_with(|| made.clone());
        (known.memory, known.cpus) = (made.memory, made.cpus);
        if provision {
            (known.metadata, known.user_data) = (made.metadata, made.user_data);
            provision::say_changes(lab, node);
            let all = spec.files.iter().cloned();
            let mut user_data: Vec<File> = all.filter(|file| file.path == provision::USER_DATA).collect();
            if user_data.is_empty() {
                // In place of what it had.
                user_data.push(File::text(provision::USER_DATA, 0o644, 0, "#cloud-config\n"));
            }
            files.push((node.name.clone(), user_data));
        }
        specs.push(spec);
    }
    lab.project.save(&record)?;
    follow(lab, supervisor, &Request::Reload { nodes: specs, files }, limit)
}

fn names(lab: &Lab, typed: &[String]) -> Result<Vec<String>, Failure> {
    Ok(lab.named(typed)?.into_iter().map(|node| node.name.clone()).collect())
}

/// Nobody needs a supervisor of nothing.
pub fn end_if_idle(lab: &Lab) -> Result<(), Failure> {
    let runs = |state| matches!(state, State::Booting | State::Ready | State::Halting);
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
    erase(dir).map_err(|error| lab.cannot("remove the disks", error))
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
