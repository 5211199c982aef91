//! Members as processes: starting one that outlives us, knowing it again, stopping it.
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, setsid};

/// A process as it was when we started it. A number alone may by now be somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub pid: u32,
    /// In clock ticks since the machine came up.
    pub start_time: u64,
    pub exe: String,
}

impl Identity {
    fn of(pid: u32, exe: &Path) -> io::Result<Identity> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, start_time) = parse_stat(&stat).ok_or_else(|| io::Error::other("no start time in /proc"))?;
        Ok(Identity {
            pid,
            start_time,
            exe: exe.to_string_lossy().into_owned(),
        })
    }

    pub fn parse(text: &str) -> Option<Identity> {
        let mut parts = text.trim_end_matches('\n').splitn(3, ' ');
        Some(Identity {
            pid: parts.next()?.parse().ok()?,
            start_time: parts.next()?.parse().ok()?,
            exe: parts.next()?.to_string(),
        })
    }

    pub fn is_alive(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        let running = parse_stat(&stat).is_some_and(|(state, start)| state != 'Z' && start == self.start_time);
        let Ok(exe) = fs::read_link(format!("/proc/{}/exe", self.pid)) else {
            return false;
        };
        // So the kernel marks a program that was built anew while it runs.
        let exe = exe.to_string_lossy();
        running && exe.strip_suffix(" (deleted)").unwrap_or(&exe) == self.exe
    }

    /// The process itself, to which its number cannot be given again while we hold this.
    pub fn open(&self) -> Option<Running> {
        let fd = pidfd_open(Pid::from_raw(i32::try_from(self.pid).ok()?)?, PidfdFlags::empty()).ok()?;
        // Asked after opening: whose descriptor it is can no longer change.
        self.is_alive().then_some(Running { fd })
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} {} {}", self.pid, self.start_time, self.exe)
    }
}

pub struct Running {
    fd: OwnedFd,
}

impl Running {
    /// A process that has ended meanwhile is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.fd, signal);
    }

    /// Whether it has ended within that time.
    pub fn wait(&self, time: Duration) -> bool {
        let time = Timespec {
            tv_sec: time.as_secs().cast_signed(),
            tv_nsec: time.subsec_nanos().into(),
        };
        let ended = poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&time));
        ended.is_ok_and(|ready| ready > 0)
    }
}

/// State and start time of a line of /proc/PID/stat. The name before them may hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Starts a member in a session of its own, with its output at the end of `log`.
pub fn start(program: &Path, arguments: &[String], log: &File) -> io::Result<(Child, Identity)> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(log.try_clone()?).stderr(log.try_clone()?);
    // A lab is the same for everybody: nobody's ETCD_ variables change it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_for_etcd(name)) {
        command.env_remove(name);
    }
    // SAFETY: between fork and exec only setsid is called.
    unsafe {
        command.pre_exec(|| Ok(setsid().map(|_| ())?));
    }
    let child = command.spawn()?;
    let identity = Identity::of(child.id(), program)?;
    Ok((child, identity))
}

fn is_for_etcd(name: &OsString) -> bool {
    name == "NOTIFY_SOCKET" || name.as_encoded_bytes().starts_with(b"ETCD_")
}

/// The `labnode` beside this program, or else the first in the PATH.
pub fn find_labnode() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.parent()?.to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = [beside].into_iter().chain(std::env::split_paths(&path));
    let found = dirs.map(|dir| dir.join("labnode")).find(|file| file.is_file())?;
    found.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_a_name_with_spaces_and_brackets() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 5 0 987654 1000 20 18446744073709551615";
        assert_eq!(parse_stat(stat), Some(('S', 987_654)));
        assert_eq!(parse_stat("42 (a) S 1"), None);
    }

    #[test]
    fn an_identity_survives_being_written_down() {
        let identity = Identity {
            pid: 7,
            start_time: 99,
            exe: "/a b/labnode".into(),
        };
        assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
        assert_eq!(Identity::parse("7 x /labnode"), None);
    }

    #[test]
    fn a_process_is_alive_only_under_its_own_start_time_and_program() {
        let exe = std::env::current_exe()
            .expect("our path")
            .canonicalize()
            .expect("its file");
        let ours = Identity::of(std::process::id(), &exe).expect("we run");
        assert!(ours.is_alive() && ours.open().is_some());
        let earlier = Identity {
            start_time: ours.start_time - 1,
            ..ours.clone()
        };
        assert!(!earlier.is_alive() && earlier.open().is_none());
        let other = Identity {
            exe: "/bin/true".into(),
            ..ours
        };
        assert!(!other.is_alive() && other.open().is_none());
    }
}
