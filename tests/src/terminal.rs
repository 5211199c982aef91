//! A program on a terminal of its own: what it shows is read, lines are typed, and the terminal can be closed.
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Signal, ioctl_tiocsctty, set_parent_process_death_signal, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::{LIMIT, eventually, process};

pub struct Terminal {
    child: Child,
    /// None: it was closed.
    master: Option<File>,
    /// All that was shown, and how much of it has been waited for.
    shown: String,
    seen: usize,
    /// Bytes that are no text yet.
    rest: Vec<u8>,
}

impl Terminal {
    /// Starts it on a terminal that is so wide. It is killed when the calling thread ends.
    #[track_caller]
    pub fn spawn(mut command: Command, columns: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).expect("a size");
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).expect("fcntl");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let open = || {
            let path = name.to_str().expect("a path");
            let mut options = fs::File::options();
            options.read(true).write(true).open(path).expect("open the terminal")
        };
        command.stdin(open()).stdout(open()).stderr(open());
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            command.pre_exec(|| {
                // Whoever runs in the background of a shell without jobs has these ignored.
                for number in [libc::SIGINT, libc::SIGQUIT] {
                    libc::signal(number, libc::SIG_DFL);
                }
                setsid()?;
                ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
            });
        }
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("start {:?}: {error}", command.get_program()));
        Terminal {
            child,
            master: Some(File::from(master)),
            shown: String::new(),
            seen: 0,
            rest: Vec::new(),
        }
    }

    /// Everything up to and with this text, since the last one that was waited for.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        let at = loop {
            let is_open = self.read();
            if let Some(at) = self.shown[self.seen..].find(text) {
                break at;
            }
            assert!(is_open, "it ended without {text:?}:\n{}", self.shown);
            assert!(
                self.more(deadline.saturating_duration_since(Instant::now())),
                "waited {LIMIT:?} for {text:?}:\n{}",
                self.shown
            );
        };
        let from = self.seen;
        self.seen += at + text.len();
        self.shown[from..self.seen].to_string()
    }

    /// Waits until something is shown, or nobody has the terminal any more; false: neither has happened in this time.
    fn more(&self, limit: Duration) -> bool {
        let Some(master) = &self.master else { return false };
        let limit = limit.try_into().expect("a time");
        loop {
            match poll(&mut [PollFd::new(master, PollFlags::IN)], Some(&limit)) {
                Ok(count) => return count > 0,
                Err(Errno::INTR) => {}
                Err(error) => panic!("poll: {error}"),
            }
        }
    }

    /// What is there is taken; false: nobody has the terminal any more.
    fn read(&mut self) -> bool {
        let Some(master) = &mut self.master else { return false };
        let mut piece = [0; 4096];
        let is_open = loop {
            match master.read(&mut piece) {
                Ok(0) => break false,
                Ok(count) => self.rest.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                // EIO is how a terminal says that its other end is closed.
                Err(_) => break false,
            }
        };
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text: Vec<u8> = self.rest.drain(..whole).collect();
        self.shown += &String::from_utf8_lossy(&text);
        is_open
    }

    /// All that was shown so far.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        let master = self.master.as_mut().expect("it is open");
        master.write_all(text.as_bytes()).expect("type");
    }

    /// As when its window is closed.
    pub fn close(&mut self) {
        self.master = None;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        process::kill(self.pid(), signal);
    }

    /// Returns when the program has ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the program ends", || {
            self.read();
            self.child.try_wait().expect("wait for a child")
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
