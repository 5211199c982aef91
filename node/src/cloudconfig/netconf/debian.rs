//! Debian's /etc/network/interfaces, as far as clouds use it: static, dhcp and manual interfaces, VLANs, bonds.
use std::collections::BTreeMap;

use super::super::go::quote;
use super::{Interface, Kind, Method, Route, cidr, ip, mac, network_of, prefix};

type Options = BTreeMap<String, Vec<String>>;

/// An `iface` stanza.
struct Stanza {
    name: String,
    method: Method,
    mac: Option<String>,
    options: Options,
    vlan: Option<u32>,
}

pub fn read(config: &[u8], log: &mut Vec<String>) -> Result<Vec<Interface>, String> {
    log.push("Processing Debian network config".into());
    let text = String::from_utf8_lossy(config).replace("\\\n", "");
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut raw: Vec<Vec<&str>> = Vec::new();
    for line in lines {
        let first = line.split(' ').next().unwrap_or_default();
        if matches!(first, "auto" | "iface" | "mapping") || line.starts_with("allow-") {
            raw.push(vec![line]);
        } else if let Some(stanza) = raw.last_mut() {
            stanza.push(line);
        } else {
            return Err(format!("missing stanza start {}", quote(line)));
        }
    }
    let mut stanzas = Vec::new();
    for lines in &raw {
        let words: Vec<&str> = lines[0].split_whitespace().collect();
        match words.as_slice() {
            [] | [_] => return Err(format!("malformed stanza start {}", quote(lines[0]))),
            ["auto", ..] => {}
            ["iface", attributes @ ..] => stanzas.push(stanza(attributes, &lines[1..])?),
            [kind, ..] => return Err(format!("unknown stanza {}", quote(kind))),
        }
    }
    log.push(format!("Parsed {} network interfaces", stanzas.len()));
    log.push("Processed Debian network config".into());
    Ok(link(stanzas))
}

fn stanza(attributes: &[&str], lines: &[&str]) -> Result<Stanza, String> {
    let &[name, _, method] = attributes else {
        return Err("incorrect number of attributes".into());
    };
    let mut options = Options::new();
    for line in lines {
        let command = ["post-up", "pre-down"]
            .into_iter()
            .find(|command| line.starts_with(command));
        match command {
            Some(command) => {
                if let Some((_, rest)) = line.split_once(' ') {
                    options.entry(command.into()).or_default().push(rest.into());
                }
            }
            None => {
                let mut words = line.split_whitespace().map(str::to_string);
                let key = words.next().unwrap_or_default();
                options.insert(key, words.collect());
            }
        }
    }
    let hardware = || match options.get("hwaddress").map(Vec::as_slice) {
        Some([kind, address]) if kind == "ether" => match mac(address) {
            Some(mac) => Ok(Some(mac)),
            None => Err(format!("malformed hwaddress option for {}", quote(name))),
        },
        _ => Ok(None),
    };
    let (method, mac) = match method {
        "static" => (fixed(name, &options)?, hardware()?),
        "loopback" => (Method::Loopback, None),
        "manual" => (Method::Manual, None),
        "dhcp" => (Method::Dhcp, hardware()?),
        other => return Err(format!("invalid config method {}", quote(other))),
    };
    let vlan = if options.contains_key("vlan_raw_device") || name.contains('.') {
        let id = match name.rsplit_once('.') {
            Some((_, id)) => Some(id),
            None => name.strip_prefix("vlan"),
        };
        let id = id.and_then(|id| id.parse().ok());
        Some(id.ok_or_else(|| format!("malformed vlan name {}", quote(name)))?)
    } else {
        None
    };
    Ok(Stanza {
        name: name.into(),
        method,
        mac,
        options,
        vlan,
    })
}

fn fixed(name: &str, options: &Options) -> Result<Method, String> {
    let only = |key: &str| match options.get(key).map(Vec::as_slice) {
        Some([value]) => Some(value.as_str()),
        _ => None,
    };
    let address = only("address").map(ip).filter(|address| address != "<nil>");
    let (Some(address), Some(length)) = (address, only("netmask").and_then(prefix)) else {
        return Err(format!("malformed static network config for {}", quote(name)));
    };
    let mut routes = Vec::new();
    if let Some(gateway) = only("gateway") {
        routes.push(Route {
            destination: "0.0.0.0/0".into(),
            gateway: ip(gateway),
        });
    }
    let commands = options.get("post-up").into_iter().flatten();
    routes.extend(commands.filter_map(|command| route(command)));
    let nameservers = options.get("dns-nameservers").into_iter().flatten();
    Ok(Method::Static {
        addresses: vec![format!("{address}/{length}")],
        nameservers: nameservers.map(|address| ip(address)).collect(),
        routes,
    })
}

/// "route add -net 10.5.0.0 netmask 255.255.0.0 gw 10.0.0.3"; the network may have its prefix with it.
fn route(command: &str) -> Option<Route> {
    let words: Vec<&str> = command.strip_prefix("route add")?.split_whitespace().collect();
    let (mut network, mut length, mut gateway) = (None, None, None);
    for pair in words.windows(2) {
        match pair[0] {
            "-net" => match cidr(pair[1]) {
                Some((address, prefix)) => {
                    network = network_of(address, prefix).split('/').next().map(str::to_string);
                    length = Some(prefix);
                }
                None => network = Some(ip(pair[1])).filter(|address| address != "<nil>"),
            },
            "netmask" => length = prefix(pair[1]),
            "gw" => gateway = Some(ip(pair[1])).filter(|address| address != "<nil>"),
            _ => {}
        }
    }
    Some(Route {
        destination: format!("{}/{}", network?, length?),
        gateway: gateway?,
    })
}

