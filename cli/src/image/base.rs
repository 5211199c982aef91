//! The base image: Debian packages, as an archive and unpacked.
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::local::protocol::ImageSpec;

/// What makes the base, by name: `build` is called with the archive to make.
const SOURCES: [(&str, &str); 3] = [
    ("build", include_str!("../../../images/build")),
    ("customize", include_str!("../../../images/customize")),
    ("packages", include_str!("../../../images/packages")),
];
/// About how many lines mmdebstrap prints.
pub const STEPS: u64 = 40;

/// By what it is made of: the same name is the same image.
pub fn archive_name() -> String {
    let parts = SOURCES.map(|(_, text)| text.as_bytes());
    format!("base-{}.tar", super::layer::digest(&parts))
}

/// Has mmdebstrap make the archive; `line` is called with what it says.
pub fn build(archive: &Path, mut line: impl FnMut(&str)) -> io::Result<()> {
    use std::io::BufRead;
    fs::create_dir_all(archive.parent().unwrap_or(Path::new(".")))?;
    let dir = tempfile::Builder::new().prefix("lab-image").tempdir()?;
    for (name, text) in SOURCES {
        fs::write(dir.path().join(name), text)?;
    }
    let making = archive.with_extension(format!("{}.new", std::process::id()));
    let mut command = Command::new("sh");
    command.arg(dir.path().join("build")).arg(&making);
    command
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
        let _ = fs::remove_file(making.with_extension("new.part"));
        return Err(io::Error::other(last));
    }
    fs::rename(&making, archive)
}

/// The base's root, unpacked once for each shift of its users.
pub fn unpack(image: &ImageSpec, shift: u32) -> io::Result<PathBuf> {
    let name = image.archive.file_stem().unwrap_or_default().to_string_lossy();
    let done = image.cache.join(format!("{name}-{shift}"));
    super::made_once(&image.cache, done, shift, |making| {
        extract(&image.archive, making, shift)
    })
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
