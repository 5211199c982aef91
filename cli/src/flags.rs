//! What can be typed for settings, rendering and boxes: clap definitions, and the settings that flags are.
use std::path::PathBuf;

use clap::Subcommand;
use clap_complete::Shell;

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
pub enum BoxVerb {}
