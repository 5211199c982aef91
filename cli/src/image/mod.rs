//! The node image: a base that mmdebstrap makes of Debian packages, and on top of it what is ours.
//!
//! The base is an archive, named by what it is made of. On this machine it is kept unpacked, as is a layer with
//! `images/tree`, `images/links` and the program labnode: a node's root is the two and the node's own files above.
mod base;
mod layer;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

pub use base::{STEPS, archive_name, build};

use crate::local::protocol::ImageSpec;

/// The directories beneath a node's root, the uppermost first; unpacked if they are not yet. The users in them are
/// shifted by `shift`.
pub fn unpacked(image: &ImageSpec, shift: u32) -> io::Result<Vec<PathBuf>> {
    Ok(vec![layer::make(image, shift)?, base::unpack(image, shift)?])
}

/// The directory `done`, made if it is not there: beside it first, and whole when it gets its name. Whoever comes second
/// waits, and finds it.
fn made_once(
    cache: &Path,
    done: PathBuf,
    shift: u32,
    make: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(cache)?;
    let lock = File::create(cache.join("lock"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    if done.is_dir() {
        return Ok(done);
    }
    let making = done.with_extension("part");
    let _ = fs::remove_dir_all(&making);
    fs::create_dir(&making)?;
    lchown(&making, Some(shift), Some(shift))?;
    make(&making)?;
    fs::rename(&making, &done)?;
    Ok(done)
}
