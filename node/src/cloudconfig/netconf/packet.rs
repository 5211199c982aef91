//! Packet's network metadata: one bond of all interfaces, which carries all addresses.
use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Interface, Kind, Method, Route, ip, mac};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Network {
    interfaces: Vec<Nic>,
    addresses: Vec<Block>,
    dns: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Nic {
    name: String,
    mac: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Block {
    address: String,
    cidr: u32,
    gateway: String,
    address_family: u32,
    public: bool,
}

pub fn read(config: &[u8], _: &mut Vec<String>) -> Result<Vec<Interface>, String> {
    let network: Network = serde_json::from_slice(config).map_err(|error| error.to_string())?;
    let nameservers = network.dns.unwrap_or_else(|| vec!["8.8.8.8".into(), "8.8.4.4".into()]);
    let nameservers: Vec<String> = nameservers.iter().map(|address| ip(address)).collect();
    let route = |block: &Block| Route {
        destination: match (block.public, block.address_family) {
            (false, _) => "10.0.0.0/8",
            (true, 4) => "0.0.0.0/0",
            (true, _) => "::/0",
        }
        .into(),
        gateway: ip(&block.gateway),
    };
    let address = |block: &Block| format!("{}/{}", ip(&block.address), block.cidr);
    let options = [
        ("Mode", "802.3ad"),
        ("LACPTransmitRate", "fast"),
        ("MIIMonitorSec", ".2"),
        ("UpDelaySec", ".2"),
        ("DownDelaySec", ".2"),
    ];
    let options: BTreeMap<String, String> = options.map(|(name, value)| (name.into(), value.into())).into();
    let on_top = Method::Static {
        addresses: network.addresses.iter().map(address).collect(),
        nameservers: nameservers.clone(),
        routes: network.addresses.iter().map(route).collect(),
    };
    let mut bond = Interface::new("bond0", Kind::Bond { options }, on_top);
    let Some(first) = network.interfaces.first() else {
        return Err("the network metadata has no interfaces".into());
    };
    bond.mac = mac(&first.mac);
    let below = network.interfaces.iter().enumerate().map(|(depth, nic)| Interface {
        children: vec![("Bond", "bond0".into())],
        depth,
        ..Interface::new(
            &nic.name,
            Kind::Physical,
            Method::Static {
                addresses: Vec::new(),
                nameservers: nameservers.clone(),
                routes: Vec::new(),
            },
        )
    });
    Ok(below.chain([bond.clone()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_interfaces_carry_one_bond() {
        let config = r#"{"interfaces": [{"name": "enp1s0f0", "mac": "0C:c4:7a:00:00:01"}], "addresses": [
            {"address_family": 4, "public": true, "address": "147.75.1.2", "cidr": 31, "gateway": "147.75.1.1"},
            {"address_family": 4, "public": false, "address": "10.99.1.3", "cidr": 31, "gateway": "10.99.1.2"}]}"#;
        let found = read(config.as_bytes(), &mut Vec::new()).expect("a configuration");
        assert_eq!(
            found[0].network(),
            "[Match]\nName=enp1s0f0\n\n[Network]\nBond=bond0\nDNS=8.8.8.8\nDNS=8.8.4.4\n"
        );
        assert!(
            found[1]
                .netdev()
                .contains("MACAddress=0c:c4:7a:00:00:01\n\n[Bond]\nDownDelaySec=.2\n")
        );
        assert!(
            found[1]
                .network()
                .ends_with("Destination=10.0.0.0/8\nGateway=10.99.1.2\n")
        );
    }
}
