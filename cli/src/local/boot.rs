//! What a node's first process does before it is systemd: its mounts, its name, its root.
//!
//! It is called in new namespaces, in the node's root as working directory, with the console as standard input.
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount, unmount,
};

use super::clone::check;

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];
/// systemd reports here when it has started everything; an abstract address, alone in the node's network namespace.
pub const NOTIFY: &str = "lab/notify";

/// Returns only if it has failed.
pub fn run(name: &str) -> io::Error {
    match prepare(name) {
        Ok(()) => Command::new("/lib/systemd/systemd")
            .arg0("systemd")
            .env_clear()
            .envs([
                ("container", "lab"),
                ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
                ("TERM", "vt220"),
                ("NOTIFY_SOCKET", &format!("@{NOTIFY}")),
            ])
            .exec(),
        Err(error) => error,
    }
}

fn prepare(name: &str) -> io::Result<()> {
    let step = |what: &str, result: io::Result<()>| {
        result.map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))
    };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    step(
        "cannot make the mounts private",
        mount_change("/", private).map_err(io::Error::from),
    )?;
    // Not at birth: the namespace's root is the cgroup one is in when it is made.
    // SAFETY: no memory is involved.
    let cgroup = check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) });
    step("cannot make a cgroup namespace", cgroup)?;
    // The mount of the root is the supervisor's, which only a mount of our own may replace as a root. What /tmp was
    // nobody sees any more.
    step("cannot bind the root", mount_bind(".", "/tmp").map_err(io::Error::from))?;
    std::env::set_current_dir("/tmp")?;
    rustix::system::sethostname(name.as_bytes())?;
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    fresh("proc", "proc", plain, c"")?;
    step("cannot protect /proc/sys", read_only_sysctls())?;
    fresh("sysfs", "sys", plain | MountFlags::RDONLY, c"")?;
    fresh("cgroup2", "sys/fs/cgroup", plain, c"")?;
    step("cannot make /dev", devices())?;
    fresh("tmpfs", "run", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755")?;
    fs::create_dir_all("run/host")?;
    fs::write("run/host/container-manager", "lab\n")?;
    // Both names are the working directory: the old root ends up beneath the new one, and is taken off.
    // SAFETY: two strings that end with zero.
    let pivot = check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) } as i32);
    step("cannot change the root", pivot)?;
    step(
        "cannot take the old root off",
        unmount(".", UnmountFlags::DETACH).map_err(io::Error::from),
    )?;
    std::env::set_current_dir("/")
}

/// The host's are not the node's to change, except those of its own network.
fn read_only_sysctls() -> io::Result<()> {
    mount_bind("proc/sys", "proc/sys")?;
    mount_bind("proc/sys/net", "proc/sys/net")?;
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    mount_remount("proc/sys", MountFlags::BIND | MountFlags::RDONLY | plain, c"")?;
    Ok(())
}

fn devices() -> io::Result<()> {
    fresh("tmpfs", "dev", MountFlags::NOSUID, c"mode=755,size=4m")?;
    for device in DEVICES {
        over(&format!("/dev/{device}"), &format!("dev/{device}"))?;
    }
    for (target, link) in LINKS {
        symlink(target, Path::new("dev").join(link))?;
    }
    fs::create_dir("dev/pts")?;
    fs::create_dir("dev/shm")?;
    fresh(
        "devpts",
        "dev/pts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c"newinstance,ptmxmode=0666,mode=620,gid=5",
    )?;
    fresh("tmpfs", "dev/shm", MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777")?;
    if let Ok(console) = rustix::termios::ttyname(std::io::stdin(), Vec::new()) {
        over(&console.to_string_lossy(), "dev/console")?;
    }
    Ok(())
}

fn fresh(kind: &str, at: &str, flags: MountFlags, options: &CStr) -> io::Result<()> {
    let kind = CString::new(kind)?;
    mount(&kind, at, &kind, flags, options).map_err(|error| explain(at, error))
}

/// A file of the host in place of a new, empty one.
fn over(file: &str, at: &str) -> io::Result<()> {
    rustix::fs::openat(
        CWD,
        at,
        rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
        0o644.into(),
    )?;
    mount_bind(file, at).map_err(|error| explain(at, error))
}

fn explain(at: &str, error: rustix::io::Errno) -> io::Error {
    io::Error::new(io::Error::from(error).kind(), format!("cannot mount {at}: {error}"))
}
