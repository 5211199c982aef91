//! The wire: a switch between the nodes in user space, so that every frame passes one place that may delay or drop it.
//!
//! One TAP per node; addresses are given, not learned. Frames carry a virtio header in front (`HEADER`), with which the
//! kernel hands over segments of up to 64 KB and checksums that nobody has computed yet.
mod link;
mod switch;

use std::io;
use std::os::fd::{AsFd, AsRawFd};

pub use link::{Link, Links};
pub use switch::{Port, Wire};

const TUN_F_CSUM: libc::c_uint = 1;
const TUN_F_TSO4: libc::c_uint = 2;
const TUN_F_TSO6: libc::c_uint = 4;

/// struct virtio_net_hdr.
pub const HEADER: usize = 10;
/// The largest frame with its header.
pub const LARGEST: usize = HEADER + 14 + 65535;

pub type Mac = [u8; 6];

/// Large frames cross the wire whole, a segment of 64 KB being one read and one write, not 45; or as a real wire has them.
pub fn offload(tap: impl AsFd, whole: bool) -> io::Result<()> {
    let segments = if whole { TUN_F_TSO4 | TUN_F_TSO6 } else { 0 };
    // SAFETY: the argument is a number.
    match unsafe { libc::ioctl(tap.as_fd().as_raw_fd(), libc::TUNSETOFFLOAD as _, TUN_F_CSUM | segments) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Locally administered, and the same for an address every time.
pub fn mac(address: std::net::Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x1a, a, b, c, d]
}
