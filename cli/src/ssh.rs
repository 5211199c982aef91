//! Keys of a lab: one to log in with, and each node's own, made before its first boot.
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use ssh_key::{Algorithm, LineEnding, PrivateKey};

/// In OpenSSH's form.
#[derive(Clone)]
pub struct Key {
    pub private: String,
    pub public: String,
}

/// Without the private half, which belongs in no log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)
    }
}

/// The key kept in `dir` under this name, made if there is none.
pub fn key(dir: &Path, name: &str, comment: &str) -> io::Result<Key> {
    let (private, public) = (dir.join(name), dir.join(format!("{name}.pub")));
    if let (Ok(private), Ok(public)) = (fs::read_to_string(&private), fs::read_to_string(&public)) {
        return Ok(Key { private, public });
    }
    let key = mint(comment)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for (path, text, mode) in [(&private, &key.private, 0o600), (&public, &key.public, 0o644)] {
        let _ = fs::remove_file(path);
        let mut file = fs::File::options().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
    }
    Ok(key)
}

fn mint(comment: &str) -> io::Result<Key> {
    let mut key = PrivateKey::random(&mut rand_core::OsRng, Algorithm::Ed25519).map_err(io::Error::other)?;
    key.set_comment(comment);
    Ok(Key {
        private: key.to_openssh(LineEnding::LF).map_err(io::Error::other)?.to_string(),
        public: key.public_key().to_openssh().map_err(io::Error::other)? + "\n",
    })
}

pub fn forget(dir: &Path, name: &str) {
    for path in [dir.join(name), dir.join(format!("{name}.pub"))] {
        let _ = fs::remove_file(path);
    }
}
