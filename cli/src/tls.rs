//! The certificates of a lab: a CA of its own and one of it for each node, kept for as long as there is the node.
//!
//! ```text
//! DIR/ca.crt, ca.key     the CA
//! DIR/NAME.crt, NAME.key a node's
//! DIR/serial             of the last certificate
//! ```
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use labnode::ca::authority::{self, Pair};

use crate::topology::Node;

const CA: &str = "ca";
/// etcd-ca's first host has it, too: the CA itself is 1.
const FIRST: u64 = 2;

pub struct Authority {
    dir: PathBuf,
    ca: Pair,
}

impl Authority {
    /// The one kept in `dir`, made if there is none.
    pub fn at(dir: &Path) -> io::Result<Authority> {
        let ca = kept(dir, CA).map_or_else(
            || {
                let ca = authority::new().map_err(io::Error::other)?;
                keep(dir, CA, &ca).map(|()| ca)
            },
            Ok,
        )?;
        let dir = dir.to_path_buf();
        Ok(Authority { dir, ca })
    }

    pub fn cert(&self) -> &str {
        &self.ca.cert
    }

    /// A node's, for its name and address, and for itself by its loopback.
    pub fn node(&self, node: &Node) -> io::Result<Pair> {
        if let Some(pair) = kept(&self.dir, &node.name) {
            return Ok(pair);
        }
        let serial = self.dir.join("serial");
        let last = fs::read_to_string(&serial)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let number = last.map_or(FIRST, |last: u64| last + 1);
        fs::write(&serial, format!("{number}\n"))?;
        let names = [node.name.clone(), "localhost".to_string()];
        let ips = [node.address.into(), std::net::Ipv4Addr::LOCALHOST.into()];
        let pair = authority::host(&self.ca, &node.name, &names, &ips, number).map_err(io::Error::other)?;
        keep(&self.dir, &node.name, &pair).map(|()| pair)
    }
}

/// Where a pair is: certificate and key.
pub fn paths(dir: &Path, name: &str) -> [PathBuf; 2] {
    ["crt", "key"].map(|kind| dir.join(format!("{name}.{kind}")))
}

pub fn ca_path(dir: &Path) -> PathBuf {
    let [cert, _] = paths(dir, CA);
    cert
}

fn kept(dir: &Path, name: &str) -> Option<Pair> {
    let [cert, key] = paths(dir, name).map(|path| fs::read_to_string(path).ok());
    Some(Pair { cert: cert?, key: key? })
}

/// The key first: a certificate without one is no pair.
fn keep(dir: &Path, name: &str, pair: &Pair) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let [cert, key] = paths(dir, name);
    for (path, text, mode) in [(key, &pair.key, 0o600), (cert, &pair.cert, 0o644)] {
        let _ = fs::remove_file(&path);
        let mut file = fs::File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// The next node of this name is another machine.
pub fn forget(dir: &Path, name: &str) {
    for path in paths(dir, name) {
        let _ = fs::remove_file(path);
    }
}
