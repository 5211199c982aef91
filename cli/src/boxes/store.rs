//! Where boxes are kept: `DATA/boxes/NAME/VERSION/PROVIDER/`, Vagrant's layout, with `NAME/metadata_url` beside the versions.
//!
//! A box is unpacked beside its place and renamed into it: it is there as a whole, or not at all.
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::version::Version;

/// Instead of a slash in a directory's name, as Vagrant writes it.
const SLASH: &str = "-VAGRANTSLASH-";
const METADATA_URL: &str = "metadata_url";
const GZIP: [u8; 2] = [0x1f, 0x8b];

#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Installed {
    pub name: String,
    pub provider: String,
    pub version: Version,
}

impl Store {
    pub fn new(root: PathBuf) -> Store {
        Store { root }
    }

    /// `$XDG_DATA_HOME/lab/boxes`
    pub fn of_user() -> Store {
        let set = std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into())).join(".local/share");
        Store::new(set.unwrap_or_else(home).join("lab/boxes"))
    }

    /// What is downloaded, until it is whole.
    pub fn downloads(&self) -> PathBuf {
        self.root.join(".downloads")
    }

    fn of_name(&self, name: &str) -> PathBuf {
        self.root.join(name.replace('/', SLASH))
    }

    pub fn path(&self, installed: &Installed) -> PathBuf {
        self.of_name(&installed.name)
            .join(installed.version.to_string())
            .join(&installed.provider)
    }

    /// Sorted by name, provider and version. Directories that are no boxes are passed over.
    pub fn list(&self) -> io::Result<Vec<Installed>> {
        let mut found = Vec::new();
        for (name, path) in directories(&self.root)? {
            for (version, path) in directories(&path)? {
                let Ok(version) = version.parse::<Version>() else {
                    continue;
                };
                for (provider, _) in directories(&path)? {
                    let name = name.replace(SLASH, "/");
                    found.push(Installed {
                        name,
                        provider,
                        version: version.clone(),
                    });
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Where the box's catalog is, if it came from one.
    pub fn metadata_url(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.of_name(name).join(METADATA_URL)).ok()?;
        Some(text.trim().to_string())
    }

    pub fn set_metadata_url(&self, name: &str, url: &str) -> io::Result<()> {
        fs::write(self.of_name(name).join(METADATA_URL), url)
    }

    /// Unpacks a box file; its provider. `expected` is the one that a catalog promises.
    pub fn install(
        &self,
        file: &Path,
        name: &str,
        version: &Version,
        expected: Option<&str>,
    ) -> Result<Installed, String> {
        fs::create_dir_all(&self.root).map_err(|error| format!("{}: {error}", self.root.display()))?;
        let unpacked = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(&self.root);
        let unpacked = unpacked.map_err(|error| format!("{}: {error}", self.root.display()))?;
        unpack(file, unpacked.path()).map_err(|error| format!("it is no box, a tar archive: {error}"))?;
        let provider = provider(unpacked.path())?;
        if let Some(expected) = expected.filter(|expected| *expected != provider) {
            return Err(format!("it is for {provider}, not for {expected}"));
        }
        let installed = Installed {
            name: name.to_string(),
            provider,
            version: version.clone(),
        };
        let place = self.path(&installed);
        let put = || {
            fs::create_dir_all(place.parent().unwrap_or(&self.root))?;
            remove_all(&place)?;
            fs::rename(unpacked.path(), &place)
        };
        put().map_err(|error| format!("{}: {error}", place.display()))?;
        Ok(installed)
    }

    /// With directories that are empty then, and the catalog's address with the last version.
    pub fn remove(&self, installed: &Installed) -> io::Result<()> {
        let place = self.path(installed);
        remove_all(&place)?;
        let of_version = place.parent().unwrap_or(&self.root);
        let _ = fs::remove_dir(of_version);
        let of_name = self.of_name(&installed.name);
        if directories(&of_name)?.is_empty() {
            remove_all(&of_name)?;
        }
        Ok(())
    }
}

fn directories(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && !name.starts_with('.') {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A tar archive, compressed by gzip or not. tar refuses what would land outside.
fn unpack(file: &Path, into: &Path) -> io::Result<()> {
    let mut begin = [0; 2];
    let known = File::open(file)?.read_exact(&mut begin).is_ok();
    let file = File::open(file)?;
    match known && begin == GZIP {
        true => tar::Archive::new(MultiGzDecoder::new(file)).unpack(into),
        false => tar::Archive::new(file).unpack(into),
    }
}

/// The only field that a box's metadata.json must have.
fn provider(dir: &Path) -> Result<String, String> {
    let text = fs::read_to_string(dir.join("metadata.json")).map_err(|error| format!("its metadata.json: {error}"))?;
    let metadata: Value = serde_json::from_str(&text).map_err(|error| format!("its metadata.json: {error}"))?;
    let provider = metadata["provider"]
        .as_str()
        .filter(|name| !name.is_empty() && !name.contains(['/', '.']));
    provider
        .map(String::from)
        .ok_or_else(|| "its metadata.json names no provider".to_string())
}
