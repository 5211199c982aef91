//! The units of a cloud-config: the user's own, and those that sections bring with them.
use super::config::Section;
use super::files::environment_drop_in;
use super::sections::{ETCD, ETCD2, FLEET, LOCKSMITH};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    pub name: String,
    pub mask: bool,
    pub enable: bool,
    pub runtime: bool,
    pub content: Vec<u8>,
    pub command: String,
    /// Name and content.
    pub drop_ins: Vec<(String, Vec<u8>)>,
}

impl Unit {
    fn read(section: &Section) -> Unit {
        let drop_ins = section.sections("drop_ins");
        Unit {
            name: section.text("name"),
            mask: section.is("mask"),
            enable: section.is("enable"),
            runtime: section.is("runtime"),
            content: section.bytes("content").to_vec(),
            command: section.text("command"),
            drop_ins: drop_ins
                .iter()
                .map(|drop_in| (drop_in.text("name"), drop_in.bytes("content").to_vec()))
                .collect(),
        }
    }

    /// Is it networkd's?
    pub fn is_network(&self) -> bool {
        let kind = self.name.rsplit_once('.').map_or("", |(_, kind)| kind);
        matches!(kind, "network" | "netdev" | "link")
    }

    pub fn path(&self) -> String {
        let dir = if self.runtime { "run" } else { "etc" };
        let group = if self.is_network() { "network" } else { "system" };
        super::paths::absolute(&format!("{dir}/systemd/{group}/{}", self.name))
    }
}

/// In the order in which they are dealt with. The services of sections are always there: they get unmasked.
pub fn units(coreos: &Section, escaped: bool) -> Vec<Unit> {
    let mut units: Vec<Unit> = coreos.sections("units").iter().map(Unit::read).collect();
    let services = [
        ("etcd", "etcd.service", ETCD),
        ("etcd2", "etcd2.service", ETCD2),
        ("fleet", "fleet.service", FLEET),
        ("locksmith", "locksmithd.service", LOCKSMITH),
    ];
    for (section, name, keys) in services {
        let content = environment_drop_in(&coreos.section(section).variables(keys), escaped);
        units.push(Unit {
            name: name.into(),
            runtime: true,
            drop_ins: vec![("20-cloudinit.conf".into(), content.into_bytes())],
            ..Unit::default()
        });
    }
    let update = coreos.section("update");
    let strategy = update.text("reboot_strategy");
    if !strategy.is_empty() {
        let off = strategy == "off";
        units.push(Unit {
            name: "locksmithd.service".into(),
            runtime: true,
            mask: off,
            command: if off { "stop" } else { "restart" }.into(),
            ..Unit::default()
        });
    }
    if !update.text("group").is_empty() || !update.text("server").is_empty() {
        units.push(Unit {
            name: "update-engine.service".into(),
            command: "restart".into(),
            ..Unit::default()
        });
    }
    units
}
