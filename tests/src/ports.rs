//! Ports for servers: below the range that the kernel gives to clients, and never the same one for two tests.
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A port that is ours until this is dropped.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    /// A name in the abstract namespace: other test processes see it taken, and it goes away with this one.
    _claim: UnixDatagram,
}

pub fn claim() -> Port {
    for _ in 0..1000 {
        let number = rand::random_range(12_000..20_000);
        let name = SocketAddr::from_abstract_name(format!("corelab-test-port-{number}")).expect("a short name");
        let Ok(claim) = UnixDatagram::bind_addr(&name) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", number)).is_ok() {
            return Port { number, _claim: claim };
        }
    }
    panic!("no free port in 12000..20000");
}

/// Claims a port that was ours before.
#[track_caller]
pub fn claim_again(number: u16) -> Port {
    let name = SocketAddr::from_abstract_name(format!("corelab-test-port-{number}")).expect("a short name");
    let claim = UnixDatagram::bind_addr(&name).expect("a port that nobody has claimed meanwhile");
    Port { number, _claim: claim }
}
