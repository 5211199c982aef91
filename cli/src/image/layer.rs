//! What is ours in a node: units and configuration, links, and the program.
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use crate::local::disk::{self, Content};
use crate::local::protocol::ImageSpec;

static TREE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../images/tree");
const LINKS: &str = include_str!("../../../images/links");
const LABNODE: &str = "/usr/bin/labnode";
/// Beside which systemd keeps other people's secrets out.
const SECRET: &str = "etc/sudoers.d/";

/// The first 16 digits of a checksum, enough for a name.
pub fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The layer's directory, made if it is not there.
pub fn make(image: &ImageSpec, shift: u32) -> io::Result<PathBuf> {
    let files = files(&image.labnode);
    let done = image
        .cache
        .join(format!("layer-{}-{shift}", name(&files, &image.labnode)?));
    super::made_once(&image.cache, done, shift, |making| {
        files.iter().try_for_each(|file| disk::put(making, shift, file))
    })
}

/// By what is in it. The program by what the file system knows of it: reading it all would take longer than a boot.
fn name(files: &[disk::File], labnode: &Path) -> io::Result<String> {
    let program = fs::metadata(labnode)?;
    let program = format!(
        "{} {} {} {}",
        program.ino(),
        program.len(),
        program.mtime(),
        program.mtime_nsec()
    );
    let files = serde_json::to_vec(files)?;
    Ok(digest(&[&files, program.as_bytes()]))
}

fn files(labnode: &Path) -> Vec<disk::File> {
    let mut files = Vec::new();
    tree(&TREE, &mut files);
    for line in LINKS.lines().filter(|line| !line.starts_with('#')) {
        if let Some((path, target)) = line.split_once(' ') {
            files.push(file(path, 0o777, Content::Link(target.into())));
        }
    }
    files.push(file(LABNODE, 0o755, Content::Copy(labnode.into())));
    files
}

fn tree(dir: &Dir<'_>, files: &mut Vec<disk::File>) {
    for entry in dir.files() {
        let path = entry.path().to_string_lossy();
        let mode = if path.starts_with(SECRET) { 0o440 } else { 0o644 };
        files.push(file(&path, mode, Content::Bytes(entry.contents().to_vec())));
    }
    for dir in dir.dirs() {
        tree(dir, files);
    }
}

fn file(path: &str, mode: u32, content: Content) -> disk::File {
    disk::File {
        path: path.into(),
        mode,
        owner: 0,
        content,
    }
}
