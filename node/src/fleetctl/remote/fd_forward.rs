//! `fleetctl fd-forward`: joins stdin and stdout with a unix socket; what a tunnel runs on the machine at its end.
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

use super::failed;
use crate::cloudconfig::go::errno;

pub fn run(args: &[String]) -> i32 {
    let [path] = args else {
        return failed(1, "Provide a single argument");
    };
    let socket = match UnixStream::connect(path) {
        Ok(socket) => socket,
        // As the original: whoever reads the stream sees it end, and the text.
        Err(error) => {
            return failed(
                0,
                &format!(
                    "Failed dialing remote address: dial unix {path}: connect: {}",
                    errno(&error)
                ),
            );
        }
    };
    let joined = socket.try_clone().and_then(|to| {
        thread::spawn(move || feed(&to));
        answer(&socket)
    });
    match joined {
        Ok(()) => 0,
        Err(error) => failed(1, &format!("Encountered error during copy: {}", errno(&error))),
    }
}

/// Not by way of the standard library's buffers, which wait for the end of a line.
fn unbuffered(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

/// The end of the input is passed on and no more: the answer is still to come. It ends with its reader.
fn feed(mut socket: &UnixStream) {
    let copied = unbuffered(io::stdin()).and_then(|mut input| carry(&mut input, &mut socket));
    let _ = socket.shutdown(Shutdown::Write);
    let out = io::stdout();
    if copied.is_ok() && poll(&mut [PollFd::new(&out, PollFlags::empty())], None).is_ok() {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

fn answer(mut socket: &UnixStream) -> io::Result<()> {
    carry(&mut socket, &mut unbuffered(io::stdout())?)
}

/// Each piece as it comes. io::copy has the kernel move bytes between descriptors, which keeps an answer back until the
/// connection ends.
fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 1 << 15];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
