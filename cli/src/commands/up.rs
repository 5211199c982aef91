//! `lab up`: starts what is missing of the lab, has what changed of its settings, and waits until it is ready.
use std::fs::File;
use std::time::{Duration, Instant};

use crate::args::Up;
use crate::commands::follow::{self, follow};
use crate::commands::{changes, down, hosts, ssh_config, vagrant};
use crate::failure::{Exit, Failure};
use crate::lab::{self, Lab};
use crate::local::client::Supervisor;
use crate::local::protocol::{NodeStatus, Request, State};
use crate::project::Project;
use crate::provider::Provider;
use crate::topology::Node;
use crate::vagrant::{Vagrant, has_machines};
use crate::{ports, ui};

pub fn run(args: &Up) -> Result<(), Failure> {
    let lab = open(args)?;
    if let Provider::Vagrant(_) = &lab.record.provider {
        return vagrant::up(args, lab);
    }
    if args.dry_run {
        let now = super::status::statuses(&lab);
        ui::lines(&plan(&lab, &chosen(&lab, args)?, &now));
        changes::of(&lab, &now)?.say();
        return Ok(());
    }
    let project = Project::find()?;
    // Before the record is read: another first `lab up` may be about to write one.
    let lock = project.lock()?;
    let is_new = project.record()?.is_none();
    let result = up(args, is_new, lock);
    // What never began leaves nothing.
    if result.is_err() && project.record()?.is_none() && project.dir().exists() {
        project.remove()?;
    }
    result
}

/// The lab as it is to be, if it can become that.
fn open(args: &Up) -> Result<Lab, Failure> {
    let mut lab = Lab::open(&args.settings.said())?;
    if let Some(name) = &lab.renamed {
        let is = &lab.settings.instance_name_prefix.value;
        return Err(Failure::new(
            Exit::Conflict,
            "machines that are there keep their names",
            &name.origin,
            format!("they are called {is}-..., and that says {}", name.value),
            format!(
                "take that back, or {} first",
                ui::command("destroy  # with all that is on their disks")
            ),
        ));
    }
    let is = lab.record.provider.clone();
    let lives = match Vagrant::of(&lab) {
        Some(vagrant) => has_machines(&vagrant.dir),
        None => lab.before.num_instances > 0,
    };
    if let Some(provider) = args.provider.clone().filter(|provider| *provider != is) {
        if lives {
            return Err(Failure::new(
                Exit::Conflict,
                format!("the nodes of this lab are {is}'s"),
                lab.project.root.display(),
                format!("a lab has one provider, and --provider says {provider}"),
                format!("{} first, or do without --provider", ui::command("destroy")),
            ));
        }
        lab.record.provider = provider;
    }
    Ok(lab)
}

fn up(args: &Up, is_new: bool, lock: File) -> Result<(), Failure> {
    let began = Instant::now();
    let mut lab = open(args)?;
    let names = chosen(&lab, args)?;
    let before = super::status::statuses(&lab);
    let changes = changes::of(&lab, &before)?;
    changes.say();
    let supervisor = match prepare(&mut lab, is_new) {
        Ok(supervisor) => supervisor,
        Err(failure) => {
            // There is nothing in a lab that never began.
            match is_new {
                true => down::forget(&lab)?,
                false => down::end_if_idle(&lab)?,
            }
            return Err(failure);
        }
    };
    // A part of the cluster may have no quorum yet: only the whole is waited for.
    let whole = lab.wanted().iter().all(|node| names.contains(&node.name));
    let mut nodes = Vec::new();
    for node in lab.nodes.iter().filter(|node| names.contains(&node.name)) {
        let mut spec = lab.spec(node)?;
        spec.etcd = whole && lab.starts_etcd(node);
        spec.part = !whole;
        nodes.push(spec);
    }
    remember(&mut lab, &names, &before)?;
    let request = Request::Up { nodes };
    // Whoever loses patience may halt or destroy what this waits for.
    drop(lock);
    let started = Instant::now();
    let limit = args.timeout.map(Duration::from_secs);
    if let Err(failure) = follow(&lab, &supervisor, &request, limit) {
        down::end_if_idle(&lab)?;
        return Err(failure);
    }
    hosts::tell(&lab, &before);
    let again: Vec<String> = changes.to_provision(&names);
    if args.reload && !again.is_empty() {
        down::reload_nodes(&lab, &supervisor, &again, true, limit)?;
    }
    ui::phase(
        &format!("ready: {} of {}", names.len(), lab.nodes.len()),
        started.elapsed(),
    );
    ui::phase("altogether", began.elapsed());
    follow::say_troubles(&super::status::statuses(&lab));
    ui::lines(&next(&lab));
    Ok(())
}

