//! Names, addresses and ports of a lab's nodes (pure).
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::config::resolved::Settings;

/// 172.17.8.101 is core-01, as with coreos-vagrant; 172.17.8.255 is nobody's.
pub const MAX_NODES: u8 = 154;
pub const SSH: u16 = 22;
const DOCKER: u16 = 2375;
const FIRST_SSH_PORT: u16 = 2222;
/// From here on Vagrant looks for a free port when the one that was asked for is taken.
const FIRST_SPARE_PORT: u16 = 2200;

/// One machine of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// From 1.
    pub index: u8,
    pub address: Ipv4Addr,
    /// MiB
    pub memory: u32,
    pub cpus: u16,
    /// What fleet knows it by.
    pub metadata: BTreeMap<String, String>,
    /// The file of its user data, if it is not the default.
    pub user_data: Option<String>,
    /// ssh's first.
    pub forwards: Vec<Forward>,
}

/// A port of the host's 127.0.0.1 that leads to a port of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    pub guest: u16,
    pub host: u16,
}

impl Node {
    pub fn ssh_port(&self) -> u16 {
        self.forwards
            .iter()
            .find(|forward| forward.guest == SSH)
            .map_or(SSH, |forward| forward.host)
    }
}

pub fn name(prefix: &str, index: u8) -> String {
    format!("{prefix}-{index:02}")
}

pub fn address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 17, 8, 100 + index)
}

/// Which ports of the host the settings ask for, by the nodes'.
pub fn asked(settings: &Settings) -> BTreeMap<u16, u16> {
    let docker = settings.expose_docker_tcp.value.map(|first| (DOCKER, first));
    docker
        .into_iter()
        .chain(settings.forwarded_ports.value.clone())
        .collect()
}

/// No port has been given out yet.
pub fn none_given(_: &str, _: u16) -> Option<u16> {
    None
}

/// The nodes of a lab. A port that was given out before, by the node's name and port, is given again; one that is taken
/// gives way to the next one that is free.
pub fn nodes(
    settings: &Settings,
    before: impl Fn(&str, u16) -> Option<u16>,
    is_free: impl Fn(u16) -> bool,
) -> Vec<Node> {
    let mut nodes: Vec<Node> = (1..=settings.num_instances.value)
        .map(|index| node(settings, index))
        .collect();
    let guests: Vec<u16> = [SSH].into_iter().chain(asked(settings).into_keys()).collect();
    let kept = nodes
        .iter()
        .flat_map(|node| guests.iter().filter_map(|guest| before(&node.name, *guest)));
    let mut given: BTreeSet<u16> = kept.collect();
    let mut give = |node: &str, guest: u16, wanted: u16| {
        if let Some(port) = before(node, guest) {
            return port;
        }
        let spare = FIRST_SPARE_PORT..=u16::MAX;
        let port = [wanted]
            .into_iter()
            .chain(spare)
            .find(|port| !given.contains(port) && is_free(*port));
        // Only where every port is taken: whoever opens it then says so.
        let port = port.unwrap_or(wanted);
        given.insert(port);
        port
    };
    for node in &mut nodes {
        let host = give(&node.name, SSH, FIRST_SSH_PORT);
        node.forwards.push(Forward { guest: SSH, host });
    }
    for node in &mut nodes {
        if let Some(first) = settings.expose_docker_tcp.value {
            let host = give(&node.name, DOCKER, first.saturating_add(u16::from(node.index) - 1));
            node.forwards.push(Forward { guest: DOCKER, host });
        }
        for (guest, host) in &settings.forwarded_ports.value {
            let host = give(&node.name, *guest, *host);
            node.forwards.push(Forward { guest: *guest, host });
        }
    }
    nodes
}

fn node(settings: &Settings, index: u8) -> Node {
    let name = name(&settings.instance_name_prefix.value, index);
    let own = settings.nodes.get(&name).cloned().unwrap_or_default();
    Node {
        index,
        address: address(index),
        memory: own.vm_memory.map_or(settings.vm_memory.value, |typed| typed.value),
        cpus: own.vm_cpus.map_or(settings.vm_cpus.value, |typed| typed.value),
        metadata: own.metadata.map(|typed| typed.value).unwrap_or_default(),
        user_data: own
            .user_data
            .map(|typed| typed.value)
            .or_else(|| settings.user_data.value.clone()),
        forwards: Vec::new(),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::Raw;
    use crate::config::{Origin, Typed};

    fn lab(num_instances: u8) -> Settings {
        let typed = Some(Typed::new(num_instances, Origin::Flag("num-instances")));
        Settings::resolve(Raw {
            num_instances: typed,
            ..Raw::default()
        })
    }

    #[test]
    fn nodes_have_coreos_vagrants_names_and_addresses() {
        let nodes = nodes(&lab(MAX_NODES), none_given, |_| true);
        assert_eq!(
            (nodes[0].name.as_str(), nodes[0].address),
            ("core-01", Ipv4Addr::new(172, 17, 8, 101))
        );
        let last = nodes.last().expect("nodes");
        assert_eq!(
            (last.name.as_str(), last.address),
            ("core-154", Ipv4Addr::new(172, 17, 8, 254))
        );
    }

    #[test]
    fn ssh_ports_are_vagrants_and_give_way_to_what_is_taken() {
        let ports = |nodes: Vec<Node>| nodes.iter().map(Node::ssh_port).collect::<Vec<_>>();
        assert_eq!(ports(nodes(&lab(4), none_given, |_| true)), [2222, 2200, 2201, 2202]);
        assert_eq!(
            ports(nodes(&lab(3), none_given, |port| port != 2222 && port != 2201)),
            [2200, 2202, 2203]
        );
    }

    #[test]
    fn a_forwarded_port_of_every_node_is_the_hosts_own_once() {
        let mut settings = lab(3);
        settings.forwarded_ports.value.insert(80, 8080);
        settings.expose_docker_tcp.value = Some(2375);
        let forwards: Vec<Vec<(u16, u16)>> = nodes(&settings, none_given, |_| true)
            .iter()
            .map(|node| node.forwards.iter().map(|f| (f.guest, f.host)).collect())
            .collect();
        let expected = [
            [(22, 2222), (2375, 2375), (80, 8080)],
            [(22, 2200), (2375, 2376), (80, 2202)],
            [(22, 2201), (2375, 2377), (80, 2203)],
        ];
        assert_eq!(forwards, expected);
    }

    #[test]
    fn a_port_that_was_given_out_stays_and_nobody_else_gets_it() {
        let before = |name: &str, guest: u16| (name == "core-03" && guest == SSH).then_some(2222);
        let nodes = nodes(&lab(3), before, |_| true);
        assert_eq!(nodes.iter().map(Node::ssh_port).collect::<Vec<_>>(), [2200, 2201, 2222]);
    }

    #[test]
    fn a_node_may_differ() {
        let mut settings = lab(2);
        let own = settings.nodes.entry("core-02".into()).or_default();
        own.vm_memory = Some(Typed::new(2048, Origin::Default));
        let nodes = nodes(&settings, none_given, |_| true);
        assert_eq!((nodes[0].memory, nodes[1].memory), (1024, 2048));
    }
}
