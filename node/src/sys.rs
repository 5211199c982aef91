//! What only the operating system can do: die of a signal, tell systemd, take its sockets, print.
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Prints what a program says before it has a log. A reader that is gone is no error.
pub fn print(stdout: &str, stderr: &str) {
    let mut out = std::io::stdout().lock();
    // A question does not end with a newline, which a terminal's output would wait for.
    let _ = out.write_all(stdout.as_bytes()).and_then(|()| out.flush());
    let _ = std::io::stderr().lock().write_all(stderr.as_bytes());
}

/// Tells systemd that the service is ready, if systemd asked to be told.
pub fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = sent {
        crate::log::warning!("etcdmain", "cannot tell systemd on {}: {error}", path.display());
    }
}

/// The sockets that systemd listens on for this process, once: whoever takes them has them.
pub fn take_listen_fds() -> Vec<OwnedFd> {
    const FIRST: i32 = 3;
    static TAKEN: std::sync::Once = std::sync::Once::new();
    let number = |name: &str| std::env::var(name).ok()?.parse::<i32>().ok();
    let ours = number("LISTEN_PID") == Some(rustix::process::getpid().as_raw_pid());
    let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
    let mut sockets = Vec::new();
    TAKEN.call_once(|| {
        for fd in FIRST..FIRST + count {
            // SAFETY: systemd opened these descriptors for us, and nobody has taken them before.
            let socket = unsafe { OwnedFd::from_raw_fd(fd) };
            let _ = rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC);
            sockets.push(socket);
        }
    });
    sockets
}

/// Ends the process by the signal that stopped it, so that its parent sees why. As pid 1, which signals do not
/// kill, returns the status to exit with.
pub fn die_of(signal: i32) -> i32 {
    if rustix::process::getpid() != rustix::process::Pid::INIT {
        // SAFETY: restores the default action of a signal and raises it; no memory is shared with a handler.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    0
}
