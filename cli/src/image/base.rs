//! The base image: Debian packages, as an archive and unpacked.
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::FlockOperation;

use crate::local::protocol::ImageSpec;

const PACKAGES: &str = include_str!("../../../images/packages");
const CUSTOMIZE: &str = include_str!("../../../images/customize");
const SUITE: &str = "bookworm";
/// About how many lines mmdebstrap prints.
pub const STEPS: u64 = 40;
/// Nobody reads these in a node, and they are more than half of it.
const LEFT_OUT: [&str; 6] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/bash-completion/*",
];

/// By what it is made of: the same name is the same image.
pub fn archive_name() -> String {
    let mut parts = vec![SUITE.as_bytes(), PACKAGES.as_bytes(), CUSTOMIZE.as_bytes()];
    parts.extend(LEFT_OUT.iter().map(|path| path.as_bytes()));
    format!("base-{}.tar", super::layer::digest(&parts))
}

/// Has mmdebstrap make the archive; `line` is called with what it says.
pub fn build(archive: &Path, mut line: impl FnMut(&str)) -> io::Result<()> {
    use std::io::BufRead;
    let parent = archive.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let customize = tempfile::Builder::new().prefix("customize").tempfile()?;
    fs::write(customize.path(), CUSTOMIZE)?;
    let making = archive.with_extension(format!("{}.part", std::process::id()));
    let mut command = Command::new("mmdebstrap");
    command
        .args([
            "--variant=minbase",
            "--format=tar",
            "--aptopt=APT::Install-Recommends \"false\"",
        ])
        .arg(format!(
            "--include={}",
            PACKAGES.split_whitespace().collect::<Vec<_>>().join(",")
        ))
        .args(LEFT_OUT.iter().map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg(format!("--customize-hook=sh {} \"$1\"", customize.path().display()))
        .arg(SUITE)
        .arg(&making)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut last = String::new();
    for text in io::BufReader::new(child.stderr.take().expect("piped")).lines() {
        last = text?;
        line(&last);
    }
    if !child.wait()?.success() {
        let _ = fs::remove_file(&making);
        return Err(io::Error::other(format!("mmdebstrap failed: {last}")));
    }
    fs::rename(&making, archive)
}

/// The base's root, unpacked once for each shift of its users.
pub fn unpack(image: &ImageSpec, shift: u32) -> io::Result<PathBuf> {
    let name = image.archive.file_stem().unwrap_or_default().to_string_lossy();
    let done = image.cache.join(format!("{name}-{shift}"));
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(&image.cache)?;
    // Whoever comes second waits, and finds it done.
    let lock = File::create(image.cache.join("lock"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    if done.is_dir() {
        return Ok(done);
    }
    let making = image.cache.join(format!("{name}-{shift}.part"));
    let _ = fs::remove_dir_all(&making);
    fs::create_dir(&making)?;
    lchown(&making, Some(shift), Some(shift))?;
    extract(&image.archive, &making, shift)?;
    fs::rename(&making, &done)?;
    Ok(done)
}

fn extract(archive: &Path, to: &Path, shift: u32) -> io::Result<()> {
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(1 << 20, File::open(archive)?));
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(false);
    let mut owners = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        // A node's /dev is made when it boots.
        if kind.is_character_special() || kind.is_block_special() || !entry.unpack_in(to)? {
            continue;
        }
        if kind != tar::EntryType::Link {
            let (user, group) = (entry.header().uid()? as u32, entry.header().gid()? as u32);
            owners.push((to.join(path), user + shift, group + shift, entry.header().mode()?));
        }
    }
    for (path, user, group, mode) in owners {
        lchown(&path, Some(user), Some(group))?;
        // A change of owner takes the set-user-id bit away.
        if mode & 0o7000 != 0 && !path.is_symlink() {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}
