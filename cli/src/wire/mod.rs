//! The wire: a switch between the nodes in user space, so that every frame passes one place that may delay or drop it.
//!
//! One TAP per node; addresses are given, not learned. Frames carry a virtio header in front (`HEADER`), with which the
//! kernel hands over segments of up to 64 KB and checksums that nobody has computed yet.
mod switch;

pub use switch::{Port, Wire};

/// struct virtio_net_hdr.
pub const HEADER: usize = 10;
/// The largest frame with its header.
pub const LARGEST: usize = HEADER + 14 + 65535;

pub type Mac = [u8; 6];

/// Locally administered, and the same for an address every time.
pub fn mac(address: std::net::Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x1a, a, b, c, d]
}
