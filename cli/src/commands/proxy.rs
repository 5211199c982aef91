//! `lab proxy`: the way of an ssh client to a node, as its ProxyCommand.
use std::fs::File;
use std::io::{self, IoSlice, copy};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::args::Proxy;
use crate::failure::{Exit, Failure};
use crate::lab::Lab;
use crate::local::client::Supervisor;
use crate::ui;

pub fn run(args: &Proxy) -> Result<(), Failure> {
    let supervisor = match &args.state {
        Some(state) => Supervisor::find(state),
        None => Lab::existing()?.supervisor(),
    };
    let place = format!("{}:{}", args.host, args.port);
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Failed,
            "the node cannot be reached",
            &place,
            error,
            ui::command("status"),
        )
    };
    let supervisor = supervisor.ok_or_else(|| failed(&"the lab is down"))?;
    let connection = supervisor
        .connect(&args.host, args.port, None)
        .map_err(|error| failed(&error))?;
    let result = match args.fdpass {
        true => pass(connection.as_fd()),
        false => carry(TcpStream::from(connection)),
    };
    result.map_err(|error| failed(&error))
}

/// ssh goes on with the connection itself: nobody stands between.
fn pass(connection: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [connection];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(io::stdout(), &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?;
    Ok(())
}

fn carry(stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let mut to_node = stream.try_clone()?;
    std::thread::spawn(move || {
        let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        copy(&mut input, &mut to_node)?;
        to_node.shutdown(Shutdown::Write)
    });
    // Not by way of the standard library's buffer, which waits for the end of a line.
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    copy(&mut &stream, &mut output).map(drop)
}
