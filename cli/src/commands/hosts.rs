//! Nodes that are added to a lab are told to those that run already, by name.
use crate::commands::provision;
use crate::lab::Lab;
use crate::local::protocol::{NodeStatus, State};
use crate::ui;

/// A node's hosts file has those that the lab had when the node was made. What somebody wrote there stays.
pub fn tell(lab: &Lab, before: &[NodeStatus]) {
    let was_new = |name: &str| {
        before
            .iter()
            .any(|status| status.name == name && status.state == State::New)
    };
    let added: Vec<_> = lab.nodes.iter().filter(|node| was_new(&node.name)).collect();
    let runs = |name: &str| {
        before
            .iter()
            .any(|status| status.name == name && status.state != State::New)
    };
    if added.is_empty() {
        return;
    }
    let mut script = String::new();
    for node in added {
        let (address, name) = (node.address, &node.name);
        script += &format!("grep -qw {name} /etc/hosts || echo {address} {name} | sudo tee -a /etc/hosts >/dev/null; ");
    }
    for node in lab.nodes.iter().filter(|node| runs(&node.name)) {
        let state = super::status::statuses(lab)
            .into_iter()
            .find(|status| status.name == node.name);
        if !state.is_some_and(|status| status.state == State::Ready) {
            continue;
        }
        if let Err(why) = provision::ssh(lab, node, &script, "") {
            ui::note(&format!("{} does not know the new nodes by name: {why}", node.name));
        }
    }
}
