//! A node's serial console: a terminal whose other end is a log, and whoever is attached.
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;

/// What an attached reader may lag behind before it misses something.
const LAG: usize = 256;

#[derive(Debug)]
pub struct Console {
    master: AsyncFd<OwnedFd>,
    /// Empty bytes are the end.
    output: broadcast::Sender<Vec<u8>>,
    /// systemd opens and closes its end for every line; while nobody has it open, the terminal counts as hung up.
    held: Mutex<Option<OwnedFd>>,
}

impl Console {
    /// The node's end belongs to its root.
    pub fn open(owner: u32) -> io::Result<(Console, OwnedFd)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let node = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, 0.into())?;
        // An ordinary user's is his already, and its group nobody's whom his namespace knows.
        if owner != 0 {
            rustix::fs::fchown(
                &node,
                Some(rustix::fs::Uid::from_raw(owner)),
                Some(rustix::fs::Gid::from_raw(owner)),
            )?;
        }
        rustix::io::ioctl_fionbio(&master, true)?;
        let console = Console {
            // SAFETY: it is the descriptor's owner, and nobody else closes it.
            master: unsafe { AsyncFd::register(master)? },
            output: broadcast::channel(LAG).0,
            held: Mutex::new(Some(node.try_clone()?)),
        };
        Ok((console, node))
    }

    pub fn attach(&self) -> broadcast::Receiver<Vec<u8>> {
        self.output.subscribe()
    }

    pub async fn type_in(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.master.writable().await?;
            if let Ok(written) = ready.try_io(|master| Ok(rustix::io::write(master.as_fd(), bytes)?)) {
                bytes = &bytes[written?..];
            }
        }
        Ok(())
    }

    /// The node is gone: `run` ends with its last words.
    pub fn hang_up(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Copies what the node prints to its log and to who is attached, until it is hung up.
    pub async fn run(&self, log: &Path) {
        use std::io::Write;
        let mut file = fs::File::options().create(true).append(true).open(log).ok();
        let mut buffer = [0; 4096];
        loop {
            let Ok(mut ready) = self.master.readable().await else {
                break;
            };
            match ready.try_io(|master| Ok(rustix::io::read(master.as_fd(), &mut buffer[..])?)) {
                // EIO is how a terminal says that its other end is closed.
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(read)) => {
                    if let Some(file) = &mut file {
                        let _ = file.write_all(&buffer[..read]);
                    }
                    let _ = self.output.send(buffer[..read].to_vec());
                }
                Err(_) => {}
            }
        }
        let _ = self.output.send(Vec::new());
    }
}
