//! The directory of keys and certificates: which file is called what, with which mode, written whole or not at all.
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

/// A file of the depot. Its mode is the one it is made with, and the least it must have to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub file: String,
    mode: u32,
}

fn tag(file: impl Into<String>, mode: u32) -> Tag {
    Tag {
        file: file.into(),
        mode,
    }
}

pub fn ca_crt() -> Tag {
    tag("ca.crt", 0o444)
}

pub fn ca_key() -> Tag {
    tag("ca.key", 0o400)
}

/// The serial number of the next certificate, as a decimal number.
pub fn ca_info() -> Tag {
    tag("ca.crt.info", 0o400)
}

pub fn host_csr(name: &str) -> Tag {
    tag(format!("{name}{CSR}"), 0o444)
}

pub fn host_crt(name: &str) -> Tag {
    tag(format!("{name}{CRT}"), 0o444)
}

pub fn host_key(name: &str) -> Tag {
    tag(format!("{name}.host.key"), 0o440)
}

const CSR: &str = ".host.csr";
const CRT: &str = ".host.crt";

pub struct Depot {
    dir: PathBuf,
}

impl Depot {
    pub fn new(path: &str) -> Depot {
        Depot { dir: path.into() }
    }

    pub fn has(&self, tag: &Tag) -> bool {
        self.dir.join(&tag.file).exists()
    }

    /// Makes sure that nobody else changes the depot until the file is dropped.
    pub fn lock(&self) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o755).create(&self.dir)?;
        let dir = File::open(&self.dir)?;
        flock(&dir, FlockOperation::LockExclusive)?;
        Ok(dir)
    }

    /// A file that must not be there yet.
    pub fn put(&self, tag: &Tag, text: &str) -> io::Result<()> {
        let path = self.dir.join(&tag.file);
        let open = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(tag.mode)
            .open(&path);
        let mut file = open.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let text = format!("{} is there already: move it away if nobody needs it", path.display());
                io::Error::new(error.kind(), text)
            }
            _ => error,
        })?;
        // A strict umask must not make it a file that is refused later.
        let allowed = file.set_permissions(fs::Permissions::from_mode(tag.mode));
        let written = allowed
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&path);
        }
        written.and_then(|()| File::open(&self.dir)?.sync_all())
    }

    /// A file in place of one that may be there.
    pub fn replace(&self, tag: &Tag, text: &str) -> io::Result<()> {
        let new = Tag {
            file: format!("{}.new", tag.file),
            mode: tag.mode,
        };
        match fs::remove_file(self.dir.join(&new.file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.put(&new, text)?;
        fs::rename(self.dir.join(&new.file), self.dir.join(&tag.file))?;
        File::open(&self.dir)?.sync_all()
    }

    pub fn get(&self, tag: &Tag) -> Result<String, String> {
        let path = self.dir.join(&tag.file);
        let read = || {
            let mut file = File::open(&path)?;
            let mode = file.metadata()?.permissions().mode();
            if mode & tag.mode != tag.mode {
                let text = format!(
                    "permission denied: its mode is {:04o}, and has to hold {:04o}",
                    mode & 0o7777,
                    tag.mode
                );
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        };
        read().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("open {}: no such file or directory", path.display()),
            _ => format!("open {}: {error}", path.display()),
        })
    }

    /// The hosts with a request or a certificate, sorted.
    pub fn hosts(&self) -> io::Result<Vec<String>> {
        let mut hosts = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            hosts.extend(
                name.strip_suffix(CSR)
                    .or_else(|| name.strip_suffix(CRT))
                    .map(str::to_string),
            );
        }
        hosts.sort();
        hosts.dedup();
        Ok(hosts)
    }
}
