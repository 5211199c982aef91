//! Servers beside a cluster: a discovery service, a proxy, a member that finds the others by itself.
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::ports::{self, Port};
use crate::process::Process;
use crate::{eventually, http, tools};

/// A started server and the address at which clients ask it.
pub struct Service {
    pub process: Process,
    pub address: SocketAddr,
    _ports: Vec<Port>,
}

impl Service {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn local(port: &Port) -> SocketAddr {
    ([127, 0, 0, 1], port.number).into()
}

/// Our discovery service at a port, with more flags.
#[track_caller]
pub fn discovery_at(port: Port, dir: &Path, flags: &[&str]) -> Service {
    let address = local(&port);
    let mut command = Command::new(tools::labnode());
    let host = format!("http://{address}");
    command
        .args(["discovery", "--addr", &address.to_string(), "--host", &host])
        .args(flags);
    command.current_dir(dir);
    let service = Service {
        process: Process::spawn(command, &dir.join("discovery.log")),
        address,
        _ports: vec![port],
    };
    eventually("the discovery service answers", || {
        http::ask(address, "GET", "/robots.txt", None).ok()
    });
    service
}

#[track_caller]
pub fn discovery(dir: &Path) -> Service {
    discovery_at(ports::claim(), dir, &[])
}

/// A member, or a proxy, that is given no list of members: `flags` say how it finds them. `wrap` is put before the
/// command.
pub struct Finder {
    name: String,
    wrap: Vec<String>,
    flags: Vec<String>,
    ports: [Port; 2],
}

impl Finder {
    pub fn new(name: &str, flags: &[&str]) -> Finder {
        Finder {
            name: name.into(),
            wrap: Vec::new(),
            flags: flags.iter().map(|flag| flag.to_string()).collect(),
            ports: [ports::claim(), ports::claim()],
        }
    }

    pub fn wrap(mut self, words: &[&str]) -> Finder {
        self.wrap = words.iter().map(|word| word.to_string()).collect();
        self
    }

    pub fn client(&self) -> SocketAddr {
        local(&self.ports[0])
    }

    pub fn peer_url(&self) -> String {
        format!("http://{}", local(&self.ports[1]))
    }

    pub fn peer_port(&self) -> u16 {
        self.ports[1].number
    }

    /// Starts it with its data in `dir`; may be called again after a kill.
    #[track_caller]
    pub fn start(&self, dir: &Path) -> Process {
        let mut words = self.wrap.clone();
        words.push(tools::labnode().display().to_string());
        let client = format!("http://{}", self.client());
        words.extend(["etcd".into(), format!("--name={}", self.name)]);
        words.push(format!("--data-dir={}", dir.join(&self.name).display()));
        words.extend([
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
        ]);
        words.extend([
            format!("--listen-peer-urls={}", self.peer_url()),
            format!("--initial-advertise-peer-urls={}", self.peer_url()),
        ]);
        words.extend(self.flags.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(dir);
        Process::spawn(command, &dir.join(format!("{}.log", self.name)))
    }
}

/// Our discovery service again, where a token's URL says it was, on the data it left in `dir`.
#[track_caller]
pub fn discovery_at_url(url: &str, dir: &Path) -> Service {
    let rest = url.strip_prefix("http://127.0.0.1:").expect("a URL of a service here");
    let port = rest
        .split('/')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    discovery_at(ports::claim_again(port), dir, &[])
}
