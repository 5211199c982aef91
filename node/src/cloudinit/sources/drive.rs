//! Directories that a host mounts: OpenStack's config drive, and what Azure's agent leaves.
use std::collections::BTreeMap;
use std::io::ErrorKind;

use roxmltree::{Document, Node};
use serde::Deserialize;

use super::Metadata;
use crate::cloudconfig::go::quote;
use crate::cloudconfig::paths;
use crate::cloudinit::log::say;
use crate::cloudinit::root::Root;

/// A file that is not there is empty.
fn try_read(root: &Root, path: &str) -> Result<Vec<u8>, String> {
    let path = paths::clean(path);
    say(&format!("Attempting to read from {}", quote(&path)));
    match root.read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        _ => root.read_go(&path),
    }
}

pub fn user_data(root: &Root, dir: &str) -> Result<Vec<u8>, String> {
    try_read(root, &format!("{dir}/openstack/latest/user_data"))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OpenStack {
    public_keys: Option<BTreeMap<String, String>>,
    hostname: Option<String>,
    network_config: Option<NetworkConfig>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NetworkConfig {
    content_path: String,
}

pub fn metadata(root: &Root, dir: &str) -> Result<Metadata, String> {
    let data = try_read(root, &format!("{dir}/openstack/latest/meta_data.json"))?;
    if data.is_empty() {
        return Ok(Metadata::default());
    }
    let found: OpenStack = serde_json::from_slice(&data).map_err(|error| error.to_string())?;
    let path = found.network_config.unwrap_or_default().content_path;
    let network = match path.is_empty() {
        true => None,
        false => Some(try_read(root, &format!("{dir}/openstack/{path}"))?),
    };
    Ok(Metadata {
        hostname: found.hostname.unwrap_or_default(),
        ssh_keys: found.public_keys.unwrap_or_default().into_values().collect(),
        addresses: Vec::new(),
        network,
    })
}

pub fn custom_data(root: &Root, dir: &str) -> Result<Vec<u8>, String> {
    try_read(root, &format!("{dir}/CustomData"))
}

pub fn shared_config(root: &Root, dir: &str) -> Result<Metadata, String> {
    let data = try_read(root, &format!("{dir}/SharedConfig.xml"))?;
    let mut metadata = Metadata::default();
    if data.is_empty() {
        return Ok(metadata);
    }
    let text = String::from_utf8_lossy(&data);
    let document = Document::parse(&text).map_err(|error| format!("{dir}/SharedConfig.xml: {error}"))?;
    let named = |name: &'static str| move |node: &Node<'_, '_>| node.has_tag_name(name);
    let top = document.root_element();
    let attribute = |node: Option<Node<'_, '_>>, name: &str| {
        node.and_then(|node| node.attribute(name))
            .unwrap_or_default()
            .to_string()
    };
    let ours = attribute(top.children().find(named("Incarnation")), "instance");
    let mut instances = top.descendants().filter(named("Instance"));
    let Some(instance) = instances.find(|node| node.attribute("id") == Some(&ours)) else {
        return Ok(metadata);
    };
    metadata.address("COREOS_PRIVATE_IPV4", instance.attribute("address").unwrap_or_default());
    let endpoints = instance.descendants().filter(named("Endpoint"));
    let mut public = endpoints.filter_map(|node| node.attribute("loadBalancedPublicAddress")?.rsplit_once(':'));
    if let Some((host, _)) = public.next() {
        metadata.address("COREOS_PUBLIC_IPV4", host);
    }
    Ok(metadata)
}
