//! Metadata services over HTTP: EC2, GCE, DigitalOcean, Packet.
use std::collections::BTreeMap;

use serde_json::Value;

use super::{Metadata, http};
use crate::cloudconfig::go::quote;
use crate::cloudinit::flags::Origin;
use crate::cloudinit::log::say;

/// A service's base with a slash at its end, the version that has to be there, and user-data.
struct Service {
    base: String,
    version: &'static str,
    user_data: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

impl Service {
    fn of(origin: &Origin) -> Option<Service> {
        let (base, version, user_data, headers): (_, _, _, &[(&str, &str)]) = match origin {
            Origin::Ec2(base) => (base, "2009-04-04/", "2009-04-04/user-data", &[]),
            Origin::Gce(base) => (
                base,
                "computeMetadata/v1/",
                "computeMetadata/v1/instance/attributes/user-data",
                &[("Metadata-Flavor", "Google")],
            ),
            Origin::DigitalOcean(base) => (base, "metadata/v1", "metadata/v1/user-data", &[]),
            Origin::Packet(base) => (base, "", "userdata", &[]),
            _ => return None,
        };
        Some(Service {
            base: format!("{}/", base.trim_end_matches('/')),
            version,
            user_data,
            headers,
        })
    }

    async fn fetch(&self, path: &str) -> Result<Vec<u8>, String> {
        http::fetch(&format!("{}{path}", self.base), self.headers).await
    }

    async fn text(&self, path: &str) -> Result<String, String> {
        Ok(String::from_utf8_lossy(&self.fetch(path).await?).into_owned())
    }

    async fn first_line(&self, path: &str) -> Result<String, String> {
        let text = self.text(path).await?;
        Ok(text.lines().next().unwrap_or_default().to_string())
    }

    async fn json(&self, path: &str) -> Result<Value, String> {
        let data = self.fetch(path).await?;
        match data.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&data).map_err(|error| error.to_string()),
        }
    }
}

pub async fn is_available(origin: &Origin) -> bool {
    match Service::of(origin) {
        Some(service) => http::get(&format!("{}{}", service.base, service.version), service.headers)
            .await
            .is_ok(),
        None => false,
    }
}

pub async fn user_data(origin: &Origin) -> Result<Vec<u8>, String> {
    match Service::of(origin) {
        Some(service) => service.fetch(service.user_data).await,
        None => Ok(Vec::new()),
    }
}

pub async fn metadata(origin: &Origin) -> Result<Metadata, String> {
    let Some(service) = Service::of(origin) else {
        return Ok(Metadata::default());
    };
    match origin {
        Origin::Ec2(_) => ec2(&service).await,
        Origin::Gce(_) => gce(&service).await,
        Origin::DigitalOcean(_) => Ok(digitalocean(&service.json("metadata/v1.json").await?)),
        _ => Ok(packet(&service.json("metadata").await?)),
    }
}

async fn ec2(service: &Service) -> Result<Metadata, String> {
    const DIR: &str = "2009-04-04/meta-data";
    let mut metadata = Metadata::default();
    // "0=name" a line; the keys themselves are asked for by number.
    let mut ids = BTreeMap::new();
    for line in service.text(&format!("{DIR}/public-keys")).await?.lines() {
        let (id, name) = line
            .split_once('=')
            .ok_or_else(|| format!("malformed public key: {}", quote(line)))?;
        ids.insert(name.to_string(), id.to_string());
    }
    for (name, id) in ids {
        let key = service
            .first_line(&format!("{DIR}/public-keys/{id}/openssh-key"))
            .await?;
        say(&format!("Found SSH key for {}", quote(&name)));
        metadata.ssh_keys.push(key);
    }
    let hostname = service.first_line(&format!("{DIR}/hostname")).await?;
    metadata.hostname = hostname.split([' ', '.']).next().unwrap_or_default().to_string();
    for (variable, name) in [
        ("COREOS_PRIVATE_IPV4", "local-ipv4"),
        ("COREOS_PUBLIC_IPV4", "public-ipv4"),
    ] {
        let address = service.first_line(&format!("{DIR}/{name}")).await?;
        metadata.address(variable, &address);
    }
    Ok(metadata)
}

async fn gce(service: &Service) -> Result<Metadata, String> {
    const DIR: &str = "computeMetadata/v1";
    let mut metadata = Metadata::default();
    let interface = format!("{DIR}/instance/network-interfaces/0");
    let public = service
        .text(&format!("{interface}/access-configs/0/external-ip"))
        .await?;
    metadata.address("COREOS_PUBLIC_IPV4", &public);
    let private = service.text(&format!("{interface}/ip")).await?;
    metadata.address("COREOS_PRIVATE_IPV4", &private);
    metadata.hostname = service
        .text(&format!("{DIR}/instance/hostname"))
        .await?
        .trim()
        .to_string();
    for of in ["project", "instance"] {
        let keys = service.text(&format!("{DIR}/{of}/attributes/sshKeys")).await?;
        let keys = keys.lines().filter_map(|line| line.split_once(':'));
        let keys = keys
            .map(|(_, key)| key.trim().to_string())
            .filter(|key| !key.is_empty());
        metadata.ssh_keys.extend(keys);
    }
    Ok(metadata)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn digitalocean(json: &Value) -> Metadata {
    let mut metadata = Metadata {
        hostname: text(&json["hostname"]),
        ssh_keys: texts(&json["public_keys"]),
        ..Metadata::default()
    };
    for (variable, side, family) in [
        ("COREOS_PUBLIC_IPV4", "public", "ipv4"),
        ("COREOS_PUBLIC_IPV6", "public", "ipv6"),
        ("COREOS_PRIVATE_IPV4", "private", "ipv4"),
        ("COREOS_PRIVATE_IPV6", "private", "ipv6"),
    ] {
        let address = text(&json["interfaces"][side][0][family]["ip_address"]);
        metadata.address(variable, &address);
    }
    metadata
}

fn packet(json: &Value) -> Metadata {
    let network = &json["network"];
    let mut metadata = Metadata {
        hostname: text(&json["hostname"]),
        ssh_keys: texts(&json["ssh_keys"]),
        network: (!network.is_null()).then(|| network.to_string().into_bytes()),
        ..Metadata::default()
    };
    for block in network["addresses"].as_array().into_iter().flatten() {
        let variable = match (block["address_family"].as_u64(), block["public"].as_bool()) {
            (Some(4), Some(true)) => "COREOS_PUBLIC_IPV4",
            (Some(4), _) => "COREOS_PRIVATE_IPV4",
            _ => "COREOS_PUBLIC_IPV6",
        };
        metadata.address(variable, &text(&block["address"]));
    }
    metadata
}
