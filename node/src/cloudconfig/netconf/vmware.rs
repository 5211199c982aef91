//! VMware's guestinfo: `interface.0.ip.0.address` and its kin, one `key=value` a line.
use std::collections::BTreeMap;

use super::super::go::quote;
use super::{Interface, Kind, Method, Route, cidr, ip, mac, network_of};

pub fn read(config: &[u8], log: &mut Vec<String>) -> Result<Vec<Interface>, String> {
    log.push("Processing VMware network config".into());
    let text = String::from_utf8_lossy(config);
    let values: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |key: String| values.get(key.as_str()).copied();
    log.push("Parsing nameservers".into());
    let mut nameservers = Vec::new();
    while let Some(text) = value(format!("dns.server.{}", nameservers.len())) {
        nameservers.push(address(text).ok_or_else(|| format!("invalid nameserver: {}", quote(text)))?);
    }
    log.push(format!("Parsed {} nameservers", nameservers.len()));
    let mut found: Vec<Interface> = Vec::new();
    loop {
        let number = found.len();
        let of = |key: &str| value(format!("interface.{number}.{key}"));
        log.push(format!("Proccessing interface {number}"));
        log.push("Processing DHCP".into());
        let dhcp = match of("dhcp") {
            None | Some("no") => false,
            Some("yes") => true,
            Some(other) => return Err(format!("invalid DHCP option: {}", quote(other))),
        };
        log.push("Processing addresses".into());
        let mut addresses = Vec::new();
        while let Some(text) = of(&format!("ip.{}.address", addresses.len())) {
            let (address, length) = cidr(text).ok_or_else(|| format!("invalid address: {}", quote(text)))?;
            addresses.push(format!("{address}/{length}"));
        }
        log.push("Processing routes".into());
        let mut routes = Vec::new();
        loop {
            let part = |key: &str| of(&format!("route.{}.{key}", routes.len()));
            let (gateway, destination) = match (part("gateway"), part("destination")) {
                (None, None) => break,
                (Some(_), None) => return Err("missing destination key".into()),
                (None, Some(_)) => return Err("missing gateway key".into()),
                (Some(gateway), Some(destination)) => (gateway, destination),
            };
            let gateway = address(gateway).ok_or_else(|| format!("invalid gateway: {}", quote(gateway)))?;
            let network = cidr(destination).ok_or_else(|| format!("invalid CIDR address: {destination}"))?;
            let destination = network_of(network.0, network.1);
            routes.push(Route { destination, gateway });
        }
        let mut interface = Interface::new("", Kind::Physical, Method::Dhcp);
        if let Some(text) = of("mac") {
            log.push(format!("Parsing interface {number} MAC address: {}", quote(text)));
            let wrong = || format!("error while parsing MAC address: address {text}: invalid MAC address");
            interface.mac = Some(mac(text).ok_or_else(wrong)?);
        }
        if let Some(name) = of("name") {
            log.push(format!("Parsing interface {number} name: {}", quote(name)));
            interface.name = name.into();
        }
        if !addresses.is_empty() || !routes.is_empty() {
            let nameservers = nameservers.clone();
            interface.method = Method::Static {
                addresses,
                nameservers,
                routes,
            };
        } else if !dhcp {
            return Ok(found);
        }
        found.push(interface);
    }
}

fn address(text: &str) -> Option<String> {
    Some(ip(text)).filter(|address| address != "<nil>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_counted_until_one_says_nothing() {
        let config = "dns.server.0=8.8.8.8\ninterface.0.name=ens1\ninterface.0.ip.0.address=10.0.0.5/8\ninterface.0.route.0.gateway=10.0.0.1\ninterface.0.route.0.destination=10.1.2.3/16\ninterface.1.mac=00:11:22:33:44:55\ninterface.1.dhcp=yes\n";
        let found = read(config.as_bytes(), &mut Vec::new()).expect("a configuration");
        assert_eq!(
            found[0].network(),
            "[Match]\nName=ens1\n\n[Network]\nDNS=8.8.8.8\n\n[Address]\nAddress=10.0.0.5/8\n\n[Route]\nDestination=10.1.0.0/16\nGateway=10.0.0.1\n"
        );
        assert_eq!(found[1].file_name(), "00-00:11:22:33:44:55");
        let error = read(b"interface.0.route.0.gateway=1.1.1.1", &mut Vec::new());
        assert_eq!(error, Err("missing destination key".into()));
    }
}
