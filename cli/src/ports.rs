//! Ports of this machine's 127.0.0.1 that lead to the lab's nodes: given out, kept, and given up.
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::config::resolved::Settings;
use crate::failure::{Exit, Failure};
use crate::lab::{Lab, ask};
use crate::local::client::Supervisor;
use crate::local::protocol::{Event, Forward, Request};
use crate::project::Record;
use crate::topology::{self, Node};
use crate::{plan, ui};

/// So often ports are chosen that somebody else may take before we do.
const TURNS: usize = 5;

/// All nodes that the lab has ever had, with their ports. What was given out once stays, so that a saved ssh-config stays true.
pub fn nodes(settings: &Settings, record: &Record) -> Vec<Node> {
    let mut settings = settings.clone();
    settings.num_instances.value = record.num_instances;
    let asked = topology::asked(&settings);
    let given = |node: &str, guest: u16| {
        let is_it = |forward: &&Forward| forward.node == node && forward.guest == guest;
        let stays = guest == topology::SSH || record.asked.get(&guest) == asked.get(&guest);
        let given = record.forwards.iter().find(is_it).filter(|_| stays);
        given.map(|given| given.host)
    };
    let ours: BTreeSet<u16> = record.forwards.iter().map(|forward| forward.host).collect();
    topology::nodes(&settings, given, |port| ours.contains(&port) || is_free(port))
}

pub fn forwards(nodes: &[Node]) -> Vec<Forward> {
    let of = |node: &Node| -> Vec<Forward> {
        let name = node.name.clone();
        node.forwards
            .iter()
            .map(move |forward| Forward {
                host: forward.host,
                node: name.clone(),
                guest: forward.guest,
            })
            .collect()
    };
    nodes.iter().flat_map(of).collect()
}

/// Nobody listens there. This does not either, not for a moment: another lab may be about to.
fn is_free(port: u16) -> bool {
    let probe = || {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    probe().is_ok()
}

/// Has the supervisor listen on the ports of all nodes. ssh's give way to whoever has them, for the configuration
/// says where they are; others are known to who asked for them, unless the lab is new.
pub fn listen(lab: &mut Lab, supervisor: &Supervisor, is_new: bool) -> Result<(), Failure> {
    for last in (0..TURNS).map(|turn| turn + 1 == TURNS) {
        let mut taken = Vec::new();
        let before = lab.record.forwards.clone();
        let request = Request::Listen {
            forwards: before.clone(),
        };
        ask(supervisor, &request, |event| {
            if let Event::Taken(forward) = event {
                taken.push(forward.clone());
            }
        })?;
        let stays = |forward: &&Forward| last || !is_new && forward.guest != topology::SSH;
        if let Some(forward) = taken.iter().find(stays) {
            return Err(somebody_has(forward));
        }
        if taken.is_empty() {
            break;
        }
        lab.record.forwards.retain(|forward| !taken.contains(forward));
        for node in nodes(&lab.settings, &lab.record) {
            if let Some(ours) = lab.nodes.iter_mut().find(|ours| ours.name == node.name) {
                ours.forwards = node.forwards;
            }
        }
        lab.record.forwards = forwards(&lab.nodes);
        if !is_new {
            let taken = taken
                .iter()
                .map(|Forward { host, .. }| format!("127.0.0.1:{host} is taken by another program"));
            taken
                .chain(plan::of_forwards(&before, &lab.record.forwards))
                .for_each(|line| ui::lines(&line));
        }
    }
    Ok(())
}

fn somebody_has(forward: &Forward) -> Failure {
    let Forward { host, node, guest } = forward;
    Failure::new(
        Exit::Conflict,
        "a port of the lab is taken",
        format!("127.0.0.1:{host}, which is to lead to {node}:{guest}"),
        "another program listens there",
        format!(
            "ss -ltnp  # says which, then {}, or another port in the settings",
            ui::command("up")
        ),
    )
}
