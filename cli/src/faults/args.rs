//! `lab fault` and `lab heal` as they are typed: clap definitions only.
use clap::{Args, Subcommand};

use super::{At, Clock, DATA, Delay, Disk, Fault, Loss, Names, Narrow, Oneway, Partition, Rate, Slow, Span};
use crate::args::Format;

#[derive(Debug, Subcommand)]
pub enum FaultVerb {
    /// The power of nodes fails, and comes back at the end; with a unit: its processes get SIGKILL
    Kill(Target),
    /// Nothing of the nodes runs, though their connections stay open
    Pause(Target),
    /// A unit is stopped, and started at the end
    Stop(Target),
    /// Nodes go down and come up again by themselves
    Reboot(Target),
    /// Nothing passes between groups of nodes: core-01 core-02,core-03; a single group is cut off from all others
    Partition {
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<Names>,
        #[command(flatten)]
        lease: Lease,
    },
    /// Nothing passes from these nodes to those, while the other direction works
    Oneway {
        from: Names,
        to: Names,
        #[command(flatten)]
        lease: Lease,
    },
    /// What leaves these nodes arrives later
    Delay {
        nodes: Names,
        #[command(flatten)]
        to: To,
        /// So much
        #[arg(long, value_name = "TIME", default_value = "100ms")]
        by: Span,
        /// And by chance up to so much more
        #[arg(long, value_name = "TIME")]
        jitter: Option<Span>,
        #[command(flatten)]
        lease: Lease,
    },
    /// Of what leaves these nodes, some never arrives
    Loss {
        nodes: Names,
        #[command(flatten)]
        to: To,
        #[arg(long, value_name = "N", default_value_t = 10.0)]
        percent: f64,
        #[command(flatten)]
        lease: Lease,
    },
    /// Only so much leaves these nodes
    Rate {
        nodes: Names,
        #[command(flatten)]
        to: To,
        #[arg(long, value_name = "RATE", default_value = "1mbit")]
        limit: Rate,
        #[command(flatten)]
        lease: Lease,
    },
    /// A directory's disk has no room
    DiskFull(Directory),
    /// A directory's disk can only be read
    DiskRo(Directory),
    /// What labnode's programs keep on a node's disk takes longer to be kept
    DiskSlow {
        nodes: Names,
        /// Each sync by this
        #[arg(long, value_name = "TIME", default_value = "200ms", allow_hyphen_values = true)]
        by: Span,
        #[command(flatten)]
        lease: Lease,
    },
    /// A node's clock is wrong, as labnode's programs see it
    Clock {
        nodes: Names,
        /// Ahead by this; behind with a minus
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        by: Span,
        #[command(flatten)]
        lease: Lease,
    },
    /// Nodes are lost for good, with their disks: lab destroy -f
    Destroy {
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Tell which faults are in force
    Ls {
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub struct Target {
    /// One, or several: core-01,core-02
    pub nodes: Names,

    /// As systemd calls it: etcd2, fleet
    pub unit: Option<String>,

    #[command(flatten)]
    pub lease: Lease,
}

#[derive(Debug, Args)]
pub struct Directory {
    pub nodes: Names,

    #[arg(long, value_name = "DIRECTORY", default_value = DATA)]
    pub path: String,

    #[command(flatten)]
    pub lease: Lease,
}

#[derive(Debug, Args)]
pub struct To {
    /// Only what is for these [default: all other nodes]
    #[arg(long, value_name = "NODES")]
    pub to: Option<Names>,
}

#[derive(Clone, Debug, Args)]
pub struct Lease {
    /// Until then, and no longer [default: until lab heal]
    #[arg(id = "for", long = "for", value_name = "TIME")]
    pub limit: Option<Span>,

    /// What chance begins with, for the same losses again
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Heal {
    /// As lab fault ls has them [default: all]
    pub ids: Vec<u32>,

    /// All of them, which is what happens without numbers as well
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
}

impl FaultVerb {
    /// The fault that is meant and its lease, where it is one.
    pub fn fault(self) -> Option<(Fault, Lease)> {
        let at = |target: Target| {
            let at = At {
                at: target.nodes,
                unit: target.unit,
            };
            (at, target.lease)
        };
        let disk = |directory: Directory| {
            let disk = Disk {
                at: directory.nodes,
                path: directory.path,
            };
            (disk, directory.lease)
        };
        Some(match self {
            FaultVerb::Kill(target) => with(Fault::Kill, at(target)),
            FaultVerb::Pause(target) => with(Fault::Pause, at(target)),
            FaultVerb::Stop(target) => with(Fault::Stop, at(target)),
            FaultVerb::Reboot(target) => with(Fault::Reboot, at(target)),
            FaultVerb::Partition { groups, lease } => (Fault::Partition(Partition { groups }), lease),
            FaultVerb::Oneway { from, to, lease } => (Fault::Oneway(Oneway { from, to }), lease),
            FaultVerb::Delay {
                nodes: at,
                to: To { to },
                by,
                jitter,
                lease,
            } => (Fault::Delay(Delay { at, to, by, jitter }), lease),
            FaultVerb::Loss {
                nodes: at,
                to: To { to },
                percent,
                lease,
            } => (Fault::Loss(Loss { at, to, percent }), lease),
            FaultVerb::Rate {
                nodes: at,
                to: To { to },
                limit,
                lease,
            } => (Fault::Rate(Narrow { at, to, limit }), lease),
            FaultVerb::DiskFull(directory) => with(Fault::DiskFull, disk(directory)),
            FaultVerb::DiskRo(directory) => with(Fault::DiskRo, disk(directory)),
            FaultVerb::DiskSlow { nodes: at, by, lease } => (Fault::DiskSlow(Slow { at, by }), lease),
            FaultVerb::Clock { nodes: at, by, lease } => (Fault::Clock(Clock { at, by }), lease),
            FaultVerb::Destroy { .. } | FaultVerb::Ls { .. } => return None,
        })
    }
}

fn with<T>(make: impl Fn(T) -> Fault, (of, lease): (T, Lease)) -> (Fault, Lease) {
    (make(of), lease)
}