/// Puts VLANs and bonds on the interfaces that carry them, which come into being where nothing describes them.
fn link(stanzas: Vec<Stanza>) -> Vec<Interface> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    let mut carried: BTreeMap<String, (&'static str, Vec<String>)> = BTreeMap::new();
    for stanza in stanzas {
        let values = |key: &str| stanza.options.get(key).cloned().unwrap_or_default();
        let (kind, key, on) = if let Some(id) = stanza.vlan {
            let mac = stanza.mac.clone();
            let device = values("vlan_raw_device");
            let device = if device.len() == 1 { device } else { Vec::new() };
            (Kind::Vlan { id, mac }, "VLAN", device)
        } else if stanza.options.contains_key("bond-slaves") {
            let option = |name: &str| Some((name.to_string(), values(&format!("bond-{name}")).first()?.clone()));
            let options = ["mode", "miimon", "lacp-rate"].into_iter().filter_map(option).collect();
            (Kind::Bond { options }, "Bond", values("bond-slaves"))
        } else if stanza.method == Method::Loopback {
            continue;
        } else {
            (Kind::Physical, "", Vec::new())
        };
        for name in &on {
            let new = || Interface::new(name, Kind::Physical, Method::Manual);
            found.entry(name.clone()).or_insert_with(new);
        }
        let name = stanza.name;
        found.insert(name.clone(), Interface::new(&name, kind, stanza.method));
        carried.insert(name, (key, on));
    }
    for (name, (key, on)) in &carried {
        for parent in on {
            // A VLAN carries nothing here.
            let parent = found
                .get_mut(parent)
                .filter(|parent| !matches!(parent.kind, Kind::Vlan { .. }));
            if let Some(parent) = parent {
                parent.children.push((key, name.clone()));
            }
        }
    }
    let children: BTreeMap<String, Vec<String>> = found
        .iter()
        .map(|(name, interface)| {
            (
                name.clone(),
                interface.children.iter().map(|(_, name)| name.clone()).collect(),
            )
        })
        .collect();
    for (name, interface) in &mut found {
        // No chain of interfaces is longer than there are interfaces, unless it is a circle.
        interface.depth = depth(name, &children, children.len());
    }
    found.into_values().collect()
}

fn depth(name: &str, children: &BTreeMap<String, Vec<String>>, limit: usize) -> usize {
    let above = children.get(name).into_iter().flatten();
    match limit {
        0 => 0,
        _ => above
            .map(|child| 1 + depth(child, children, limit - 1))
            .max()
            .unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "auto eth0\niface eth0 inet static\n  address 10.0.0.2\n  netmask 255.255.255.0\n  gateway 10.0.0.1\n  dns-nameservers 8.8.8.8 8.8.4.4\n  post-up route add -net 10.5.0.0 netmask 255.255.0.0 gw 10.0.0.3 || true\nauto bond0\niface bond0 inet dhcp\n  bond-slaves eth1 eth2\n  bond-mode 4\n  hwaddress ether 00:01:02:03:04:05\niface bond0.100 inet dhcp\n  vlan_raw_device bond0\n  hwaddress ether 00:01:02:03:04:0A\niface lo inet loopback\n";

    #[test]
    fn interfaces_become_networkds_units() {
        let mut log = Vec::new();
        let found = read(CONFIG.as_bytes(), &mut log).expect("a configuration");
        let files: Vec<String> = found.iter().map(Interface::file_name).collect();
        assert_eq!(files, ["01-bond0", "00-bond0.100", "00-eth0", "02-eth1", "02-eth2"]);
        assert_eq!(
            found[2].network(),
            "[Match]\nName=eth0\n\n[Network]\nDNS=8.8.8.8\nDNS=8.8.4.4\n\n[Address]\nAddress=10.0.0.2/24\n\n[Route]\nDestination=0.0.0.0/0\nGateway=10.0.0.1\n\n[Route]\nDestination=10.5.0.0/16\nGateway=10.0.0.3\n"
        );
        assert_eq!(found[0].netdev(), "[NetDev]\nKind=bond\nName=bond0\n\n[Bond]\nmode=4\n");
        assert_eq!(
            found[0].network(),
            "[Match]\nName=bond0\n\n[Network]\nVLAN=bond0.100\nDHCP=true\n"
        );
        assert_eq!(
            found[1].netdev(),
            "[NetDev]\nKind=vlan\nName=bond0.100\nMACAddress=00:01:02:03:04:0a\n\n[VLAN]\nId=100\n"
        );
        assert_eq!(found[3].network(), "[Match]\nName=eth1\n\n[Network]\nBond=bond0\n");
        assert_eq!(log[1], "Parsed 4 network interfaces");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (config, why) in [
            ("address 1", "missing stanza start \"address 1\""),
            ("iface", "malformed stanza start \"iface\""),
            ("mapping x", "unknown stanza \"mapping\""),
            ("iface eth0 inet ppp", "invalid config method \"ppp\""),
            ("iface eth0 inet static", "malformed static network config for \"eth0\""),
            ("iface eth0.x inet manual", "malformed vlan name \"eth0.x\""),
        ] {
            assert_eq!(read(config.as_bytes(), &mut Vec::new()).err().as_deref(), Some(why));
        }
    }

    #[test]
    fn a_circle_of_bonds_ends() {
        let config = "iface a inet manual\nbond-slaves b\niface b inet manual\nbond-slaves a\n";
        assert_eq!(read(config.as_bytes(), &mut Vec::new()).map(|found| found.len()), Ok(2));
    }
}
