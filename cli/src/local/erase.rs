//! Removing what nodes have written: for an ordinary user it belongs to users of his own, whom he is in a namespace only.
use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};

use super::clone::{Exit, Program};
use super::rootless;

/// The directory and all in it; one that is not there is no error.
pub fn erase(dir: &Path) -> io::Result<()> {
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match fs::remove_dir_all(dir) {
        Err(error) if missing(&error) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root() => {
            in_namespace(dir)
        }
        other => other,
    }
}

fn in_namespace(dir: &Path) -> io::Result<()> {
    let text = dir
        .to_str()
        .ok_or_else(|| io::Error::other("the directory has a name that is no text"))?;
    let console = File::options().read(true).write(true).open("/dev/null")?;
    let mut process = Program {
        args: &["erase", text],
        namespaces: libc::CLONE_NEWUSER,
        cgroup: None,
        directory: Path::new("/"),
        console: std::os::fd::AsFd::as_fd(&console),
        fds: &[],
    }
    .spawn()?;
    rootless::map(process.pid)?;
    process.release()?;
    loop {
        poll(&mut [PollFd::new(&process.pidfd, PollFlags::IN)], None)?;
        match process.ended()? {
            Some(Exit::Code(0)) => return Ok(()),
            Some(_) => return Err(io::Error::other(format!("{} cannot be removed", dir.display()))),
            None => {}
        }
    }
}
