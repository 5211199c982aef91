//! The node image: a base that mmdebstrap makes of Debian packages, and on top of it what is ours.
//!
//! The base is an archive, named by what it is made of. On this machine it is kept unpacked, as is a layer with
//! `images/tree`, `images/links` and the program labnode: a node's root is the two and the node's own files above.
mod base;
mod layer;

use std::io;
use std::path::PathBuf;

pub use base::{STEPS, archive_name, build};

use crate::local::protocol::ImageSpec;

/// The directories beneath a node's root, the uppermost first; unpacked if they are not yet. The users in them are
/// shifted by `shift`.
pub fn unpacked(image: &ImageSpec, shift: u32) -> io::Result<Vec<PathBuf>> {
    Ok(vec![layer::make(image, shift)?, base::unpack(image, shift)?])
}
