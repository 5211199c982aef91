//! Where paths are: the machine's root, or a tree that stands for one.
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use crate::cloudconfig::go::errno;

#[derive(Clone, Debug)]
pub struct Root(String);

impl Root {
    pub fn new(dir: &str) -> Root {
        Root(dir.trim_end_matches('/').to_string())
    }

    /// Is it a tree apart from the running system?
    pub fn is_apart(&self) -> bool {
        !self.0.is_empty()
    }

    /// An absolute path in the tree; a relative one is the caller's.
    pub fn at(&self, path: &str) -> PathBuf {
        match path.starts_with('/') {
            true => PathBuf::from(format!("{}{path}", self.0)),
            false => PathBuf::from(path),
        }
    }

    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.at(path))
    }

    /// In Go's words, which name what failed and the path.
    pub fn read_go(&self, path: &str) -> Result<Vec<u8>, String> {
        self.read(path).map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::IsADirectory => "read",
                _ => "open",
            };
            format!("{what} {path}: {}", errno(&error))
        })
    }

    /// A database of users or groups: the tree's, and where it has none, the machine's.
    fn database(&self, name: &str) -> Vec<Vec<String>> {
        let text = self
            .read(&format!("/etc/{name}"))
            .or_else(|_| std::fs::read(format!("/etc/{name}")));
        let text = text.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split(':').map(str::to_string).collect())
            .collect()
    }

    pub fn users(&self) -> BTreeSet<String> {
        let lines = self.database("passwd").into_iter();
        lines.filter_map(|fields| fields.into_iter().next()).collect()
    }

    pub fn hostname(&self) -> String {
        if self.is_apart()
            && let Ok(name) = self.read("/etc/hostname")
        {
            return String::from_utf8_lossy(&name).trim().to_string();
        }
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// A user's id, group and home.
    pub fn user(&self, name: &str) -> Option<(u32, u32, String)> {
        let found = self.database("passwd").into_iter().find(|fields| fields[0] == name)?;
        let number = |at: usize| found.get(at)?.parse().ok();
        Some((number(2)?, number(3)?, found.get(5)?.clone()))
    }

    /// What chown's argument means: USER, USER:GROUP, USER: (the user's own group), :GROUP; names or numbers.
    pub fn owner(&self, owner: &str) -> Option<(Option<u32>, Option<u32>)> {
        let (user, group) = match owner.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (owner, None),
        };
        let found = self.user(user);
        let uid = match (user, &found) {
            ("", _) => None,
            (_, Some((uid, ..))) => Some(*uid),
            (number, None) => Some(number.parse().ok()?),
        };
        let gid = match group {
            None => None,
            Some("") => found.map(|(_, gid, _)| gid),
            Some(name) => {
                let line = self.database("group").into_iter().find(|fields| fields[0] == name);
                let gid = line.and_then(|fields| fields.get(2)?.parse().ok());
                Some(gid.or_else(|| name.parse().ok())?)
            }
        };
        Some((uid, gid))
    }
}
