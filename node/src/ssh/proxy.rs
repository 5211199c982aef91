//! A command in place of a connection, as ssh's ProxyCommand: it carries the bytes, or hands over a connected socket.
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// For a shell, filled in.
    pub command: String,
    /// It passes a socket instead of bytes.
    pub fdpass: bool,
}

/// A connection, whatever it is made of.
pub enum Link {
    Tcp(TcpStream),
    /// The command lives as long as what it carries.
    Command(UnixStream, #[allow(dead_code, reason = "killed when dropped")] Child),
}

impl Proxy {
    pub async fn connect(&self) -> io::Result<Link> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("exec {}", self.command));
        command
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)));
        let mut child = command.kill_on_drop(true).spawn()?;
        // The command holds copies of its end: with ours gone, its death is seen.
        drop(command);
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        if !self.fdpass {
            return Ok(Link::Command(ours, child));
        }
        let passed = receive(&ours).await;
        let status = child.wait().await?;
        let Some(socket) = passed? else {
            return Err(io::Error::other(format!(
                "the ProxyCommand `{}` handed over no connection ({status})",
                self.command
            )));
        };
        let stream = std::net::TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream).map(Link::Tcp)
    }
}

async fn receive(from: &UnixStream) -> io::Result<Option<OwnedFd>> {
    from.async_io(tokio::io::Interest::READABLE, || {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(
            from,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let passed = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
            _ => None,
        });
        Ok(passed)
    })
    .await
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Link::Command(stream, _) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Link::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Link::Command(stream, _) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Link::Command(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Link::Command(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
