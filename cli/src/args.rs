//! What can be typed: clap definitions only.
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub use crate::exercise::args::{Back, Exercises, Learn, Prove};
pub use crate::faults::args::{FaultVerb, Heal};
pub use crate::flags::{BoxVerb, Completion, Render, Settings, Token, Validate};
use crate::provider::Provider;

/// A cluster of machines on this one: real systemd, real ssh, real failures.
#[derive(Debug, Parser)]
#[command(name = "lab", version, after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start what is missing of the lab and wait until it is ready
    Up(Up),
    /// Tell what each node is and does
    Status(Status),
    /// Shut nodes down; their disks stay
    #[command(visible_alias = "down")]
    Halt(Halt),
    /// Remove nodes with their disks; with the last one, the lab
    Destroy(Destroy),
    /// Shut nodes down and start them again
    Reload(Reload),
    /// Apply changed user data to nodes that run
    Provision(Nodes),
    /// A shell on a node, or a command: lab ssh core-01 -- uptime
    Ssh(Ssh),
    /// Print how OpenSSH reaches the nodes
    SshConfig(SshConfig),
    /// Run a command on many nodes at once: lab exec all -- uptime
    Exec(Exec),
    /// Copy files from and to nodes: lab cp FILE core-01:
    Cp(Cp),
    /// Print what a node has printed on its console, over all its boots
    Logs(Logs),
    /// Attach to a node's console
    Console(Console),
    /// Tell which ports of 127.0.0.1 lead where
    Port(Nodes),
    /// What nodes are made of
    #[command(subcommand)]
    Image(Image),
    /// Tell what this machine lacks, what that blocks, and how to mend it
    Doctor(Doctor),
    /// Remove what labs have left whose directory is gone
    Gc(Gc),
    /// Carry an ssh client's connection to a node: its ProxyCommand
    Proxy(Proxy),
    /// Write a Vagrantfile, config.rb and user data that work with plain vagrant
    Render(Render),
    /// Write a lab.yaml to start from
    Init,
    /// Check lab.yaml, config.rb and the user data
    Validate(Validate),
    /// Fetch a discovery token
    Token(Token),
    /// Keep versioned, checked boxes: add, list, update, outdated, remove, prune
    #[command(subcommand)]
    Box(BoxVerb),
    /// Have something go wrong: a node, a unit, a disk, a clock, the wire between nodes
    #[command(subcommand)]
    Fault(FaultVerb),
    /// Undo faults: all of them, or those with these numbers
    Heal(Heal),
    /// Guided exercises: what there is, or go through one
    Learn(Learn),
    /// Put an exercise's nodes back to where they were before a step
    Back(Back),
    /// Show that an exercise proves something: red before, green after, red again without any one of its actions
    Prove(Prove),
    /// Check exercises without running them
    Lint(Exercises),
    /// Print the JSON Schema of exercises
    Schema,
    /// Print the completion script for a shell
    Completion(Completion),
    /// Print the version
    Version,
    /// The process that a lab is; started by `lab up`
    #[command(hide = true)]
    Supervise { dir: PathBuf },
    /// Removes the files of a node's users; started by `lab destroy`
    #[command(hide = true)]
    Erase { dir: PathBuf },
    /// A node's first process; started by the supervisor
    #[command(hide = true)]
    Boot { name: String },
}

#[derive(Debug, clap::Args)]
pub struct Up {
    /// Only these nodes
    pub nodes: Vec<String>,

    /// What nodes are: local, vagrant, or a provider of vagrant's [default: what the lab has, or local]
    #[arg(long)]
    pub provider: Option<Provider>,

    /// Reload nodes whose user data has changed
    #[arg(long)]
    pub reload: bool,

    /// Do not wait longer than this; the nodes run on
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,

    /// Only tell what would be done
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, clap::Args)]
pub struct Status {
    /// Only these nodes
    pub nodes: Vec<String>,

    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Every setting, its value, and where that comes from
    #[arg(long)]
    pub settings: bool,
}

#[derive(Debug, clap::Args)]
pub struct Halt {
    /// Only these nodes
    pub nodes: Vec<String>,

