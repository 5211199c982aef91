//! `lab up`: starts what is missing of the lab and waits until it is ready.
use std::fs::File;
use std::time::{Duration, Instant};

use crate::args::Up;
use crate::commands::follow::follow;
use crate::commands::{down, ssh_config};
use crate::failure::{Exit, Failure};
use crate::lab::{self, Lab};
use crate::local::client::Supervisor;
use crate::local::protocol::{Request, State};
use crate::project::Project;
use crate::ui;

/// So often ports are chosen.
const PORTS: usize = 5;

pub fn run(args: &Up) -> Result<(), Failure> {
    if args.dry_run {
        let lab = Lab::open(args.num_instances)?;
        let names = names(&lab, args)?;
        ui::lines(&plan(&lab, &names));
        return Ok(());
    }
    let project = Project::find()?;
    // Before the record is read: another first `lab up` may be about to write one.
    let lock = project.lock()?;
    let is_new = project.record()?.is_none();
    let mut result = up(args, is_new, lock);
    for _ in 0..PORTS {
        if !is_new || !matches!(&result, Err(failure) if failure.exit == Exit::Conflict) {
            break;
        }
        // Another took a port after it was seen free. Nobody knows the ports of a new lab yet: it takes others.
        let lock = project.lock()?;
        let mut record = project.existing()?;
        record.forwards.clear();
        project.save(&record)?;
        result = up(args, false, lock);
    }
    // What never began leaves nothing.
    if result.is_err() && project.record()?.is_none() && project.dir().exists() {
        project.remove()?;
    }
    result
}

fn up(args: &Up, is_new: bool, lock: File) -> Result<(), Failure> {
    let began = Instant::now();
    let mut lab = Lab::open(args.num_instances)?;
    let names = names(&lab, args)?;
    let supervisor = match prepare(&mut lab) {
        Ok(supervisor) => supervisor,
        Err(failure) => {
            // There is nothing in a lab that never began.
            if is_new {
                down::forget(&lab)?;
            }
            return Err(failure);
        }
    };
    // A part of the cluster may have no quorum yet: only the whole is waited for.
    let whole = names.len() == lab.nodes.len();
    let mut nodes = Vec::new();
    for node in lab.nodes.iter().filter(|node| names.contains(&node.name)) {
        let mut spec = lab.spec(node)?;
        spec.etcd = whole && lab.starts_etcd(node);
        spec.part = !whole;
        nodes.push(spec);
    }
    let request = Request::Up {
        nodes,
        forwards: lab.record.forwards.clone(),
    };
    // Whoever loses patience may halt or destroy what this waits for.
    drop(lock);
    let started = Instant::now();
    if let Err(failure) = follow(&lab, &supervisor, &request, args.timeout.map(Duration::from_secs)) {
        down::end_if_idle(&lab)?;
        return Err(failure);
    }
    ui::phase(
        &format!("ready: {} of {}", names.len(), lab.nodes.len()),
        started.elapsed(),
    );
    ui::phase("altogether", began.elapsed());
    ui::lines(&next(&lab));
    Ok(())
}

fn names(lab: &Lab, args: &Up) -> Result<Vec<String>, Failure> {
    Ok(lab
        .named(&args.nodes)?
        .into_iter()
        .map(|node| node.name.clone())
        .collect())
}

/// Everything but the nodes. The record comes first: whatever ends this, the next command finds what there is.
fn prepare(lab: &mut Lab) -> Result<Supervisor, Failure> {
    let image = lab::image()?;
    lab.project.save(&lab.record)?;
    let supervisor = lab.begin(image)?;
    lab.token(&supervisor)?;
    lab.project.save(&lab.record)?;
    ssh_config::write(lab)?;
    Ok(supervisor)
}

fn plan(lab: &Lab, names: &[String]) -> String {
    let mut rows = vec![
        ["NODE", "ADDRESS", "SSH PORT", "NOW", "THEN"]
            .map(String::from)
            .to_vec(),
    ];
    let now = super::status::statuses(lab);
    for node in lab.nodes.iter().filter(|node| names.contains(&node.name)) {
        let state = now
            .iter()
            .find(|status| status.name == node.name)
            .map(|status| status.state);
        let then = match state {
            Some(State::Ready | State::Booting) => "stays",
            Some(State::Halted | State::Failed) => "starts",
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

fn next(lab: &Lab) -> String {
    let first = &lab.nodes[0].name;
    let mut rows = vec![
        ["a shell on a node".to_string(), ui::command(&format!("ssh {first}"))],
        ["what runs".into(), ui::command("status")],
    ];
    if lab.starts_etcd(&lab.nodes[0]) {
        rows.push([
            "the cluster".into(),
            ui::command(&format!("ssh {first} -- etcdctl cluster-health")),
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
