//! VMware: guestinfo through the host's tools, or an OVF environment file with the same properties.
use std::collections::BTreeMap;

use roxmltree::Document;
use tokio::process::Command;

use super::{Metadata, http};
use crate::cloudconfig::content;
use crate::cloudconfig::go::quote;
use crate::cloudinit::log::say;
use crate::cloudinit::root::Root;

pub enum Guest {
    /// vmware-rpctool asks the hypervisor.
    Tools,
    Ovf(BTreeMap<String, String>),
}

/// Is this one of VMware's machines?
pub fn is_available(root: &Root) -> bool {
    let vendor = root.read("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    vendor.starts_with(b"VMware")
}

pub fn ovf(root: &Root, path: &str) -> Result<Guest, String> {
    let data = root.read_go(path)?;
    let text = String::from_utf8_lossy(&data);
    let document = Document::parse(&text).map_err(|error| format!("{path}: {error}"))?;
    let properties = document
        .descendants()
        .filter(|node| node.tag_name().name() == "Property");
    let attribute = |node: roxmltree::Node<'_, '_>, name: &str| {
        let found = node.attributes().find(|attribute| attribute.name() == name);
        found.map(|attribute| attribute.value().to_string())
    };
    let pairs = properties.filter_map(|node| Some((attribute(node, "key")?, attribute(node, "value")?)));
    Ok(Guest::Ovf(pairs.collect()))
}

impl Guest {
    /// A value under "guestinfo."; empty where there is none.
    async fn read(&self, key: &str) -> String {
        let key = format!("guestinfo.{key}");
        match self {
            Guest::Ovf(properties) => properties.get(&key).cloned().unwrap_or_default(),
            Guest::Tools => {
                let mut tool = Command::new("vmware-rpctool");
                let output = tool.arg(format!("info-get {key}")).kill_on_drop(true).output().await;
                match output {
                    Ok(output) if output.status.success() => {
                        let text = String::from_utf8_lossy(&output.stdout)
                            .trim_end_matches('\n')
                            .to_string();
                        say(&format!("Read from {}: {}", quote(&key), quote(&text)));
                        text
                    }
                    Ok(_) => String::new(),
                    Err(error) => {
                        say(&format!("Failed to read from {}: vmware-rpctool: {error}", quote(&key)));
                        String::new()
                    }
                }
            }
        }
    }
}

pub async fn user_data(guest: &Guest) -> Result<Vec<u8>, String> {
    let encoding = guest.read("coreos.config.data.encoding").await;
    let mut data = guest.read("coreos.config.data").await.into_bytes();
    if data.is_empty() {
        let url = guest.read("coreos.config.url").await;
        if !url.is_empty() {
            data = http::get_retry(&url).await.map_err(|error| error.to_string())?;
        }
    }
    content::decode(&data, &encoding)
}

pub async fn metadata(guest: &Guest) -> Result<Metadata, String> {
    let hostname = guest.read("hostname").await;
    let mut metadata = Metadata {
        hostname,
        ..Metadata::default()
    };
    let mut kept = String::new();
    let mut keep = async |key: String| {
        let value = guest.read(&key).await;
        if !value.is_empty() {
            kept += &format!("{key}={value}\n");
        }
        value
    };
    for kind in ["server", "domain"] {
        for number in 0.. {
            if keep(format!("dns.{kind}.{number}")).await.is_empty() {
                break;
            }
        }
    }
    for number in 0.. {
        let mut found = false;
        for key in ["name", "mac", "dhcp"] {
            found |= !keep(format!("interface.{number}.{key}")).await.is_empty();
        }
        let role = guest.read(&format!("interface.{number}.role")).await;
        for at in 0.. {
            let address = keep(format!("interface.{number}.ip.{at}.address")).await;
            let Some((ip, _)) = address.split_once('/') else {
                match address.is_empty() {
                    true => break,
                    false => return Err(format!("invalid CIDR address: {address}")),
                }
            };
            found = true;
            let variable = match (role.as_str(), ip.contains(':')) {
                ("public", false) => "COREOS_PUBLIC_IPV4",
                ("public", true) => "COREOS_PUBLIC_IPV6",
                ("private", false) => "COREOS_PRIVATE_IPV4",
                ("private", true) => "COREOS_PRIVATE_IPV6",
                ("", _) => continue,
                _ => return Err(format!("unrecognized role: {}", quote(&role))),
            };
            metadata.address(variable, ip);
        }
        for at in 0.. {
            let gateway = keep(format!("interface.{number}.route.{at}.gateway")).await;
            let destination = keep(format!("interface.{number}.route.{at}.destination")).await;
            if gateway.is_empty() && destination.is_empty() {
                break;
            }
            found = true;
        }
        if !found {
            break;
        }
    }
    metadata.network = Some(kept.into_bytes());
    Ok(metadata)
}