    /// At once, as if the power failed
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub struct Destroy {
    /// Only these nodes
    pub nodes: Vec<String>,

    /// Without asking
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub struct Reload {
    /// Only these nodes
    pub nodes: Vec<String>,

    /// With new user data
    #[arg(long)]
    pub provision: bool,
}

#[derive(Debug, clap::Args)]
pub struct Ssh {
    /// [default: the first node]
    pub node: Option<String>,

    /// A command to run instead of a shell
    #[arg(short, long)]
    pub command: Option<String>,

    /// ssh's options, then a command
    #[arg(last = true)]
    pub rest: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct SshConfig {
    /// Only these nodes
    pub nodes: Vec<String>,

    /// What to call the node
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,

    /// Include the lab in ~/.ssh/config, so that plain ssh, scp and rsync know its nodes
    #[arg(long, conflicts_with_all = ["nodes", "host", "uninstall"])]
    pub install: bool,

    /// Take it out again; `lab destroy` does, too
    #[arg(long, conflicts_with_all = ["nodes", "host"])]
    pub uninstall: bool,
}

#[derive(Debug, clap::Args)]
pub struct Exec {
    /// Names with commas between them, or all
    pub nodes: String,

    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct Cp {
    #[arg(short, long)]
    pub recursive: bool,

    /// As scp takes them: FILE... NODE:PATH, or NODE:FILE... PATH
    #[arg(required = true, num_args = 2..)]
    pub paths: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct Logs {
    pub node: String,

    /// Go on as it prints
    #[arg(short, long)]
    pub follow: bool,
}

#[derive(Debug, clap::Args)]
pub struct Console {
    pub node: String,
}

#[derive(Debug, clap::Args)]
pub struct Nodes {
    /// Only these nodes
    pub nodes: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Make the image of Debian packages, if it is not there
    Build {
        /// Also if it is
        #[arg(short, long)]
        force: bool,
    },
    /// Take an image that another machine has built
    Add { file: PathBuf },
    /// Print where the image is
    Path,
}

#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Type the fixes
    #[arg(long)]
    pub fix: bool,

    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Only tell what would be removed
    #[arg(long)]
    pub dry_run: bool,

    /// Images as well: the next lab builds its own
    #[arg(long)]
    pub images: bool,
}

#[derive(Debug, clap::Args)]
pub struct Proxy {
    pub host: String,
    pub port: u16,

    /// Hand the connection to ssh instead of carrying it (ProxyUseFdpass)
    #[arg(long)]
    pub fdpass: bool,

    /// The lab's state, from anywhere
    #[arg(long, hide = true)]
    pub state: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check is red, 10 something needed is missing, 11 conflict,
12 timeout, 13 not for this kind of nodes";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_setting_has_a_flag_and_a_wrong_value_is_refused() {
        use crate::config::raw::Raw;
        let command = Args::command();
        let up = command.find_subcommand("up").expect("up");
        for name in Raw::NAMES {
            let long = name.replace('_', "-");
            assert!(up.get_arguments().any(|arg| arg.get_long() == Some(&long)), "--{long}");
        }
        let parse = |flag: &str| Args::try_parse_from(["lab", "up", flag]).is_ok();
        for (flag, fits) in [
            ("--bare", true),
            ("--bare=false", true),
            ("--forwarded-ports=80=8080,443=8443", true),
            ("--forwarded-ports=80", false),
            ("--forwarded-ports=80=99999", false),
            ("--vm-memory=1", false),
        ] {
            assert_eq!(parse(flag), fits, "{flag}");
        }
    }

    #[test]
    fn what_flags_said_is_the_same_after_it_was_kept() {
        use crate::config::{Origin, Value};
        let words = [
            "lab",
            "up",
            "--num-instances=2",
            "--bare=false",
            "--forwarded-ports=80=8080",
            "--discovery=none",
            "--shared-folders=./a=/a,80=/b",
            "--image-version=1122.2",
        ];
        let Verb::Up(up) = Args::try_parse_from(words).expect("flags").verb else {
            panic!("another verb");
        };
        let said = up.settings.said();
        let kept = said
            .iter()
            .map(|(name, value)| (name.clone(), Value::from_json(&value.to_json())))
            .collect();
        let [now, then] = [&said, &kept].map(|said| crate::flags::raw(said, Origin::Flag).expect("settings"));
        assert_eq!(now, then);
        assert_eq!(now.num_instances.expect("said").origin.to_string(), "--num-instances");
    }

    #[test]
    fn a_lab_has_as_many_nodes_as_addresses() {
        for (typed, fits) in [("0", false), ("1", true), ("154", true), ("155", false)] {
            let parsed = Args::try_parse_from(["lab", "up", "--num-instances", typed]);
            assert_eq!(parsed.is_ok(), fits, "{typed}");
        }
    }
}
