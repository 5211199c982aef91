//! What a directory tree holds, and how it differs from what it held before.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

/// Files and links by their path from the root, as the recorded cases describe them.
pub type Tree = BTreeMap<String, Value>;

#[track_caller]
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    visit(root, "", &mut tree);
    tree
}

#[track_caller]
fn visit(dir: &Path, prefix: &str, tree: &mut Tree) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let entry = entry.expect("an entry");
        let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        let found = fs::symlink_metadata(entry.path()).expect("metadata");
        if found.is_dir() {
            visit(&entry.path(), &path, tree);
        } else if found.is_symlink() {
            let target = fs::read_link(entry.path()).expect("a link");
            tree.insert(path, json!({"link": target.to_string_lossy()}));
        } else {
            let content = fs::read(entry.path()).expect("a file");
            let mode = format!("{:04o}", found.mode() & 0o7777);
            let content = String::from_utf8_lossy(&content).into_owned();
            let (uid, gid) = (found.uid(), found.gid());
            tree.insert(path, json!({"mode": mode, "uid": uid, "gid": gid, "content": content}));
        }
    }
}

/// What is new or different, and what is gone.
pub fn difference(before: &Tree, after: &Tree) -> Tree {
    let changed = after.iter().filter(|(path, found)| before.get(*path) != Some(found));
    let mut difference: Tree = changed.map(|(path, found)| (path.clone(), found.clone())).collect();
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    difference.extend(gone.map(|path| (path.clone(), json!({"deleted": true}))));
    difference
}
