//! Network configurations of clouds, as networkd's units. A format is a file here and a row in `FORMATS`.
pub mod debian;
pub mod packet;
pub mod vmware;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// A format's name for -convert-netconf, and what reads it; it tells the log what it does.
type Format = (
    &'static str,
    fn(&[u8], &mut Vec<String>) -> Result<Vec<Interface>, String>,
);

pub const FORMATS: &[Format] = &[
    ("debian", debian::read),
    ("packet", packet::read),
    ("vmware", vmware::read),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Physical,
    /// The kernel module's options.
    Bond {
        options: BTreeMap<String, String>,
    },
    Vlan {
        id: u32,
        mac: Option<String>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Method {
    #[default]
    Manual,
    Loopback,
    Dhcp,
    Static {
        /// With the prefix's length.
        addresses: Vec<String>,
        nameservers: Vec<String>,
        routes: Vec<Route>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: String,
    pub gateway: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// To find it by, if it has no name.
    pub mac: Option<String>,
    pub kind: Kind,
    pub method: Method,
    /// VLANs and bonds on top of it, as networkd's keys.
    pub children: Vec<(&'static str, String)>,
    /// How many interfaces lie on top of each other above this one: networkd reads the files by name.
    pub depth: usize,
}

impl Interface {
    pub fn new(name: &str, kind: Kind, method: Method) -> Interface {
        Interface {
            name: name.into(),
            mac: None,
            kind,
            method,
            children: Vec::new(),
            depth: 0,
        }
    }

    pub fn file_name(&self) -> String {
        let name = match self.name.is_empty() {
            true => self.mac.as_deref().unwrap_or_default(),
            false => &self.name,
        };
        format!("{:02x}-{name}", self.depth)
    }

    pub fn netdev(&self) -> String {
        let name = &self.name;
        match &self.kind {
            Kind::Physical => String::new(),
            Kind::Bond { options } => {
                let mut text = format!("[NetDev]\nKind=bond\nName={name}\n");
                if let Some(mac) = &self.mac {
                    text += &format!("MACAddress={mac}\n");
                }
                text += "\n[Bond]\n";
                for (name, value) in options {
                    text += &format!("{name}={value}\n");
                }
                text
            }
            Kind::Vlan { id, mac } => {
                let mac = mac.as_ref().map_or(String::new(), |mac| format!("MACAddress={mac}\n"));
                format!("[NetDev]\nKind=vlan\nName={name}\n{mac}\n[VLAN]\nId={id}\n")
            }
        }
    }

    pub fn network(&self) -> String {
        let mut text = String::from("[Match]\n");
        if !self.name.is_empty() {
            text += &format!("Name={}\n", self.name);
        }
        if let Some(mac) = &self.mac {
            text += &format!("MACAddress={mac}\n");
        }
        text += "\n[Network]\n";
        for (key, name) in &self.children {
            text += &format!("{key}={name}\n");
        }
        match &self.method {
            Method::Static {
                addresses,
                nameservers,
                routes,
            } => {
                for nameserver in nameservers {
                    text += &format!("DNS={nameserver}\n");
                }
                for address in addresses {
                    text += &format!("\n[Address]\nAddress={address}\n");
                }
                for Route { destination, gateway } in routes {
                    text += &format!("\n[Route]\nDestination={destination}\nGateway={gateway}\n");
                }
            }
            Method::Dhcp => text += "DHCP=true\n",
            Method::Manual | Method::Loopback => {}
        }
        text
    }
}

/// An address as Go's net prints it; "<nil>" for what is none.
pub(super) fn ip(text: &str) -> String {
    text.parse::<IpAddr>()
        .map_or("<nil>".into(), |address| address.to_string())
}

/// The prefix's length of an IPv4 netmask.
fn prefix(netmask: &str) -> Option<u32> {
    let bits = netmask.parse::<Ipv4Addr>().ok()?.to_bits();
    (bits.leading_ones() == bits.count_ones()).then(|| bits.leading_ones())
}

/// "10.0.0.5/8" as an address and the length of its prefix.
fn cidr(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (length <= longest).then_some((address, length))
}

/// The network that an address with a prefix is in.
fn network_of(address: IpAddr, length: u32) -> String {
    let network: IpAddr = match address {
        IpAddr::V4(address) => {
            Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into()
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(bits).into()
        }
    };
    format!("{network}/{length}")
}

/// A MAC address in small letters with colons.
fn mac(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let good = matches!(parts.len(), 6 | 8 | 20)
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()));
    good.then(|| parts.join(":").to_ascii_lowercase())
}
