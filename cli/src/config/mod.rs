//! The settings of a lab: from lab.yaml, coreos-vagrant's config.rb and flags to what is meant.
//!
//! `settings!` below is the one list of them: a name (coreos-vagrant's, where it has it), a type and a default.
pub mod certificates;
pub mod config_rb;
pub mod lab_yaml;
mod load;
pub mod raw;
pub mod resolved;
mod value;
pub mod yaml;

pub use load::{file, load, num_instances};
pub use value::{Origin, Setting, Typed, Value};

/// How the members of the lab's cluster find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// By a service of the lab's own.
    Own,
    /// By a token of the public service.
    Public,
    /// By this token, or one of that service when it ends in `/new`.
    Url(String),
    /// Not at all: each node is alone until somebody says otherwise.
    None,
}

/// Calls `$then!` with every setting.
macro_rules! settings {
    ($then:ident) => {
        $then! {
            /// How many nodes.
            num_instances: u8 = 3;
            /// What a node's name begins with: `core` makes core-01, core-02, ...
            instance_name_prefix: String = "core".to_string();
            /// The channel of the box: alpha, beta or stable.
            update_channel: String = "alpha".to_string();
            /// The version of the box; `current` is the newest.
            image_version: String = "current".to_string();
            /// The box's name, for one that is not CoreOS's own.
            box_name: Option<String> = None;
            /// Where that box, or its catalog, is.
            box_url: Option<String> = None;
            /// MiB of memory of a node.
            vm_memory: u32 = 1024;
            /// Processors of a node.
            vm_cpus: u16 = 1;
            /// Per cent of a processor that a node may use; VirtualBox only.
            vb_cpuexecutioncap: u8 = 100;
            /// Show the virtual machines' screens.
            vm_gui: bool = false;
            /// Write each node's console to log/NAME-serial.txt.
            enable_serial_logging: bool = false;
            /// Share the home directory of whoever runs this at the same path.
            share_home: bool = false;
            /// Folders are shared by NFS, which may ask for a password, and not copied by rsync.
            nfs: bool = false;
            /// Folders of the host, and where nodes have them.
            shared_folders: std::collections::BTreeMap<String, String> = Default::default();
            /// Ports of each node, and the host's that lead there, or to the next free ones.
            forwarded_ports: std::collections::BTreeMap<u16, u16> = Default::default();
            /// The host's port that leads to docker's on core-01; each next node has the next one.
            expose_docker_tcp: Option<u16> = None;
            /// This machine has an interface in the lab's network, as with Vagrant.
            host_interface: bool = false;
            /// How the nodes find each other: own, public, a URL, or none.
            discovery: crate::config::Discovery = crate::config::Discovery::Own;
            /// The file of user data for all nodes.
            user_data: Option<String> = None;
            /// Nodes start neither etcd nor fleet.
            bare: bool = false;
            /// Nodes have certificates of a CA of the lab's own.
            certificates: crate::config::certificates::Certificates = Default::default();
        }
    };
}
pub(crate) use settings;

impl Setting for Discovery {
    const EXPECTED: &'static str = "own, public, none, or a URL";

    fn read(value: &Value) -> Option<Discovery> {
        match value {
            Value::Nil => Some(Discovery::None),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl std::str::FromStr for Discovery {
    type Err = String;

    fn from_str(text: &str) -> Result<Discovery, String> {
        match text {
            "own" => Ok(Discovery::Own),
            "public" => Ok(Discovery::Public),
            "none" => Ok(Discovery::None),
            url if url.starts_with("http://") || url.starts_with("https://") => Ok(Discovery::Url(url.to_string())),
            other => Err(format!("{} is expected, not {other}", Discovery::EXPECTED)),
        }
    }
}

impl std::fmt::Display for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Discovery::Own => "own",
            Discovery::Public => "public",
            Discovery::Url(url) => url,
            Discovery::None => "none",
        })
    }
}

/// The name that was meant, if one is near.
pub fn closest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = |name: &&'a str| (strsim::jaro_winkler(typed, name), *name);
    let best = known.iter().map(near).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(similarity, _)| *similarity > 0.8).map(|(_, name)| name)
}
