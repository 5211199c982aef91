//! What a lab's nodes are: namespaces of this kernel, or virtual machines that vagrant makes.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Those of vagrant's that the rendered Vagrantfile knows.
pub const VAGRANTS: [&str; 6] = [
    "virtualbox",
    "libvirt",
    "vmware_desktop",
    "vmware_fusion",
    "vmware_workstation",
    "parallels",
];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Provider {
    #[default]
    Local,
    /// With this provider of its own, or the one that it chooses.
    Vagrant(Option<String>),
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Provider, String> {
        match text {
            "local" => Ok(Provider::Local),
            "vagrant" => Ok(Provider::Vagrant(None)),
            name if VAGRANTS.contains(&name) => Ok(Provider::Vagrant(Some(name.to_string()))),
            _ => Err(format!("local, vagrant, {} are expected", VAGRANTS.join(", "))),
        }
    }
}

impl TryFrom<String> for Provider {
    type Error = String;

    fn try_from(text: String) -> Result<Provider, String> {
        text.parse()
    }
}

impl From<Provider> for String {
    fn from(provider: Provider) -> String {
        provider.to_string()
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provider::Local => "local",
            Provider::Vagrant(name) => name.as_deref().unwrap_or("vagrant"),
        })
    }
}
