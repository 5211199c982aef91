//! What can go wrong on purpose: the kinds of faults and the words for them (pure).
pub mod args;
mod links;
mod units;

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use links::links;
pub use units::{Names, Rate, Span};

/// Where etcd keeps its data: the directory that is meant, unless somebody names another.
const DATA: &str = "/var/lib/etcd2";

/// One fault. Each is a lease: it has an end, and that is the undoing of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The power fails; it comes back at the end. With a unit: its processes get SIGKILL.
    Kill(At),
    /// Nothing of the node runs, and its connections stay open.
    Pause(At),
    /// A unit is stopped, and started at the end.
    Stop(At),
    /// Down and up again by itself.
    Reboot(At),
    /// Nothing passes between these groups of nodes; a single one is cut off from all others.
    Partition(Partition),
    /// Nothing passes in one direction.
    Oneway(Oneway),
    /// What leaves these nodes arrives later.
    Delay(Delay),
    /// Of what leaves these nodes, some never arrives.
    Loss(Loss),
    /// So much leaves these nodes, and no more.
    Rate(Narrow),
    /// A directory's disk has no room.
    DiskFull(Disk),
    /// A directory's disk can only be read.
    DiskRo(Disk),
    /// A node's disk takes this much longer to keep what it is to keep, for labnode's programs.
    DiskSlow(Slow),
    /// A node's clock is wrong, for labnode's programs.
    Clock(Clock),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct At {
    pub at: Names,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    pub groups: Vec<Names>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oneway {
    pub from: Names,
    pub to: Names,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    pub at: Names,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Names>,
    pub by: Span,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    pub at: Names,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Names>,
    pub percent: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Narrow {
    pub at: Names,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Names>,
    pub limit: Rate,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    pub at: Names,
    #[serde(default = "data")]
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    pub at: Names,
    pub by: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    pub at: Names,
    pub by: Span,
}

fn data() -> String {
    DATA.into()
}

impl Fault {
    /// What of a node it takes hold of: two at once would be undone by the end of the first.
    pub fn holds(&self) -> Option<String> {
        match self {
            Fault::Kill(At { unit: None, .. }) => Some("the node".into()),
            Fault::Stop(At { unit: Some(unit), .. }) => Some(unit.trim_end_matches(".service").into()),
            Fault::Pause(_) => Some("its processes".into()),
            Fault::DiskFull(disk) | Fault::DiskRo(disk) => Some(disk.path.clone()),
            Fault::DiskSlow(_) => Some("the speed of its disk".into()),
            Fault::Clock(_) => Some("its clock".into()),
            _ => None,
        }
    }

    /// The nodes that it happens at or between, as far as they are named.
    pub fn nodes(&self) -> Vec<&str> {
        let lists: Vec<&Names> = match self {
            Fault::Kill(at) | Fault::Pause(at) | Fault::Stop(at) | Fault::Reboot(at) => vec![&at.at],
            Fault::Partition(partition) => partition.groups.iter().collect(),
            Fault::Oneway(oneway) => vec![&oneway.from, &oneway.to],
            Fault::Delay(delay) => [Some(&delay.at), delay.to.as_ref()].into_iter().flatten().collect(),
            Fault::Loss(loss) => [Some(&loss.at), loss.to.as_ref()].into_iter().flatten().collect(),
            Fault::Rate(rate) => [Some(&rate.at), rate.to.as_ref()].into_iter().flatten().collect(),
            Fault::DiskFull(disk) | Fault::DiskRo(disk) => vec![&disk.at],
            Fault::DiskSlow(slow) => vec![&slow.at],
            Fault::Clock(clock) => vec![&clock.at],
        };
        lists.into_iter().flat_map(|names| names.iter()).collect()
    }

    /// Is it of the wire between nodes? Then it lasts however often they go down and come up.
    pub fn is_of_the_wire(&self) -> bool {
        matches!(
            self,
            Fault::Partition(_) | Fault::Oneway(_) | Fault::Delay(_) | Fault::Loss(_) | Fault::Rate(_)
        )
    }

    /// What to type for it.
    pub fn command(&self) -> String {
        let to = |to: &Option<Names>| to.as_ref().map_or(String::new(), |to| format!(" --to {to}"));
        match self {
            Fault::Partition(partition) => {
                let groups: Vec<String> = partition.groups.iter().map(Names::to_string).collect();
                format!("lab fault partition {}", groups.join(" "))
            }
            Fault::Oneway(oneway) => format!("lab fault oneway {} {}", oneway.from, oneway.to),
            Fault::Delay(delay) => {
                let jitter = delay
                    .jitter
                    .map_or(String::new(), |jitter| format!(" --jitter {jitter}"));
                format!(
                    "lab fault delay {}{} --by {}{jitter}",
                    delay.at,
                    to(&delay.to),
                    delay.by
                )
            }
            Fault::Loss(loss) => format!("lab fault loss {}{} --percent {}", loss.at, to(&loss.to), loss.percent),
            Fault::Rate(rate) => format!("lab fault rate {}{} --limit {}", rate.at, to(&rate.to), rate.limit),
            Fault::DiskFull(disk) => format!("lab fault disk-full {} --path {}", disk.at, disk.path),
            Fault::DiskRo(disk) => format!("lab fault disk-ro {} --path {}", disk.at, disk.path),
            Fault::DiskSlow(slow) => format!("lab fault disk-slow {} --by {}", slow.at, slow.by),
            Fault::Clock(clock) => format!("lab fault clock {} --by {}", clock.at, clock.by),
            Fault::Kill(_) | Fault::Pause(_) | Fault::Stop(_) | Fault::Reboot(_) => format!("lab fault {self}"),
        }
    }

    /// What is wrong with it whatever lab it is for.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Fault::Stop(At { unit: None, .. }) => Err("which unit? as in: stop core-01 etcd2".into()),
            Fault::Pause(At { unit: Some(unit), .. }) | Fault::Reboot(At { unit: Some(unit), .. }) => {
                Err(format!("it is of whole nodes, {unit} cannot have it alone"))
            }
            Fault::Loss(Loss { percent, .. }) if !(0.0..=100.0).contains(percent) => {
                Err(format!("{percent} is not between 0 and 100 percent"))
            }
            Fault::Rate(Narrow { limit, .. }) if limit.0 < 1000 => {
                Err(format!("{limit} is less than 1kbit; a partition lets nothing through"))
            }
            Fault::DiskFull(disk) | Fault::DiskRo(disk) if !disk.path.starts_with('/') || disk.path == "/" => Err(
                format!("{:?} is not a directory's path from the root on, below it", disk.path),
            ),
            Fault::DiskSlow(Slow { by, .. }) if by.millis <= 0 => {
                Err(format!("{by} makes no disk slower: write it as 200ms"))
            }
            _ if self.nodes().is_empty() => Err("it names no node".into()),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |to: &Option<Names>| to.as_ref().map_or(String::new(), |to| format!(" to {to}"));
        let unit = |at: &At| at.unit.as_ref().map_or(String::new(), |unit| format!(" {unit}"));
        match self {
            Fault::Kill(at) => write!(f, "kill {}{}", at.at, unit(at)),
            Fault::Pause(at) => write!(f, "pause {}", at.at),
            Fault::Stop(at) => write!(f, "stop {}{}", at.at, unit(at)),
            Fault::Reboot(at) => write!(f, "reboot {}", at.at),
            Fault::Partition(partition) => {
                let groups: Vec<String> = partition.groups.iter().map(Names::to_string).collect();
                let rest = if groups.len() == 1 { " from all others" } else { "" };
                write!(f, "partition {}{rest}", groups.join(" | "))
            }
            Fault::Oneway(oneway) => write!(f, "oneway {} to {}", oneway.from, oneway.to),
            Fault::Delay(delay) => {
                let jitter = delay
                    .jitter
                    .map_or(String::new(), |jitter| format!(" and up to {jitter} more"));
                write!(f, "delay {}{} by {}{jitter}", delay.at, of(&delay.to), delay.by)
            }
            Fault::Loss(loss) => write!(f, "loss {}{} of {} %", loss.at, of(&loss.to), loss.percent),
            Fault::Rate(rate) => write!(f, "rate {}{} at most {}", rate.at, of(&rate.to), rate.limit),
            Fault::DiskFull(disk) => write!(f, "disk-full {} {}", disk.at, disk.path),
            Fault::DiskRo(disk) => write!(f, "disk-ro {} {}", disk.at, disk.path),
            Fault::DiskSlow(slow) => write!(f, "disk-slow {} by {}", slow.at, slow.by),
            Fault::Clock(clock) => write!(f, "clock {} by {}", clock.at, clock.by),
        }
    }
}

/// One that is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    pub id: u32,
    pub fault: Fault,
    /// Since when, and how long still; none: until it is healed.
    pub age: Duration,
    pub left: Option<Duration>,
    /// Why it could not be undone.
    pub stuck: Option<String>,
}
