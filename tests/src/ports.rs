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

const TRIES: usize = 1000;
const RANGE: std::ops::Range<u16> = 12_000..20_000;

pub fn claim() -> Port {
    claim_row(1).pop().expect("one port")
}

/// Ports in a row.
pub fn claim_row(count: u16) -> Vec<Port> {
    for _ in 0..TRIES {
        let first = rand::random_range(RANGE);
        let row: Option<Vec<Port>> = (first..first + count).map(try_claim).collect();
        if let Some(row) = row {
            return row;
        }
    }
    panic!("no {count} free ports in a row in {RANGE:?}");
}

fn try_claim(number: u16) -> Option<Port> {
    let name = SocketAddr::from_abstract_name(format!("corelab-test-port-{number}")).expect("a short name");
    let claim = UnixDatagram::bind_addr(&name).ok()?;
    TcpListener::bind(("127.0.0.1", number)).ok()?;
    Some(Port { number, _claim: claim })
}

/// Claims a port that was ours before.
#[track_caller]
pub fn claim_again(number: u16) -> Port {
    let name = SocketAddr::from_abstract_name(format!("corelab-test-port-{number}")).expect("a short name");
    let claim = UnixDatagram::bind_addr(&name).expect("a port that nobody has claimed meanwhile");
    Port { number, _claim: claim }
}
