//! `lab up`: starts what is missing of the lab and waits until it is ready.
use std::time::{Duration, Instant};

use crate::args::Up;
use crate::failure::Failure;
use crate::lab::{self, Lab, ask};
use crate::local::protocol::{Event, Request, State};
use crate::{commands::ssh_config, ui};

pub fn run(args: &Up) -> Result<(), Failure> {
    let began = Instant::now();
    let mut lab = Lab::open(args.num_instances)?;
    let _lock = lab.project.lock()?;
    let names: Vec<String> = lab
        .named(&args.nodes)?
        .into_iter()
        .map(|node| node.name.clone())
        .collect();
    if args.dry_run {
        ui::lines(&plan(&lab, &names));
        return Ok(());
    }
    let image = lab::image()?;
    let supervisor = lab.begin(image)?;
    lab.token(&supervisor)?;
    lab.project.save(&lab.record)?;
    ssh_config::write(&lab)?;
    // A part of the cluster may have no quorum yet: only the whole is waited for.
    let whole = names.len() == lab.nodes.len();
    let mut nodes = Vec::new();
    for node in lab.nodes.iter().filter(|node| names.contains(&node.name)) {
        let mut spec = lab.spec(node)?;
        spec.etcd = whole && lab.starts_etcd(node);
        nodes.push(spec);
    }
    let request = Request::Up {
        nodes,
        forwards: lab.record.forwards.clone(),
    };
    let started = Instant::now();
    let waiting = ui::Waiting::new();
    let result = ask(&supervisor, &request, |event| match event {
        Event::Node(node) if node.state == State::Ready => {
            waiting.line(|| ui::phase(&format!("{} ready", node.name), Duration::from_millis(node.millis)));
        }
        Event::Node(node) => waiting.say(&node.name, &node.detail),
        _ => {}
    });
    waiting.done();
    result?;
    ui::phase(
        &format!("ready: {} of {}", names.len(), lab.nodes.len()),
        started.elapsed(),
    );
    ui::phase("altogether", began.elapsed());
    ui::lines(&next(&lab));
    Ok(())
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
