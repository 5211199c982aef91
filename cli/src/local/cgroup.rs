//! Control groups: one for a lab, beneath it one a node, which the node's systemd divides further.
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::limits;

/// What the node's systemd must own to work in its group.
const DELEGATED: [&str; 4] = ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];

/// Killed processes are gone long before.
const DYING: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// The lab's name, or that and the node's: the end of the path.
    below: PathBuf,
}

impl Cgroup {
    /// The lab's group: at the top for root, beneath our own for anybody else, who has nothing but that.
    pub fn of_lab(id: &str) -> io::Result<Cgroup> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let top = mounted(&mounts).ok_or_else(|| io::Error::other("no cgroup2 file system is mounted"))?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let root = rustix::process::geteuid().is_root() && fs::metadata(&top).is_ok_and(|_| writable(&top));
        let parent = match root {
            true => top,
            false => top.join(own.trim_start_matches('/')),
        };
        let below = PathBuf::from(format!("lab-{id}"));
        Ok(Cgroup {
            path: parent.join(&below),
            below,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn below(&self) -> &Path {
        &self.below
    }

    pub fn create(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io::Error::new(
                error.kind(),
                format!("cannot make the control group {}: {error}", self.path.display()),
            )),
            _ => Ok(()),
        }
    }

    /// A node's, its own to divide.
    pub fn node(&self, name: &str, owner: u32) -> io::Result<Cgroup> {
        let node = Cgroup {
            path: self.path.join(name),
            below: self.below.join(name),
        };
        node.create()?;
        for file in DELEGATED {
            lchown(node.path.join(file), Some(owner), Some(owner))?;
        }
        Ok(node)
    }

    pub fn open(&self) -> io::Result<OwnedFd> {
        Ok(rustix::fs::open(
            &self.path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?)
    }

    /// Returns when nothing is in the group any more: what a killed supervisor ran takes a moment to be gone.
    pub fn drain(&self) {
        let began = Instant::now();
        let events = self.path.join("cgroup.events");
        while fs::read_to_string(&events).is_ok_and(|text| text.contains("populated 1")) && began.elapsed() < DYING {
            let _ = fs::write(self.path.join("cgroup.kill"), "1");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the kernel to stop everything in it, or to let it go on; `is_frozen` tells when that has happened.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        fs::write(self.path.join("cgroup.freeze"), if frozen { "1" } else { "0" })
    }

    pub fn is_frozen(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events")).is_ok_and(|text| text.contains("frozen 1"))
    }

    /// The group and all beneath it, which must be without processes.
    pub fn remove(&self) {
        limits::forget(self);
        remove(&self.path);
    }
}

pub fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Where cgroup2 is mounted: the fifth field of a line whose file system, after the dash, is cgroup2.
fn mounted(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let kind = file_system.split(' ').next()?;
        (kind == "cgroup2").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_beside_version_1() {
        let text = "30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
                    31 24 0:27 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(mounted(text), Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }
}
