//! Can nodes run on this machine? Each question tries what a start would do.
use std::fs::File;
use std::io;
use std::process::{Command, Stdio};

use super::cgroup::Cgroup;

/// In a process of its own, which nothing is left of.
pub fn namespaces() -> io::Result<()> {
    let flags = [
        "--user",
        "--map-root-user",
        "--mount",
        "--net",
        "--pid",
        "--uts",
        "--ipc",
        "--fork",
    ];
    let output = Command::new("unshare")
        .args(flags)
        .arg("true")
        .stdin(Stdio::null())
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_string(),
        )),
    }
}

pub fn tun() -> io::Result<()> {
    File::options().read(true).write(true).open("/dev/net/tun").map(drop)
}

pub fn cgroup() -> io::Result<()> {
    let cgroup = Cgroup::of_lab("probe")?;
    cgroup.create()?;
    cgroup.remove();
    Ok(())
}
