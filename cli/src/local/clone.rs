//! A program of ours in namespaces of its own: clone3, user maps, and what holds of it.
//!
//! The new process is this program again (`/proc/self/exe`), with other arguments. It waits until it is released: its
//! user map, cgroup and network are made meanwhile, so that its first instruction already runs inside all of them.
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::process::{Signal, WaitIdOptions, WaitIdStatus};

/// Users 0 to 65535 of a namespace, as those from `base` on of the one around it.
pub const USERS: u32 = 65536;

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

pub struct Program<'a> {
    /// What follows `lab`.
    pub args: &'a [&'a str],
    /// CLONE_NEW*.
    pub namespaces: libc::c_int,
    pub cgroup: Option<BorrowedFd<'a>>,
    pub directory: &'a Path,
    /// Becomes standard input, output and error, and the controlling terminal if it is one.
    pub console: BorrowedFd<'a>,
    /// Handed down as descriptors 3 and up.
    pub fds: &'a [BorrowedFd<'a>],
}

/// A process that waits to be released, or runs.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    pub pidfd: OwnedFd,
    release: Option<OwnedFd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// How the kernel takes clone3's arguments.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl Program<'_> {
    /// The working directory is a thread's own here, so that nobody else sees it change.
    pub fn spawn(&self) -> io::Result<Process> {
        std::thread::scope(|scope| scope.spawn(|| self.clone_here()).join().expect("no panic"))
    }

    fn clone_here(&self) -> io::Result<Process> {
        // SAFETY: no memory is involved; from here on this thread has its own working directory.
        check(unsafe { libc::unshare(libc::CLONE_FS) })?;
        std::env::set_current_dir(self.directory)?;
        let (wait, release) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let exe = CString::from(c"/proc/self/exe");
        let mut args = vec![CString::from(c"lab")];
        for arg in self.args {
            args.push(CString::new(*arg)?);
        }
        let env = match std::env::var("HOME") {
            Ok(home) => vec![CString::new(format!("HOME={home}"))?, path_variable()?],
            Err(_) => vec![path_variable()?],
        };
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter()
                .map(|text| text.as_ptr())
                .chain([std::ptr::null()])
                .collect()
        };
        let (argv, envp) = (pointers(&args), pointers(&env));
        let mut pidfd: i32 = -1;
        let mut clone = CloneArgs {
            flags: (self.namespaces as u64) | libc::CLONE_PIDFD as u64,
            pidfd: &raw mut pidfd as u64,
            exit_signal: libc::SIGCHLD as u64,
            ..CloneArgs::default()
        };
        if let Some(cgroup) = self.cgroup {
            clone.flags |= CLONE_INTO_CGROUP;
            clone.cgroup = cgroup.as_raw_fd() as u64;
        }
        // SAFETY: the arguments live until the call returns. The child has a copy of this memory, in which other threads
        // may have held locks: it calls nothing but async-signal-safe functions until it is another program.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const clone, size_of::<CloneArgs>()) };
        match pid {
            // SAFETY: this is that child.
            0 => unsafe { self.child(wait.as_raw_fd(), release.as_raw_fd(), &exe, &argv, &envp) },
            // SAFETY: the kernel has just made the descriptor for us.
            1.. => Ok(Process {
                pid: pid as i32,
                pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
                release: Some(release),
            }),
            _ => Err(refused(io::Error::last_os_error())),
        }
    }

    unsafe fn child(
        &self,
        wait: i32,
        release: i32,
        exe: &CString,
        argv: &[*const libc::c_char],
        envp: &[*const libc::c_char],
    ) -> ! {
        // SAFETY: system calls on numbers and on memory that was prepared before.
        unsafe {
            libc::close(release);
            let mut byte = 0u8;
            if libc::read(wait, (&raw mut byte).cast(), 1) != 1 {
                libc::_exit(0);
            }
            // Whoever we were is not mapped; only a change to a user that is makes exec keep the capabilities.
            libc::syscall(libc::SYS_setresgid, 0, 0, 0);
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>());
            libc::syscall(libc::SYS_setresuid, 0, 0, 0);
            libc::setsid();
            for number in 0..3 {
                libc::dup2(self.console.as_raw_fd(), number);
            }
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            // Away from the low numbers first, lest one overwrites another.
            for (at, fd) in self.fds.iter().enumerate() {
                libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, 200 + at as i32);
            }
            for at in 0..self.fds.len() as i32 {
                libc::dup2(200 + at, 3 + at);
                libc::close(200 + at);
            }
            // What the caller's shell has open would stay open as long as the lab runs.
            libc::syscall(libc::SYS_close_range, 3 + self.fds.len() as u32, u32::MAX, 0);
            libc::execve(exe.as_ptr(), argv.as_ptr(), envp.as_ptr());
            libc::_exit(126);
        }
    }
}

impl Process {
    /// Lets it run, with its users mapped from `base` on.
    pub fn map_users(&self, base: u32) -> io::Result<()> {
        // Root apart: an extent has to lie within one of the namespace around it, where an ordinary user is root.
        let map = format!("0 {base} 1\n1 {} {}\n", base + 1, USERS - 1);
        fs::write(format!("/proc/{}/uid_map", self.pid), &map)?;
        fs::write(format!("/proc/{}/gid_map", self.pid), &map)
    }

    pub fn network(&self) -> io::Result<File> {
        File::open(format!("/proc/{}/ns/net", self.pid))
    }

    pub fn release(&mut self) -> io::Result<()> {
        match self.release.take() {
            Some(release) => File::from(release).write_all(b"!"),
            None => Ok(()),
        }
    }

    pub fn kill(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// systemd's signals of its own lie above the ones that have names.
    pub fn kill_realtime(&self, number: i32) -> io::Result<()> {
        // SAFETY: a system call on numbers.
        check(unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                libc::SIGRTMIN() + number,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        } as i32)
    }

    /// Its end, if that has come.
    pub fn ended(&self) -> io::Result<Option<Exit>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = rustix::process::waitid(rustix::process::WaitId::PidFd(self.pidfd.as_fd()), options)?;
        Ok(status.map(|status| exit(&status)))
    }
}

fn exit(status: &WaitIdStatus) -> Exit {
    match status.exit_status() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.terminating_signal().unwrap_or(0)),
    }
}

/// The kernel's word for too many namespaces is that of a full disk.
fn refused(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => io::Error::new(
            io::ErrorKind::Unsupported,
            format!("no more namespaces are allowed here, see `sysctl user` ({error})"),
        ),
        _ => error,
    }
}

fn path_variable() -> io::Result<CString> {
    let path =
        std::env::var("PATH").unwrap_or_else(|_| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    Ok(CString::new(format!("PATH={path}"))?)
}

pub fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
