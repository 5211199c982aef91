//! The side of `lab`: finds the lab's supervisor, or starts it, and asks.
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FlockOperation;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::clone::Program;
use super::protocol::{Event, Request};
use super::rootless;
use crate::faults::{Fault, Lease};

const TURN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Supervisor {
    pub socket: PathBuf,
}

impl Supervisor {
    /// The one that serves the lab with its state in `dir`, if it does.
    pub fn find(dir: &Path) -> Option<Supervisor> {
        let supervisor = Supervisor {
            socket: dir.join("socket"),
        };
        // One that was killed takes connections until it is gone.
        supervisor.ask(&Request::Ping, |_| {}).is_ok().then_some(supervisor)
    }

    /// For the lab of the directory `project`, by which `lab gc` knows whose this is.
    pub fn start(dir: &Path, project: &Path) -> io::Result<Supervisor> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("project"), project.as_os_str().as_bytes())?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join("supervisor.log"))?;
        let text = dir
            .to_str()
            .ok_or_else(|| io::Error::other("the lab's directory has a name that is no text"))?;
        let root = rustix::process::geteuid().is_root();
        let mut process = Program {
            args: &["supervise", text],
            namespaces: libc::CLONE_NEWPID | libc::CLONE_NEWNS | if root { 0 } else { libc::CLONE_NEWUSER },
            cgroup: None,
            directory: Path::new("/"),
            console: log.as_fd(),
            fds: &[],
        }
        .spawn()
        .map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
        if !root {
            rootless::map(process.pid)?;
        }
        process.release()?;
        loop {
            if let Some(supervisor) = Supervisor::find(dir) {
                return Ok(supervisor);
            }
            // Its end makes the descriptor readable.
            let mut ended = [PollFd::new(&process.pidfd, PollFlags::IN)];
            let pause = rustix::time::Timespec::try_from(Duration::from_millis(1)).expect("fits");
            if poll(&mut ended, Some(&pause))? > 0 {
                let log = fs::read_to_string(dir.join("supervisor.log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                return Err(io::Error::other(format!(
                    "the lab's supervisor ended: {}",
                    last.join("\n")
                )));
            }
        }
    }

    /// A connection to a node's port, made at the host's end of the wire; without a limit, TCP's own patience counts.
    pub fn connect(&self, host: &str, port: u16, limit: Option<Duration>) -> io::Result<OwnedFd> {
        let stream = self.send(&Request::Connect {
            host: host.into(),
            port,
        })?;
        stream.set_read_timeout(limit)?;
        let mut line = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&stream, &mut [IoSliceMut::new(&mut line)], &mut control, flags)?;
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        fd.ok_or_else(|| match serde_json::from_slice(&line[..received.bytes]) {
            Ok(Event::Failed { why, .. }) => io::Error::other(why),
            _ => io::Error::other("the lab's supervisor sent no connection"),
        })
    }

    /// What is typed and printed at a node's console from now on.
    pub fn console(&self, node: &str) -> io::Result<UnixStream> {
        let stream = self.send(&Request::Console { node: node.into() })?;
        let mut line = Vec::new();
        let mut byte = [0];
        // Byte by byte: what follows the line is the console's.
        while byte[0] != b'\n' {
            (&stream).read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        match serde_json::from_slice(&line)? {
            Event::Failed { why, .. } => Err(io::Error::other(why)),
            _ => Ok(stream),
        }
    }

    /// A fault that lasts until it is healed, or until the connection that comes back is closed, by whatever.
    pub fn hold(&self, fault: &Fault) -> io::Result<(Vec<Lease>, UnixStream)> {
        let request = Request::Fault {
            fault: fault.clone(),
            limit: None,
            held: true,
            seed: None,
        };
        let stream = self.send(&request)?;
        let mut leases = Vec::new();
        let mut lines = BufReader::new(&stream);
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            match serde_json::from_str(&line)? {
                Event::Fault(lease) => leases.push(lease),
                Event::Failed { why, .. } => return Err(io::Error::other(why)),
                _ => return Ok((leases, stream)),
            }
        }
    }

    fn send(&self, request: &Request) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket)?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        Ok(stream)
    }

    /// Everything down; returns when the supervisor is gone as well.
    pub fn end(&self, each: impl FnMut(&Event)) -> io::Result<Event> {
        let last = self.ask(&Request::End, each)?;
        let lock = File::open(self.socket.with_file_name("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::LockShared)?;
        Ok(last)
    }

    /// Asks, hands on every event, and returns with the last one.
    pub fn ask(&self, request: &Request, each: impl FnMut(&Event)) -> io::Result<Event> {
        let last = self.ask_while(request, each, || true)?;
        Ok(last.expect("it goes on to the end"))
    }

    /// As long as `go_on` says so, which is asked ten times a second. None: it did not.
    pub fn ask_while(
        &self,
        request: &Request,
        mut each: impl FnMut(&Event),
        mut go_on: impl FnMut() -> bool,
    ) -> io::Result<Option<Event>> {
        let stream = self.send(request)?;
        stream.set_read_timeout(Some(TURN))?;
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        let mut asked = Instant::now();
        loop {
            // What has been read of a line stays in it when the time is up.
            match stream.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => {
                    let event: Event = serde_json::from_slice(&line)?;
                    if matches!(event, Event::Done | Event::Failed { .. }) {
                        return Ok(Some(event));
                    }
                    each(&event);
                    line.clear();
                }
                Ok(_) => {
                    let what = "the lab's supervisor ended";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
            if asked.elapsed() >= TURN {
                asked = Instant::now();
                if !go_on() {
                    return Ok(None);
                }
            }
        }
    }
}
