//! A disk in memory that forgets what was not synced when its machine crashes, sector by sector.
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use labnode::raft::disk::{Disk, File};
use labnode::raft::wal::{Request, SharedWriter, Writer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc::UnboundedReceiver;

const SECTOR: usize = 512;

/// The platters, which outlive a crash.
pub struct SimDisk(Mutex<State>);

struct State {
    rng: StdRng,
    /// Counts crashes: a file opened before one is dead.
    epoch: u64,
    names: BTreeMap<PathBuf, Arc<Mutex<Inode>>>,
    durable_names: BTreeMap<PathBuf, Arc<Mutex<Inode>>>,
    full: bool,
    slow: bool,
}

#[derive(Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl SimDisk {
    pub fn new(seed: u64) -> Arc<SimDisk> {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            epoch: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            full: false,
            slow: false,
        };
        Arc::new(SimDisk(Mutex::new(state)))
    }

    pub fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    pub fn set_slow(&self, slow: bool) {
        self.0.lock().unwrap().slow = slow;
    }

    /// The machine loses power: of what was written and not synced, some sectors made it.
    pub fn crash(&self) {
        let mut guard = self.0.lock().unwrap();
        let state = &mut *guard;
        state.epoch += 1;
        state.full = false;
        state.slow = false;
        state.names = state.durable_names.clone();
        let chance = [0.0, 0.5, 1.0][state.rng.random_range(0..3)];
        let inodes: Vec<_> = state.names.values().cloned().collect();
        for inode in inodes {
            let mut inode = inode.lock().unwrap();
            let unsynced = std::mem::take(&mut inode.unsynced);
            for (offset, data) in unsynced {
                let mut at = offset;
                while at < offset + data.len() {
                    let end = ((at / SECTOR + 1) * SECTOR).min(offset + data.len());
                    if state.rng.random_bool(chance) && end <= inode.durable.len() {
                        inode.durable[at..end].copy_from_slice(&data[at - offset..end - offset]);
                    }
                    at = end;
                }
            }
            inode.current = inode.durable.clone();
        }
    }

    /// This machine's view of the disk until its next crash.
    pub fn mount(self: &Arc<Self>) -> Arc<dyn Disk> {
        let epoch = self.0.lock().unwrap().epoch;
        Arc::new(Mount {
            disk: self.clone(),
            epoch,
        })
    }
}

struct Mount {
    disk: Arc<SimDisk>,
    epoch: u64,
}

impl Mount {
    fn state(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let state = self.disk.0.lock().unwrap();
        if state.epoch != self.epoch {
            return Err(io::Error::other("the machine has crashed"));
        }
        Ok(state)
    }

    /// How long the disk takes for one piece of work.
    fn delay(&self) -> Duration {
        let mut state = self.disk.0.lock().unwrap();
        let slow = state.slow;
        Duration::from_micros(state.rng.random_range(if slow { 50_000..400_000 } else { 100..4000 }))
    }
}

impl Disk for Mount {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.state().map(drop)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state()?;
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_string()))
            .collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let inode = self.state()?.names.entry(path.to_path_buf()).or_default().clone();
        Ok(Arc::new(Handle {
            disk: self.disk.clone(),
            epoch: self.epoch,
            inode,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_path_buf(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state()?
            .names
            .remove(path)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.durable_names.retain(|path, _| path.parent() != Some(dir));
        let synced: Vec<_> = state
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir))
            .map(|(p, i)| (p.clone(), i.clone()))
            .collect();
        state.durable_names.extend(synced);
        Ok(())
    }

    fn run_writer(&self, writer: SharedWriter, mut requests: UnboundedReceiver<Request>) {
        let mount = Mount {
            disk: self.disk.clone(),
            epoch: self.epoch,
        };
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while let Some(first) = requests.recv().await {
                batch.push(first);
                while let Ok(more) = requests.try_recv() {
                    batch.push(more);
                }
                tokio::time::sleep(mount.delay()).await;
                while !writer.lock().unwrap().write_queued(&mut batch) {
                    tokio::time::sleep(Writer::RETRY).await;
                }
            }
        });
    }

    fn serves_inline(&self) -> bool {
        false
    }

    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let delay = self.delay();
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            work();
        })
    }
}

struct Handle {
    disk: Arc<SimDisk>,
    epoch: u64,
    inode: Arc<Mutex<Inode>>,
}

impl Handle {
    fn alive(&self, writes: bool) -> io::Result<()> {
        let state = self.disk.0.lock().unwrap();
        if state.epoch != self.epoch {
            return Err(io::Error::other("the machine has crashed"));
        }
        if writes && state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl File for Handle {
    fn size(&self) -> io::Result<u64> {
        self.alive(false)?;
        Ok(self.inode.lock().unwrap().current.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.alive(false)?;
        let inode = self.inode.lock().unwrap();
        let from = inode
            .current
            .get(offset as usize..offset as usize + buf.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(from);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.alive(true)?;
        let mut inode = self.inode.lock().unwrap();
        let (start, end) = (offset as usize, offset as usize + buf.len());
        if inode.current.len() < end {
            inode.current.resize(end, 0);
        }
        if inode.durable.len() < end {
            inode.durable.resize(end, 0);
        }
        inode.current[start..end].copy_from_slice(buf);
        inode.unsynced.push((start, buf.to_vec()));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.alive(false)?;
        let mut inode = self.inode.lock().unwrap();
        inode.current.resize(len as usize, 0);
        inode.durable.resize(len as usize, 0);
        inode
            .unsynced
            .retain(|(offset, data)| offset + data.len() <= len as usize);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.alive(true)?;
        // Enough to meet the zeros behind the end; a real segment's 64 MiB would only cost the test memory.
        let len = (len as usize).min(64 << 10);
        let mut inode = self.inode.lock().unwrap();
        if inode.current.len() < len {
            inode.current.resize(len, 0);
            inode.durable.resize(len, 0);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.alive(true)?;
        let mut inode = self.inode.lock().unwrap();
        inode.durable = inode.current.clone();
        inode.unsynced.clear();
        Ok(())
    }
}
