//! `lab status`: what each node is and does.
use serde_json::json;

use crate::args::{Format, Status};
use crate::commands::vagrant;
use crate::failure::Failure;
use crate::lab::Lab;
use crate::local::protocol::{Event, NodeStatus, Request, State};
use crate::ui;
use crate::vagrant::Vagrant;

pub fn run(args: &Status) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    if args.settings {
        let rows: Vec<Vec<String>> = [["SETTING", "VALUE", "FROM"].map(String::from)]
            .into_iter()
            .chain(lab.settings.table())
            .map(|row| row.to_vec())
            .collect();
        ui::lines(&ui::table(&rows));
        return Ok(());
    }
    if let Some(vagrant) = Vagrant::of(&lab) {
        return vagrant::status(&vagrant, &lab, &args.nodes, args.format);
    }
    let names: Vec<String> = lab
        .named(&args.nodes)?
        .into_iter()
        .map(|node| node.name.clone())
        .collect();
    let all: Vec<NodeStatus> = statuses(&lab)
        .into_iter()
        .filter(|status| names.contains(&status.name))
        .collect();
    match args.format {
        Format::Table => ui::lines(&table(&lab, &all)),
        Format::Json => {
            let nodes: Vec<_> = all.iter().map(|status| json(&lab, status)).collect();
            let document = json!({ "schema": "lab.status/1", "id": lab.record.id, "nodes": nodes });
            ui::lines(&format!("{document:#}"));
        }
    }
    Ok(())
}

/// What the supervisor knows of the nodes; where there is none, they are down.
pub fn statuses(lab: &Lab) -> Vec<NodeStatus> {
    let mut known = Vec::new();
    if let Some(supervisor) = lab.supervisor() {
        let _ = supervisor.ask(&Request::Status, |event| {
            if let Event::Node(status) = event {
                known.push(status.clone());
            }
        });
    }
    let down = |node: &crate::topology::Node| NodeStatus {
        name: node.name.clone(),
        address: node.address,
        state: match lab.state.join("nodes").join(&node.name).exists() {
            true => State::Halted,
            false => State::New,
        },
        detail: String::new(),
        millis: 0,
        boots: 0,
        troubles: Vec::new(),
    };
    let status = |node| {
        known
            .iter()
            .find(|status: &&NodeStatus| status.name == node_name(node))
            .cloned()
    };
    lab.nodes
        .iter()
        .map(|node| status(node).unwrap_or_else(|| down(node)))
        .collect()
}

fn node_name(node: &crate::topology::Node) -> &str {
    &node.name
}

fn table(lab: &Lab, all: &[NodeStatus]) -> String {
    let mut rows = vec![
        ["NODE", "STATE", "ADDRESS", "SSH PORT", "BOOTS", "DETAIL"]
            .map(String::from)
            .to_vec(),
    ];
    for status in all {
        rows.push(vec![
            status.name.clone(),
            status.state.to_string(),
            status.address.to_string(),
            port(lab, status).to_string(),
            status.boots.to_string(),
            status.detail.lines().next().unwrap_or_default().to_string(),
        ]);
    }
    ui::table(&rows)
}

fn json(lab: &Lab, status: &NodeStatus) -> serde_json::Value {
    json!({
        "name": status.name,
        "state": status.state,
        "address": status.address,
        "ssh_port": port(lab, status),
        "boots": status.boots,
        "detail": status.detail,
        "failed_units": status.troubles.iter().map(|trouble| &trouble.unit).collect::<Vec<_>>(),
    })
}

fn port(lab: &Lab, status: &NodeStatus) -> u16 {
    lab.nodes
        .iter()
        .find(|node| node.name == status.name)
        .map_or(0, |node| node.ssh_port())
}
