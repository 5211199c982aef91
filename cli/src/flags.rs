//! What can be typed for settings, rendering and boxes: clap definitions, and the settings that flags are.
use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use clap_complete::Shell;

use crate::args::Format;
use crate::boxes::version::Constraint;
use crate::config::raw::Raw;
use crate::config::{Discovery, Origin, Value, settings};
use crate::failure::{Exit, Failure};
use crate::topology::MAX_NODES;

/// Settings, in place of what the files say; docs/lab.yaml.md has them all.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// How many nodes [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
    pub num_instances: Option<u8>,

    /// What names begin with: core makes core-01, core-02, ... [default: core]
    #[arg(long, visible_alias = "prefix", value_name = "TEXT")]
    pub instance_name_prefix: Option<String>,

    /// MiB of memory of a node [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(64..=1 << 22))]
    pub vm_memory: Option<u32>,

    /// Processors of a node [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub vm_cpus: Option<u16>,

    /// How the nodes find each other: own, public, none, or a URL [default: own]
    #[arg(long, value_name = "HOW")]
    pub discovery: Option<Discovery>,

    /// The user data of all nodes [default: one that starts etcd2 and fleet]
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<String>,

    /// Nodes start neither etcd nor fleet
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub bare: Option<bool>,

    /// Nodes have certificates of a CA of the lab's own, and the lab's etcd2 asks for them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub certificates: Option<bool>,

    /// Ports of each node, and the host's that lead there: 80=8080,443=8443
    #[arg(long, value_name = "GUEST=HOST", value_parser = ports)]
    pub forwarded_ports: Option<Pairs>,

    /// The host's port that leads to docker's on the first node; each next node has the next one
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub expose_docker_tcp: Option<u16>,

    /// This machine has an interface in the lab's network: root only, one lab at a time
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub host_interface: Option<bool>,

    /// The channel of the box: alpha, beta, stable [default: alpha]
    #[arg(long, value_name = "CHANNEL")]
    pub update_channel: Option<String>,

    /// The version of the box [default: current]
    #[arg(long, value_name = "VERSION")]
    pub image_version: Option<String>,

    /// The box's name, for one that is not CoreOS's own
    #[arg(long, value_name = "NAME")]
    pub box_name: Option<String>,

    /// Where that box, or its catalog, is
    #[arg(long, value_name = "URL")]
    pub box_url: Option<String>,

    /// Per cent of a processor that a node may use; VirtualBox only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub vb_cpuexecutioncap: Option<u8>,

    /// Show the virtual machines' screens
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub vm_gui: Option<bool>,

    /// Write each virtual machine's console to log/NAME-serial.txt
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_serial_logging: Option<bool>,

    /// Share the home directory with virtual machines, at the same path
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub share_home: Option<bool>,

    /// Folders of the host, and where virtual machines have them: ./src=/src,/data=/data
    #[arg(long, value_name = "HOST=GUEST", value_parser = pairs)]
    pub shared_folders: Option<Pairs>,

    /// Share folders by NFS, and not by rsync
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub nfs: Option<bool>,
}

/// A map as it is typed: `a=b,c=d`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs(Vec<(Value, Value)>);

fn pairs(text: &str) -> Result<Pairs, String> {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((Value::Text(key.to_string()), Value::Text(value.to_string())))
        }
        _ => Err(format!("a pair is written A=B, {pair:?} is none")),
    };
    let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(pair);
    pairs.collect::<Result<_, _>>().map(Pairs)
}

fn ports(text: &str) -> Result<Pairs, String> {
    let port = |text: Value| match &text {
        Value::Text(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Value::Int(port.into())),
            _ => Err(format!("{digits} is no port")),
        },
        _ => Err(format!("{text} is no port")),
    };
    let pairs = pairs(text)?.0.into_iter();
    let pairs = pairs.map(|(guest, host)| Ok((port(guest)?, port(host)?)));
    pairs.collect::<Result<_, String>>().map(Pairs)
}

/// What a flag says, as one of the files would say it.
trait Said {
    fn said(&self) -> Value;
}

impl Said for bool {
    fn said(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Said for String {
    fn said(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl Said for Discovery {
    fn said(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl Said for Pairs {
    fn said(&self) -> Value {
        Value::Map(self.0.clone())
    }
}

macro_rules! numbers {
    ($($type:ty)*) => { $(
        impl Said for $type {
            fn said(&self) -> Value {
                Value::Int((*self).into())
            }
        }
    )* };
}
numbers!(u8 u16 u32);

macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        impl Settings {
            /// What was typed, by the settings' names.
            pub fn said(&self) -> BTreeMap<String, Value> {
                let mut said = BTreeMap::new();
                $(if let Some(value) = &self.$name {
                    said.insert(stringify!($name).to_string(), value.said());
                })*
                said
            }
        }
    };
}
settings!(declare);

/// What flags say, checked as the files' values are.
pub fn raw(said: &BTreeMap<String, Value>, origin: fn(&'static str) -> Origin) -> Result<Raw, Failure> {
    let mut raw = Raw::default();
    for (name, value) in said {
        // A lab's record may be of another version of this program.
        let Some(name) = Raw::NAMES.iter().find(|known| *known == name) else {
            continue;
        };
        let origin = origin(name);
        let place = origin.to_string();
        raw.set(name, value, origin).map_err(|why| {
            let todo = format!("docs/lab.yaml.md says what {name} may be");
            Failure::new(Exit::Usage, format!("{name} has a wrong value"), place, why, todo)
        })?;
    }
    Ok(raw)
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
