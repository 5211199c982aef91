//! Snapshot files, `member/snap/%016x-%016x.snap` (term, index): the whole state at one point of the log.
//!
//! ```text
//! "CORESNAP" | version u8 = 1 | len u32 | postcard(Header) | the key space (kv/snapshot.rs) | crc32 of all before u32
//! ```
//! little-endian. A file is complete or, by its checksum, not a snapshot.
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::disk::{Disk, File, with_suffix};
use super::sessions::Sessions;
use super::types::{LogId, SnapshotMeta, log_id, term_of};
use crate::kv;

const MAGIC: &[u8; 8] = b"CORESNAP";
const VERSION: u8 = 1;
const MAX_HEADER: u32 = 16 << 20;
/// Written and synced in pieces of this size, so that the log's syncs never wait for a whole snapshot.
const SYNC_BYTES: u64 = 4 << 20;

/// What a snapshot holds besides the key space.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    pub meta: SnapshotMeta,
    pub time: kv::Time,
    pub sessions: Sessions,
}

/// A complete snapshot on disk.
#[derive(Clone)]
pub struct SnapshotFile {
    pub disk: Arc<dyn Disk>,
    pub path: PathBuf,
}

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

pub fn name(id: &LogId) -> String {
    format!("{:016x}-{:016x}.snap", term_of(id), id.index)
}

fn parse_name(name: &str) -> Option<LogId> {
    let (term, index) = name.strip_suffix(".snap")?.split_once('-')?;
    Some(log_id(
        u64::from_str_radix(term, 16).ok()?,
        u64::from_str_radix(index, 16).ok()?,
    ))
}

/// Writes a snapshot under its name; until it is complete it has another.
pub fn write(disk: &Arc<dyn Disk>, dir: &Path, header: &Header, state: &kv::Snapshot) -> io::Result<SnapshotFile> {
    let id = header
        .meta
        .last_log_id
        .as_ref()
        .ok_or_else(|| io::Error::other("a snapshot of nothing"))?;
    let path = dir.join(name(id));
    let tmp = with_suffix(&path, ".tmp");
    let result = write_to(disk.as_ref(), &tmp, header, state);
    if let Err(error) = result {
        let _ = disk.remove(&tmp);
        return Err(error);
    }
    disk.rename(&tmp, &path)?;
    disk.sync_dir(dir)?;
    Ok(SnapshotFile {
        disk: disk.clone(),
        path,
    })
}

/// Writes a snapshot under any name.
pub(super) fn write_to(disk: &dyn Disk, path: &Path, header: &Header, state: &kv::Snapshot) -> io::Result<()> {
    let file = disk.open(path)?;
    file.set_len(0)?;
    let mut out = Out {
        file: file.as_ref(),
        buffer: Vec::with_capacity(1 << 16),
        offset: 0,
        synced: 0,
        crc: crc32fast::Hasher::new(),
    };
    let head = postcard::to_stdvec(header).map_err(io::Error::other)?;
    out.write_all(MAGIC)?;
    out.write_all(&[VERSION])?;
    out.write_all(&(head.len() as u32).to_le_bytes())?;
    out.write_all(&head)?;
    state.write(&mut out)?;
    let crc = out.crc.clone().finalize();
    out.write_all(&crc.to_le_bytes())?;
    out.flush()?;
    file.sync()
}

/// Reads and checks a snapshot.
pub fn read(disk: &dyn Disk, path: &Path, history: usize) -> io::Result<(Header, kv::Snapshot)> {
    let (header, mut input) = read_header(disk, path)?;
    let state = kv::Snapshot::read(&mut input, history).map_err(|error| bad(path, &error.to_string()))?;
    io::copy(&mut input, &mut io::sink())?;
    input.finish(path)?;
    Ok((header, state))
}

