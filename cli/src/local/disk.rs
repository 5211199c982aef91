//! A node's files: the image below, what is the node's own above, both seen as one root.
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};

/// A file of a node before its first boot, with its owner as the node sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct File {
    pub path: String,
    pub mode: u32,
    pub owner: u32,
    pub content: Content,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Content {
    Text(String),
    Bytes(Vec<u8>),
    Link(String),
    /// Of the host.
    Copy(PathBuf),
    Directory,
}

impl File {
    pub fn text(path: &str, mode: u32, owner: u32, text: impl Into<String>) -> File {
        File {
            path: path.into(),
            mode,
            owner,
            content: Content::Text(text.into()),
        }
    }
}

/// Puts a file beneath `root`, its owner shifted by `base`; what was there is replaced.
pub fn put(root: &Path, base: u32, file: &File) -> io::Result<()> {
    let relative = Path::new(file.path.trim_start_matches('/'));
    let path = root.join(relative);
    if let Some(parent) = relative.parent() {
        directories(root, base, parent)?;
    }
    let own = |path: &Path| lchown(path, Some(base + file.owner), Some(base + file.owner));
    match &file.content {
        Content::Directory => {
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => real(&path)?,
                result => result?,
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
            return own(&path);
        }
        Content::Link(target) => {
            remove(&path)?;
            symlink(target, &path)?;
            return own(&path);
        }
        Content::Text(_) | Content::Bytes(_) | Content::Copy(_) => remove(&path)?,
    }
    // Made with the fewest rights: keys are among them.
    let mut out = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    match &file.content {
        Content::Text(text) => out.write_all(text.as_bytes())?,
        Content::Bytes(bytes) => out.write_all(bytes)?,
        Content::Copy(from) => drop(io::copy(&mut fs::File::open(from)?, &mut out)?),
        Content::Link(_) | Content::Directory => {}
    }
    own(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes what is missing of a path beneath `root`.
fn directories(root: &Path, base: u32, relative: &Path) -> io::Result<()> {
    let mut path = root.to_path_buf();
    for part in relative.components() {
        path.push(part);
        match fs::create_dir(&path) {
            Ok(()) => lchown(&path, Some(base), Some(base))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => real(&path)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The node that made a link there meant a place of its own; followed from here it would be one of the host's.
fn real(dir: &Path) -> io::Result<()> {
    match fs::symlink_metadata(dir)?.is_dir() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{} is no directory in the node, and what it leads to is not written to",
            dir.display()
        ))),
    }
}

/// The directories behind one node's root.
#[derive(Clone, Debug)]
pub struct Disk {
    pub dir: PathBuf,
    base: u32,
}

impl Disk {
    pub fn new(dir: PathBuf, base: u32) -> Disk {
        Disk { dir, base }
    }

    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// Where the node's root is mounted, while it is.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Empty, with the files that a node is born with. Who ends half-way leaves no disk.
    pub fn create(&self, files: &[File]) -> io::Result<()> {
        let making = self.dir.join("upper.part");
        let _ = fs::remove_dir_all(&making);
        for path in [self.dir.join("work"), self.root(), making.clone()] {
            fs::create_dir_all(&path)?;
            lchown(&path, Some(self.base), Some(self.base))?;
        }
        self.write(&making, files)?;
        fs::rename(making, self.upper())
    }

    /// Puts more files on it, while the node is down.
    pub fn update(&self, files: &[File]) -> io::Result<()> {
        self.write(&self.upper(), files)
    }

    fn write(&self, root: &Path, files: &[File]) -> io::Result<()> {
        files.iter().try_for_each(|file| put(root, self.base, file))
    }

    pub fn exists(&self) -> bool {
        self.upper().is_dir()
    }

    /// Mounts the root; `layers` are the image's, the uppermost first.
    pub fn mount(&self, layers: &[PathBuf]) -> io::Result<()> {
        let mut lower = Vec::new();
        for layer in layers {
            if !lower.is_empty() {
                lower.push(b':');
            }
            lower.extend_from_slice(layer.as_os_str().as_bytes());
        }
        let mut options = b"lowerdir=".to_vec();
        options.extend_from_slice(&lower);
        for (option, name) in [(",upperdir=", "upper"), (",workdir=", "work")] {
            options.extend_from_slice(option.as_bytes());
            options.extend_from_slice(self.dir.join(name).as_os_str().as_bytes());
        }
        let whole = CString::new(options.clone())?;
        let with_user_attributes = CString::new([options.as_slice(), b",userxattr"].concat())?;
        let root = self.root();
        let overlay = |options| mount(c"overlay", &root, c"overlay", MountFlags::empty(), options);
        // Only the first is for an ordinary user, only the second for kernels before 5.11.
        overlay(with_user_attributes.as_c_str())
            .or_else(|_| overlay(whole.as_c_str()))
            .map_err(|error| {
                io::Error::new(
                    io::Error::from(error).kind(),
                    format!("cannot mount the node's root at {}: {error}", root.display()),
                )
            })
    }

    pub fn unmount(&self) -> io::Result<()> {
        Ok(unmount(self.root(), UnmountFlags::DETACH)?)
    }

    /// With everything that the node has written.
    pub fn remove(&self) -> io::Result<()> {
        let _ = self.unmount();
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_a_node_has_made_leads_nobody_to_the_hosts_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, outside) = (dir.path().join("upper"), dir.path().join("outside"));
        fs::create_dir_all(root.join("var")).expect("make");
        fs::create_dir(&outside).expect("make");
        symlink(&outside, root.join("var/lib")).expect("link");
        let own = rustix::process::geteuid().as_raw();
        for content in [Content::Text("x".into()), Content::Directory] {
            let file = File {
                path: "/var/lib/file".into(),
                mode: 0o644,
                owner: own,
                content,
            };
            let error = put(&root, 0, &file).expect_err("it is refused");
            assert!(error.to_string().contains("var/lib is no directory"), "{error}");
        }
        assert_eq!(fs::read_dir(&outside).expect("read").count(), 0);
    }
}
