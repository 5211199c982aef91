//! What `lab` and a lab's supervisor say to each other: lines of JSON over the lab's socket.
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disk::File;
use super::health::Tls;
use crate::faults::{Fault, Lease};

/// A lab, as its supervisor has to know it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LabSpec {
    /// Eight hexadecimal digits, the name of all that is the lab's in places shared with others.
    pub id: String,
    /// The base image's archive, the programs that go on top of it, and where both are kept unpacked.
    pub image: ImageSpec,
    /// Served to the nodes at the host's address.
    pub discovery: bool,
    /// This machine is to reach the nodes by their addresses.
    pub host_interface: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    pub archive: PathBuf,
    pub labnode: PathBuf,
    pub cache: PathBuf,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSpec {
    pub name: String,
    pub address: Ipv4Addr,
    /// MiB; none: as much as there is.
    pub memory: Option<u64>,
    pub cpus: Option<f64>,
    /// What it is born with.
    pub files: Vec<File>,
    /// Ready only once its etcd says that it is healthy.
    pub etcd: bool,
    /// How that is asked, where it speaks TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Others of its cluster may be down: what waits for them is not waited for.
    pub part: bool,
}

/// A port of 127.0.0.1 that leads to a node's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    pub host: u16,
    pub node: String,
    pub guest: u16,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Are you there?
    Ping,
    /// Have in place what all nodes share.
    Begin {
        lab: LabSpec,
    },
    /// Listen on these ports of the host and on no others; answered by those that somebody else has.
    Listen {
        forwards: Vec<Forward>,
    },
    /// Have these nodes run; answered by events until all of them are ready, or have failed.
    Up {
        nodes: Vec<NodeSpec>,
    },
    Status,
    /// systemd's own way down, or without it. The disks stay.
    Halt {
        nodes: Vec<String>,
        force: bool,
    },
    /// Down and up again, as they are to be now.
    Reload {
        nodes: Vec<NodeSpec>,
        files: Vec<(String, Vec<File>)>,
    },
    /// With their disks.
    Destroy {
        nodes: Vec<String>,
    },
    /// A connection to a node's port: its descriptor comes with the answer.
    Connect {
        host: String,
        port: u16,
    },
    /// Attach to a node's console.
    Console {
        node: String,
    },
    /// Something goes wrong, for so long, or until it is healed. Held: as long as the connection is open.
    Fault {
        fault: Fault,
        limit: Option<Duration>,
        held: bool,
        seed: Option<u64>,
    },
    /// Which faults are in force?
    Faults,
    /// Undo these, or all.
    Heal {
        ids: Vec<u32>,
    },
    /// Keep this moment of all nodes under a name.
    Checkpoint {
        name: String,
    },
    /// Have it again.
    Restore {
        name: String,
    },
    /// A command on a node, as this user; answered by its output.
    Run {
        node: String,
        user: String,
        script: String,
        limit: Duration,
    },
    /// Everything down, the supervisor last.
    End,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A phase of the whole that is over, and how long it took.
    Phase {
        text: String,
        millis: u64,
    },
    Node(NodeStatus),
    /// Somebody else listens on its port.
    Taken(Forward),
    Fault(Lease),
    Healed(Fault),
    /// Of a command that has ended.
    Output {
        stdout: String,
        stderr: String,
        status: i32,
    },
    Done,
    Failed {
        reason: Reason,
        what: String,
        place: String,
        why: String,
        todo: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Somebody else has what the lab needs.
    Conflict,
    /// Nobody can do what was asked.
    Usage,
    /// The machine has not what a node needs.
    Missing,
    Timeout,
    Other,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub name: String,
    pub address: Ipv4Addr,
    pub state: State,
    /// What is still missing, or what went wrong.
    pub detail: String,
    /// Since it was started.
    pub millis: u64,
    pub boots: u32,
    /// Units that failed while it started.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
}

/// A unit of a node that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub unit: String,
    /// The last lines of its journal.
    pub log: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Has no disk yet.
    New,
    Booting,
    Ready,
    /// On its way down.
    Halting,
    Halted,
    Failed,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::New => "new",
            State::Booting => "booting",
            State::Ready => "ready",
            State::Halting => "halting",
            State::Halted => "halted",
            State::Failed => "failed",
        })
    }
}
