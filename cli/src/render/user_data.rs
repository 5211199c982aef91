//! A node's cloud-config: the lab's own, or the user's with what the lab knows put in (pure).
//!
//! `$public_ipv4` and `$private_ipv4` stay: coreos-cloudinit replaces them in the node.
use super::certificates::Certificate;
use super::scalar;
use crate::config::certificates::Certificates;
use crate::config::yaml;
use crate::failure::{Failure, Place};
use crate::topology::Node;

/// How the members of the cluster find each other, as they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// By a token's URL.
    Token(String),
    /// By a list of all, which needs no service.
    Static(Vec<(String, String)>),
    /// Not at all.
    Alone,
}

impl Bootstrap {
    /// All nodes by name and peer URL.
    pub fn all(nodes: &[Node], certificates: &Certificates) -> Bootstrap {
        let scheme = scheme(certificates.wanted && certificates.peer);
        let url = |node: &Node| format!("{scheme}://{}:2380", node.address);
        Bootstrap::Static(nodes.iter().map(|node| (node.name.clone(), url(node))).collect())
    }

    /// What etcd is told, beside its name.
    fn option(&self) -> Option<(&'static str, String)> {
        match self {
            Bootstrap::Token(url) => Some(("discovery", url.clone())),
            Bootstrap::Static(members) => {
                let pairs: Vec<String> = members.iter().map(|(name, url)| format!("{name}={url}")).collect();
                Some(("initial-cluster", pairs.join(",")))
            }
            Bootstrap::Alone => None,
        }
    }
}

fn scheme(with_certificates: bool) -> &'static str {
    if with_certificates { "https" } else { "http" }
}

/// What a node of the lab's own making starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Services {
    pub etcd: bool,
    pub fleet: bool,
}

/// The user data of nodes whose user has none.
pub fn default(
    node: &Node,
    bootstrap: &Bootstrap,
    services: Services,
    certificate: Option<&Certificate<'_>>,
) -> String {
    let settings = certificate.map(|certificate| certificate.settings);
    let dir = settings.map_or("", |settings| settings.dir.as_str());
    let (client, peer) = settings.map_or((false, false), |settings| (settings.client, settings.peer));
    let (clients, peers) = (scheme(client), scheme(peer));
    let mut text = format!("#cloud-config\n\nhostname: {}\n", node.name);
    let metadata = metadata(node);
    let mut units = Vec::new();
    if services.etcd || services.fleet || !metadata.is_empty() {
        text.push_str("\ncoreos:\n");
    }
    if services.etcd {
        text.push_str(&format!("  etcd2:\n    name: {}\n", node.name));
        if let Some((key, value)) = bootstrap.option() {
            text.push_str(&format!("    {key}: {value}\n"));
        }
        text.push_str(&format!(
            "    advertise-client-urls: {clients}://$public_ipv4:2379
    initial-advertise-peer-urls: {peers}://$private_ipv4:2380
    listen-client-urls: {clients}://0.0.0.0:2379,{clients}://0.0.0.0:4001
    listen-peer-urls: {peers}://$private_ipv4:2380,{peers}://$private_ipv4:7001
"
        ));
        for (_, side) in [(client, ""), (peer, "peer-")]
            .into_iter()
            .filter(|(wanted, _)| *wanted)
        {
            text.push_str(&format!(
                "    {side}cert-file: {dir}/node.crt
    {side}key-file: {dir}/node.key
    {side}trusted-ca-file: {dir}/ca.crt
    {side}client-cert-auth: true
"
            ));
        }
        units.push("etcd2.service");
    }
    if services.fleet || !metadata.is_empty() {
        text.push_str("  fleet:\n    public-ip: $public_ipv4\n");
        if client {
            text.push_str(&format!(
                "    etcd-servers: https://$public_ipv4:2379
    etcd-cafile: {dir}/ca.crt
    etcd-certfile: {dir}/node.crt
    etcd-keyfile: {dir}/node.key
"
            ));
        }
        if !metadata.is_empty() {
            text.push_str(&format!("    metadata: {}\n", serde_json::Value::String(metadata)));
        }
    }
    if services.fleet {
        units.push("fleet.service");
    }
    if !units.is_empty() {
        text.push_str("  units:\n");
    }
    for unit in units {
        text.push_str(&format!("    - name: {unit}\n      command: start\n"));
    }
    text + &certificate.map(Certificate::section).unwrap_or_default()
}

/// As fleet takes it: `disk=ssd,role=database`.
fn metadata(node: &Node) -> String {
    let pairs: Vec<String> = node
        .metadata
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// A user's file for one node. What is no cloud-config, a script for one, is left as it is.
pub fn personal(
    file: &str,
    text: &str,
    node: &Node,
    bootstrap: &Bootstrap,
    certificate: Option<&Certificate<'_>>,
) -> Result<String, Failure> {
    let edited = with_bootstrap(file, text, node, bootstrap)?;
    certificate.map_or(Ok(edited.clone()), |certificate| certificate.insert(file, &edited))
}

fn with_bootstrap(file: &str, text: &str, node: &Node, bootstrap: &Bootstrap) -> Result<String, Failure> {
    if !is_cloud_config(text) {
        return Ok(text.to_string());
    }
    let document = yaml::parse(file, text)?;
    let mut edited = text.to_string();
    for section in ["etcd", "etcd2"] {
        let Some(options) = document.get("coreos").and_then(|coreos| coreos.get(section)) else {
            continue;
        };
        // A list of members that somebody wrote is how they want it.
        let is_set = |key: &str| options.get(key).is_some_and(|value| !value.is_null());
        if is_set("initial-cluster") {
            continue;
        }
        if let (Bootstrap::Static(_), Some(at)) = (bootstrap, yaml::key(text, &["coreos", section, "discovery"])) {
            return Err(no_token(file, text, at));
        }
        let Some((key, value)) = bootstrap.option() else {
            continue;
        };
        edited = scalar::set(file, &edited, &["coreos", section, key], &value)?;
        if !is_set("name") || matches!(bootstrap, Bootstrap::Static(_)) {
            edited = scalar::set(file, &edited, &["coreos", section, "name"], &node.name)?;
        }
    }
    if !node.metadata.is_empty() {
        edited = scalar::set(file, &edited, &["coreos", "fleet", "metadata"], &metadata(node))?;
    }
    Ok(edited)
}

/// coreos-cloudinit's own rule.
pub fn is_cloud_config(text: &str) -> bool {
    text.lines()
        .next()
        .is_some_and(|line| line.trim_end() == "#cloud-config")
}

fn no_token(file: &str, text: &str, at: usize) -> Failure {
    Failure::at(
        "there is no token for this file",
        &Place::of(file, text, at),
        "`discovery: own` is a service that runs with the lab; Vagrant's machines are told of each other by a list",
        "in lab.yaml write `discovery: public` or a URL for a fresh token, or `discovery: none` to keep what is there",
    )
}

#[cfg(test)]
#[path = "user_data_tests.rs"]
mod tests;
