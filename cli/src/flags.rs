//! What can be typed for settings, rendering and boxes: clap definitions, and the settings that flags are.
use std::path::PathBuf;

use clap::Subcommand;
use clap_complete::Shell;

use crate::args::Format;
use crate::boxes::version::Constraint;
use crate::config::raw::Raw;
use crate::config::{Discovery, Origin, Typed};
use crate::topology::MAX_NODES;

/// Settings for once; docs/lab.yaml.md has them all.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Settings {
    /// How many nodes [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
    pub num_instances: Option<u8>,

    /// MiB of memory of a node [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(64..=1 << 22))]
    pub vm_memory: Option<u32>,

    /// Processors of a node [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub vm_cpus: Option<u16>,

    /// The channel of the box: alpha, beta, stable [default: alpha]
    #[arg(long, value_name = "CHANNEL")]
    pub update_channel: Option<String>,

    /// The version of the box [default: current]
    #[arg(long, value_name = "VERSION")]
    pub image_version: Option<String>,

    /// How the nodes find each other: own, public, none, or a URL [default: own]
    #[arg(long, value_name = "HOW")]
    pub discovery: Option<Discovery>,

    /// The user data of all nodes [default: one that starts etcd2 and fleet]
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<String>,

    /// Nodes start neither etcd nor fleet
    #[arg(long)]
    pub bare: bool,
}

impl Settings {
    pub fn raw(&self) -> Raw {
        fn typed<T: Clone>(value: &Option<T>, flag: &'static str) -> Option<Typed<T>> {
            value.clone().map(|value| Typed::new(value, Origin::Flag(flag)))
        }
        Raw {
            num_instances: typed(&self.num_instances, "num-instances"),
            vm_memory: typed(&self.vm_memory, "vm-memory"),
            vm_cpus: typed(&self.vm_cpus, "vm-cpus"),
            update_channel: typed(&self.update_channel, "update-channel"),
            image_version: typed(&self.image_version, "image-version"),
            discovery: typed(&self.discovery, "discovery"),
            user_data: typed(&self.user_data.clone().map(Some), "user-data"),
            bare: typed(&self.bare.then_some(true), "bare"),
            ..Raw::default()
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct Render {
    /// Where to
    #[arg(long, value_name = "DIR", default_value = "vagrant")]
    pub dir: PathBuf,

    /// Overwrite files that somebody has changed or made there
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, clap::Args)]
pub struct Validate {
    /// Files of user data, too [default: those that the settings name]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, clap::Args)]
pub struct Token {
    /// The service [default: what `discovery` is set to]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// How many members the cluster begins with [default: num_instances]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub size: Option<u8>,
}

#[derive(Debug, clap::Args)]
pub struct Completion {
    pub shell: Shell,
}

#[derive(Debug, Subcommand)]
pub enum BoxVerb {
    /// Install a box from a catalog or a file, by path or URL
    Add(BoxAdd),
    /// Print what is installed
    List(BoxList),
    /// Install the newest version of the catalog; the old one stays until prune
    Update(BoxUpdate),
    /// Tell whether there are newer versions
    Outdated(BoxOutdated),
    /// Remove a box
    Remove(BoxRemove),
    /// Remove old versions
    Prune(BoxPrune),
}

#[derive(Debug, clap::Args)]
pub struct BoxAdd {
    /// A catalog or a box, by path or URL; or the name of the lab's box
    pub source: String,

    /// With this, the one before it is the box's name
    pub file: Option<String>,

    /// What to call a box that comes without a catalog
    #[arg(long)]
    pub name: Option<String>,

    /// For this provider, where there are several
    #[arg(long)]
    pub provider: Option<String>,

    /// RubyGems constraints: '>= 1122, < 1185'
    #[arg(long, value_name = "VERSION")]
    pub box_version: Option<Constraint>,

    /// What the file must have, instead of what the catalog says
    #[arg(long, requires = "checksum_type")]
    pub checksum: Option<String>,

    /// md5, sha1, sha256, sha384 or sha512
    #[arg(long, value_name = "TYPE", requires = "checksum")]
    pub checksum_type: Option<String>,

    /// Also if it is installed
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub struct BoxList {
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Debug, clap::Args)]
pub struct BoxUpdate {
    /// [default: the lab's]
    #[arg(long = "box", value_name = "NAME")]
    pub name: Option<String>,

    #[arg(long)]
    pub provider: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct BoxOutdated {
    /// All that are installed, and not the lab's alone
    #[arg(long)]
    pub global: bool,
}

#[derive(Debug, clap::Args)]
pub struct BoxRemove {
    pub name: String,

    /// Only this provider's
    pub only: Option<String>,

    #[arg(long, conflicts_with = "only")]
    pub provider: Option<String>,

    /// Only this version
    #[arg(long, value_name = "VERSION", conflicts_with = "all")]
    pub box_version: Option<String>,

    /// All versions
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, clap::Args)]
pub struct BoxPrune {
    /// Only tell what would be removed
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Also the version that the lab here is set to
    #[arg(short, long)]
    pub force: bool,

    /// Only boxes of this name
    #[arg(long)]
    pub name: Option<String>,

    /// Only this provider's
    #[arg(long)]
    pub provider: Option<String>,
}