/// Those that are named; or all that the settings ask for.
fn chosen(lab: &Lab, args: &Up) -> Result<Vec<String>, Failure> {
    let nodes: Vec<&Node> = match args.nodes.is_empty() {
        true => lab.wanted().iter().collect(),
        false => lab.named(&args.nodes)?,
    };
    Ok(nodes.into_iter().map(|node| node.name.clone()).collect())
}

/// Everything but the nodes. The record comes first: whatever ends this, the next command finds what there is.
fn prepare(lab: &mut Lab, is_new: bool) -> Result<Supervisor, Failure> {
    let image = lab::image()?;
    lab.project.save(&lab.record)?;
    let supervisor = lab.begin(image)?;
    ports::listen(lab, &supervisor, is_new)?;
    lab.token(&supervisor)?;
    lab.project.save(&lab.record)?;
    ssh_config::write(lab)?;
    Ok(supervisor)
}

/// What these nodes have from now on. User data stays what a node was made with until it is provisioned.
fn remember(lab: &mut Lab, names: &[String], before: &[NodeStatus]) -> Result<(), Failure> {
    for node in lab.nodes.iter().filter(|node| names.contains(&node.name)) {
        let mut made = lab.made(node)?;
        let is_new = before
            .iter()
            .any(|status| status.name == node.name && status.state == State::New);
        if let Some(old) = lab.record.made.get(&node.name).filter(|_| !is_new) {
            made.metadata.clone_from(&old.metadata);
            made.user_data.clone_from(&old.user_data);
        }
        lab.record.made.insert(node.name.clone(), made);
    }
    lab.project.save(&lab.record)
}

fn plan(lab: &Lab, names: &[String], now: &[NodeStatus]) -> String {
    let mut rows = vec![
        ["NODE", "ADDRESS", "SSH PORT", "NOW", "THEN"]
            .map(String::from)
            .to_vec(),
    ];
    for node in &lab.nodes {
        let state = now
            .iter()
            .find(|status| status.name == node.name)
            .map(|status| status.state);
        let then = match state {
            _ if !names.contains(&node.name) => "is left as it is",
            Some(State::Ready | State::Booting) => "stays",
            Some(State::Halted | State::Halting | State::Failed) => "starts",
            Some(State::New) | None => "is made and starts",
        };
        rows.push(vec![
            node.name.clone(),
            node.address.to_string(),
            node.ssh_port().to_string(),
            state.map_or("-".into(), |state| state.to_string()),
            then.into(),
        ]);
    }
    ui::table(&rows)
}

/// What shows the lab's certificates where they are asked for.
fn etcdctl(lab: &Lab) -> String {
    let certificates = &lab.settings.certificates.value;
    let dir = &certificates.dir;
    match certificates.wanted && certificates.client {
        false => "etcdctl".to_string(),
        true => format!(
            "sudo etcdctl --endpoint https://127.0.0.1:2379 --ca-file {dir}/ca.crt --cert-file {dir}/node.crt --key-file {dir}/node.key"
        ),
    }
}

fn next(lab: &Lab) -> String {
    let first = &lab.nodes[0].name;
    let mut rows = vec![
        ["a shell on a node".to_string(), ui::command(&format!("ssh {first}"))],
        ["what runs".into(), ui::command("status")],
    ];
    if lab.starts_etcd(&lab.nodes[0]) {
        rows.push([
            "the cluster".into(),
            ui::command(&format!("ssh {first} -- {} cluster-health", etcdctl(lab))),
        ]);
    }
    rows.push(["stop, keep the disks".into(), ui::command("halt")]);
    rows.push(["remove everything".into(), ui::command("destroy")]);
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.map(|cell| format!("  {cell}")).to_vec())
        .collect();
    format!("\nNext:\n{}", ui::table(&rows))
}
