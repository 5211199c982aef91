//! The disk as the log and the snapshots need it: a small trait, and the real one.
//!
//! The simulated runs bring a disk of their own that loses what was not synced.
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::wal::{Request, SharedWriter, Writer};
use crate::pretend::Pretended;

/// Milliseconds that a sync takes longer than it does: `lab fault disk-slow` leaves them there.
static SLOW: Pretended = Pretended::new("/run/lab/disk-slow");
/// A disk that is well again is noticed so soon.
const LOOK: Duration = Duration::from_millis(100);

pub trait Disk: Send + Sync + 'static {
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names of the files in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens for reading and writing, creating the file when it is not there.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Runs the log's writer until its requests end.
    fn run_writer(&self, writer: SharedWriter, requests: UnboundedReceiver<Request>);
    /// May a task that serves wait for a short write itself? Saves two changes of thread where the disk is fast.
    fn serves_inline(&self) -> bool;
    /// Runs work that blocks away from the tasks that serve.
    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

pub trait File: Send + Sync {
    fn size(&self) -> io::Result<u64>;
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves blocks up to `len`, which read as zeros until they are written.
    fn allocate(&self, len: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

/// The files of this machine.
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        slowly();
        fs::File::open(dir)?.sync_all()
    }

    fn run_writer(&self, writer: SharedWriter, mut requests: UnboundedReceiver<Request>) {
        let run = move || {
            let mut batch = Vec::new();
            while let Some(first) = requests.blocking_recv() {
                batch.push(first);
                while let Ok(more) = requests.try_recv() {
                    batch.push(more);
                }
                while !writer.lock().unwrap().write_queued(&mut batch) {
                    std::thread::sleep(Writer::RETRY);
                }
            }
        };
        std::thread::Builder::new()
            .name("wal".into())
            .spawn(run)
            .expect("a thread for the log");
    }

    fn serves_inline(&self) -> bool {
        true
    }

    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let task = tokio::task::spawn_blocking(work);
        Box::pin(async move {
            let _ = task.await;
        })
    }
}

struct OsFile(fs::File);

impl File for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len) {
            // Not every file system can: the file then grows as it is written.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        slowly();
        self.0.sync_data()
    }
}

/// Waits where the kernel would have the caller wait for a disk that is slow.
fn slowly() {
    let began = Instant::now();
    loop {
        let slow = Duration::from_millis(u64::try_from(SLOW.get()).unwrap_or(0));
        match slow.checked_sub(began.elapsed()) {
            Some(rest) if !rest.is_zero() => std::thread::sleep(rest.min(LOOK)),
            _ => return,
        }
    }
}

/// An exclusive lock on a directory, held until it is dropped or the process ends.
pub struct DirLock(#[allow(dead_code)] fs::File);

impl DirLock {
    /// Fails with `WouldBlock` when another process holds it.
    pub fn take(dir: &Path) -> io::Result<DirLock> {
        let file = fs::File::open(dir)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(DirLock(file))
    }
}

/// Writes a file so that it is there as a whole or not at all.
pub fn write_atomically(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<()> {
    let tmp = with_suffix(path, ".tmp");
    let file = disk.open(&tmp)?;
    file.set_len(0)?;
    file.write_at(contents, 0)?;
    file.sync()?;
    disk.rename(&tmp, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
