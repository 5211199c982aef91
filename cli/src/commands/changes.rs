//! What an `up` finds changed of a lab that is there: told before it begins, by `up --dry-run` alone.
use crate::failure::Failure;
use crate::lab::Lab;
use crate::local::protocol::NodeStatus;
use crate::plan::{self, Change, How};
use crate::ui;

pub struct Changes {
    nodes: Vec<Change>,
    lines: Vec<String>,
}

pub fn of(lab: &Lab, now: &[NodeStatus]) -> Result<Changes, Failure> {
    let mut changes = Changes {
        nodes: Vec::new(),
        lines: Vec::new(),
    };
    if lab.before.num_instances == 0 {
        return Ok(changes);
    }
    for node in &lab.nodes {
        let status = now.iter().find(|status| status.name == node.name);
        if let (Some(status), Some(was)) = (status, lab.before.made.get(&node.name)) {
            let found = plan::of_node(&node.name, status.state, was, &lab.made(node)?);
            changes.nodes.extend(found);
        }
    }
    changes.lines = plan::of_forwards(&lab.before.forwards, &lab.record.forwards);
    let surplus: Vec<&str> = lab
        .nodes
        .iter()
        .filter(|node| lab.is_surplus(node))
        .map(|node| node.name.as_str())
        .collect();
    if !surplus.is_empty() {
        let size = &lab.settings.num_instances;
        let destroy = ui::command(&format!("destroy {}", surplus.join(" ")));
        changes.lines.push(format!(
            "{} left as they are, num_instances is {} ({}); to remove them: {destroy}",
            surplus.join(" "),
            size.value,
            size.origin
        ));
    }
    if let Some(line) = discovery(lab) {
        changes.lines.push(line);
    }
    Ok(changes)
}

/// Members never hear of another service: they know each other by now.
fn discovery(lab: &Lab) -> Option<String> {
    let token = lab.record.token.as_ref()?;
    let wanted = &lab.settings.discovery;
    let differs = !lab.before.discovery.is_empty() && lab.before.discovery != wanted.value.to_string();
    differs.then(|| {
        format!(
            "discovery is {} ({}) for the next cluster; this one keeps {token} until {}",
            wanted.value,
            wanted.origin,
            ui::command("destroy")
        )
    })
}

impl Changes {
    /// Of these nodes, those whose user data has changed.
    pub fn to_provision(&self, names: &[String]) -> Vec<String> {
        let changed = self.nodes.iter().filter(|change| change.how == How::Provision);
        let names = changed.filter(|change| names.contains(&change.node));
        names.map(|change| change.node.clone()).collect()
    }

    pub fn say(&self) {
        for Change { node, what, how } in &self.nodes {
            let how = match how {
                How::Live => "at once".to_string(),
                How::Start => "when it starts".to_string(),
                How::Provision => format!(
                    "not before {}, or {}",
                    ui::command(&format!("reload --provision {node}")),
                    ui::command("up --reload")
                ),
            };
            ui::lines(&format!("{node}: {what}: {how}"));
        }
        for line in &self.lines {
            ui::lines(line);
        }
    }
}
