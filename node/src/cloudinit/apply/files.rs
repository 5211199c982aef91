//! Files on disk: written beside their place and renamed; units masked and unmasked.
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::Machine;
use crate::cloudconfig::files::File;
use crate::cloudconfig::go::{errno, quote};
use crate::cloudconfig::paths;
use crate::cloudinit::log::say;

/// As the original writes: what fails leaves its temporary file behind.
pub fn write(machine: &Machine, file: &File) -> Result<(), String> {
    say(&format!("Writing file to {}", quote(&file.path)));
    ensure_parent(machine, &file.path)?;
    let mode = file.mode()?;
    let temp = temporary(machine, file, mode)?;
    if !file.owner.is_empty() {
        // The original runs chown and passes on no more than how it ended.
        let owner = machine.root.owner(&file.owner).ok_or("exit status 1")?;
        chown(&temp, owner.0, owner.1).map_err(|_| "exit status 1")?;
    }
    rename(&temp, &machine.root.at(&file.path), &file.path)?;
    say(&format!("Wrote file to {}", quote(&file.path)));
    Ok(())
}

/// What `write` says, for a file that is there already.
pub fn tell(file: &File) {
    say(&format!("Writing file to {}", quote(&file.path)));
    say(&format!("Wrote file to {}", quote(&file.path)));
}

fn ensure_parent(machine: &Machine, path: &str) -> Result<(), String> {
    let dir = paths::parent(path);
    let real = machine.root.at(dir);
    match fs::metadata(&real) {
        Ok(found) if !found.is_dir() => Err(format!("{dir} is not a directory")),
        Ok(_) => Ok(()),
        Err(_) => fs::create_dir_all(&real).map_err(|error| format!("mkdir {dir}: {}", errno(&error))),
    }
}

fn temporary(machine: &Machine, file: &File, mode: u32) -> Result<PathBuf, String> {
    let dir = paths::parent(&file.path).trim_end_matches('/');
    loop {
        let number: u32 = rand::random();
        let name = format!("{dir}/cloudinit-temp{number}");
        let path = machine.root.at(&name);
        let failed = |error: &std::io::Error| format!("open {name}: {}", errno(error));
        match fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
        {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed(&error)),
            Ok(mut temp) => {
                temp.write_all(&file.content).map_err(|error| failed(&error))?;
                let permissions = fs::Permissions::from_mode(mode);
                temp.set_permissions(permissions).map_err(|error| failed(&error))?;
                return Ok(path);
            }
        }
    }
}

fn rename(temp: &Path, to: &Path, path: &str) -> Result<(), String> {
    fs::rename(temp, to).map_err(|error| format!("rename {} {path}: {}", temp.display(), errno(&error)))
}

/// Files that wait beside their places. Those that are not committed are removed, and directories made for them stay.
#[derive(Default)]
pub struct Staged(Vec<(PathBuf, PathBuf, File)>);

impl Staged {
    pub fn add(&mut self, machine: &Machine, file: &File) -> Result<(), String> {
        let to = machine.root.at(&file.path);
        if to.is_dir() {
            return Err(format!("{} is a directory", file.path));
        }
        ensure_parent(machine, &file.path)?;
        let temp = temporary(machine, file, file.mode()?)?;
        self.0.push((temp, to, file.clone()));
        Ok(())
    }

    /// Owners may be users that came into being after the files were staged.
    pub fn own(&self, machine: &Machine) -> Result<(), String> {
        for (temp, _, file) in self.0.iter().filter(|(_, _, file)| !file.owner.is_empty()) {
            let (path, owner) = (&file.path, &file.owner);
            let ids = machine.root.owner(owner);
            let (uid, gid) = ids.ok_or_else(|| format!("{path}: there is no user or group for owner {owner:?}"))?;
            chown(temp, uid, gid).map_err(|error| format!("{path}: cannot be given to {owner}: {}", errno(&error)))?;
        }
        Ok(())
    }

    pub fn commit(mut self) -> Result<(), String> {
        for (temp, to, file) in std::mem::take(&mut self.0) {
            rename(&temp, &to, &file.path)?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (temp, ..) in &self.0 {
            let _ = fs::remove_file(temp);
        }
    }
}

/// A link to /dev/null in the place of the unit's file.
pub fn mask(machine: &Machine, path: &str) -> Result<(), String> {
    let real = machine.root.at(path);
    let failed = |what: &str, error: std::io::Error| format!("{what} {path}: {}", errno(&error));
    ensure_parent(machine, path)?;
    match fs::symlink_metadata(&real) {
        Ok(_) => fs::remove_file(&real).map_err(|error| failed("remove", error))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("lstat", error)),
    }
    symlink("/dev/null", &real).map_err(|error| failed("symlink /dev/null", error))
}

/// Removes what masks: an empty file, or a link to /dev/null.
pub fn unmask(machine: &Machine, path: &str) -> Result<(), String> {
    let real = machine.root.at(path);
    let found = match fs::metadata(&real) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("stat {path}: {}", errno(&error))),
    };
    let masks = found.file_type().is_char_device() || (found.is_file() && found.len() == 0);
    if !masks {
        say(&format!("{path} is not null or empty, refusing to unmask"));
        return Ok(());
    }
    fs::remove_file(&real).map_err(|error| format!("remove {path}: {}", errno(&error)))
}