/// Reads all of it to see whether it is whole.
pub async fn check(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<()> {
    let (result, wait) = tokio::sync::oneshot::channel();
    let (job_disk, path) = (disk.clone(), path.to_path_buf());
    disk.blocking(Box::new(move || {
        let _ = result.send(check_now(job_disk.as_ref(), &path));
    }))
    .await;
    wait.await.map_err(io::Error::other)?
}

fn check_now(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let (_, mut input) = read_header(disk, path)?;
    io::copy(&mut input, &mut io::sink())?;
    input.finish(path)
}

/// Reads the header alone; the checksum covers the whole file and is not checked.
pub fn read_header(disk: &dyn Disk, path: &Path) -> io::Result<(Header, In)> {
    let file = disk.open(path)?;
    let len = file.size()?;
    if len < 17 {
        return Err(bad(path, "too short for a snapshot"));
    }
    let mut input = In {
        file,
        buffer: Vec::new(),
        at: 0,
        offset: 0,
        end: len - 4,
        crc: crc32fast::Hasher::new(),
    };
    let mut start = [0; 13];
    input.read_exact(&mut start)?;
    if &start[..8] != MAGIC {
        return Err(bad(path, "not a snapshot"));
    }
    if start[8] != VERSION {
        return Err(bad(
            path,
            &format!("version {} of the format is not known here", start[8]),
        ));
    }
    let head_len = u32::from_le_bytes([start[9], start[10], start[11], start[12]]);
    if head_len > MAX_HEADER || u64::from(head_len) > len {
        return Err(bad(path, "damaged header"));
    }
    let mut head = vec![0; head_len as usize];
    input.read_exact(&mut head)?;
    let header = postcard::from_bytes(&head).map_err(|_| bad(path, "damaged header"))?;
    Ok((header, input))
}

fn bad(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
}

/// The newest good snapshot of a directory. One that is not good is put aside with a log line.
pub fn newest(disk: &Arc<dyn Disk>, dir: &Path, history: usize) -> io::Result<Option<(Header, kv::Snapshot)>> {
    for name in disk.list(dir)?.iter().rev() {
        let path = dir.join(name);
        if name.ends_with(".tmp") {
            disk.remove(&path)?;
            continue;
        }
        if parse_name(name).is_none() {
            continue;
        }
        match read(disk.as_ref(), &path, history) {
            Ok(found) => return Ok(Some(found)),
            Err(error)
                if error.kind() == io::ErrorKind::InvalidData || error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                crate::log::warning!("snap", "cannot read snapshot {error}; put aside as {name}.broken");
                disk.rename(&path, &with_suffix(&path, ".broken"))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The newest snapshot file, unread.
pub fn current(disk: &Arc<dyn Disk>, dir: &Path) -> io::Result<Option<SnapshotFile>> {
    let names = disk.list(dir)?;
    Ok(names
        .iter()
        .rev()
        .find(|name| parse_name(name).is_some())
        .map(|name| SnapshotFile {
            disk: disk.clone(),
            path: dir.join(name),
        }))
}

/// Removes all but the `keep` newest; 0 keeps every one.
pub fn remove_old(disk: &dyn Disk, dir: &Path, keep: usize) {
    let Ok(names) = disk.list(dir) else { return };
    let names: Vec<_> = names.iter().filter(|name| parse_name(name).is_some()).collect();
    if keep > 0 && names.len() > keep {
        for name in &names[..names.len() - keep] {
            if disk.remove(&dir.join(name)).is_ok() {
                crate::log::info!("fileutil", "purged file {} successfully", dir.join(name).display());
            }
        }
    }
}

struct Out<'a> {
    file: &'a dyn File,
    buffer: Vec<u8>,
    offset: u64,
    synced: u64,
    crc: crc32fast::Hasher,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.crc.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= 1 << 16 {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        if self.offset - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.offset;
        }
        Ok(())
    }
}

pub struct In {
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    at: usize,
    offset: u64,
    end: u64,
    crc: crc32fast::Hasher,
}

impl In {
    /// To be called at the end: is it what was written?
    fn finish(self, path: &Path) -> io::Result<()> {
        let mut crc = [0; 4];
        self.file.read_at(&mut crc, self.end)?;
        match self.crc.finalize() == u32::from_le_bytes(crc) {
            true => Ok(()),
            false => Err(bad(path, "does not match its checksum")),
        }
    }
}

impl Read for In {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            let len = (self.end - self.offset).min(1 << 16) as usize;
            self.buffer.resize(len, 0);
            self.at = 0;
            if len == 0 {
                return Ok(0);
            }
            self.file.read_at(&mut self.buffer, self.offset)?;
            self.crc.update(&self.buffer);
            self.offset += len as u64;
        }
        let len = out.len().min(self.buffer.len() - self.at);
        out[..len].copy_from_slice(&self.buffer[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}
