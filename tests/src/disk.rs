//! A small disk that can be full.
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tempfile::TempDir;

/// A tmpfs that only this thread and its children see. It goes away with the last of them, however they end, so
/// nothing has to be unmounted.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    #[track_caller]
    pub fn mount(megabytes: u32) -> SmallDisk {
        let dir = tempfile::Builder::new()
            .prefix("corelab-disk-")
            .tempdir()
            .expect("a temporary directory");
        let options = std::ffi::CString::new(format!("size={megabytes}m,mode=700")).expect("no zero in it");
        // SAFETY: a new mount namespace for this thread takes no memory or descriptors away from others.
        let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
        unshared.expect("a mount namespace: the tests run as root");
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).expect("keep mounts to ourselves");
        mount(
            "tmpfs",
            dir.path(),
            "tmpfs",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .expect("mount a tmpfs");
        SmallDisk { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file to be removed when room is wanted.
    #[track_caller]
    pub fn ballast(&self, megabytes: u64) -> PathBuf {
        let path = self.path().join("ballast");
        let file = File::create(&path).expect("create the ballast");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, megabytes << 20)
            .expect("fill the ballast");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Frees the memory now; the directory below it is removed with `dir`, once nothing is mounted on it.
        for entry in fs::read_dir(self.path()).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
        let _ = rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::DETACH);
    }
}
