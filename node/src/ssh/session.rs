//! What is done over a connection: a command or a shell in the user's terminal, and streams to what the host reaches.
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelOpenFailure, Pty, Sig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::signal::unix::{SignalKind, signal};

use super::client::Connection;
use super::{Error, console};
use crate::sys;

/// The status of a program whose reader is gone: as of SIGPIPE.
const BROKEN_PIPE: i32 = 128 + 13;
/// The status of a command that says none.
const NO_STATUS: i32 = 255;
/// Bytes under way within a stream.
const PIECE: usize = 32 * 1024;

/// Runs a command, or a shell, with this process's input and outputs, and gives its status. Where there is a terminal
/// the other side has one too.
pub async fn run(connection: &Connection, command: Option<&str>) -> Result<i32, Error> {
    let channel = connection.handle.channel_open_session().await?;
    if connection.forward_agent {
        channel.agent_forward(false).await?;
    }
    let terminal = io::stdin().is_terminal();
    let raw = if terminal { console::Raw::start() } else { None };
    if raw.is_some() {
        let (columns, rows) = console::size().unwrap_or((80, 24));
        let term = std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".into());
        let modes = [(Pty::ECHO, 1), (Pty::TTY_OP_ISPEED, 14400), (Pty::TTY_OP_OSPEED, 14400)];
        channel.request_pty(false, &term, columns, rows, 0, 0, &modes).await?;
    }
    match command {
        Some(command) => channel.exec(true, command).await?,
        None => channel.request_shell(true).await?,
    }
    let ended = attend(channel).await;
    drop(raw);
    match ended? {
        Ended::Status(status) => Ok(status),
        Ended::Killed(signal) => Ok(sys::die_of(signal)),
    }
}

enum Ended {
    Status(i32),
    /// A signal is to end us.
    Killed(i32),
}

async fn attend(channel: Channel<Msg>) -> Result<Ended, Error> {
    let (mut from, to) = channel.split();
    let to = Arc::new(to);
    let feeder = {
        let to = Arc::clone(&to);
        tokio::spawn(async move {
            let mut input = console::input().await;
            while let Some(piece) = input.piece().await {
                if to.data_bytes(piece).await.is_err() {
                    return;
                }
            }
            let _ = to.eof().await;
        })
    };
    let listen = |kind| signal(kind).map_err(|error| Error(format!("signals: {error}")));
    let mut resized = listen(SignalKind::window_change())?;
    let mut terminated = listen(SignalKind::terminate())?;
    let mut hung_up = listen(SignalKind::hangup())?;
    let talk = async {
        let mut status = None;
        loop {
            let message = tokio::select! {
                message = from.wait() => message,
                _ = resized.recv() => {
                    if let Some((columns, rows)) = console::size() {
                        let _ = to.window_change(columns, rows, 0, 0).await;
                    }
                    continue;
                }
            };
            match message {
                Some(ChannelMsg::Data { data }) => {
                    if show(data, false).await.is_err() {
                        return Ok(BROKEN_PIPE);
                    }
                }
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                    if show(data, true).await.is_err() {
                        return Ok(BROKEN_PIPE);
                    }
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_status as i32),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => status = Some(128 + number(&signal_name)),
                Some(ChannelMsg::Failure) => return Err(Error("ssh: the host refused to run it".into())),
                Some(_) => {}
                None => {
                    let none = || Error("wait: remote command exited without exit status or exit signal".into());
                    return status.ok_or_else(none);
                }
            }
        }
    };
    let ended = tokio::select! {
        status = talk => status.map(Ended::Status),
        // Also while the reader of our output takes its time.
        _ = terminated.recv() => Ok(Ended::Killed(libc::SIGTERM)),
        _ = hung_up.recv() => Ok(Ended::Killed(libc::SIGHUP)),
    };
    feeder.abort();
    ended
}

/// Prints bytes as they come. Not on the thread that keeps the connection: a reader may take its time.
async fn show(data: bytes::Bytes, error: bool) -> io::Result<()> {
    let print = move || match error {
        true => io::stderr().lock().write_all(&data),
        false => {
            let mut out = io::stdout().lock();
            out.write_all(&data).and_then(|()| out.flush())
        }
    };
    tokio::task::spawn_blocking(print)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::ABRT => libc::SIGABRT,
        Sig::ALRM => libc::SIGALRM,
        Sig::FPE => libc::SIGFPE,
        Sig::HUP => libc::SIGHUP,
        Sig::ILL => libc::SIGILL,
        Sig::INT => libc::SIGINT,
        Sig::KILL => libc::SIGKILL,
        Sig::PIPE => libc::SIGPIPE,
        Sig::QUIT => libc::SIGQUIT,
        Sig::SEGV => libc::SIGSEGV,
        Sig::TERM => libc::SIGTERM,
        Sig::USR1 => libc::SIGUSR1,
        Sig::Custom(_) => NO_STATUS - 128,
    }
}

/// A connection that the host makes for us.
pub async fn tcp(
    connection: &Connection,
    host: &str,
    port: u16,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
    let opened = connection
        .handle
        .channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0);
    let channel = opened.await.map_err(|error| refused(&error))?;
    Ok(channel.into_stream())
}

/// In the words of the original's library.
fn refused(error: &russh::Error) -> io::Error {
    let russh::Error::ChannelOpenFailure(reason) = error else {
        return io::Error::other(format!("ssh: {error}"));
    };
    let why = match reason {
        ChannelOpenFailure::AdministrativelyProhibited => "administratively prohibited (open failed)",
        ChannelOpenFailure::ConnectFailed => "connect failed (Connection refused)",
        ChannelOpenFailure::UnknownChannelType => "unknown channel type",
        ChannelOpenFailure::ResourceShortage => "resource shortage",
        ChannelOpenFailure::Other { reason, .. } => reason,
    };
    io::Error::new(io::ErrorKind::ConnectionRefused, format!("ssh: rejected: {why}"))
}

/// A command's input and output as a stream. What it says on its error output, the user is told.
pub async fn pipe(
    connection: &Connection,
    command: &str,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
    let channel = connection.handle.channel_open_session().await;
    let channel = channel.map_err(|error| refused(&error))?;
    channel.exec(false, command).await.map_err(Error::from)?;
    let (ours, theirs) = tokio::io::duplex(PIECE);
    tokio::spawn(carry(channel, theirs));
    Ok(ours)
}

async fn carry(channel: Channel<Msg>, stream: DuplexStream) {
    let (mut from, to) = channel.split();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async {
        let mut buffer = vec![0; PIECE];
        loop {
            match reader.read(&mut buffer).await {
                Ok(count) if count > 0 => {
                    if to.data_bytes(buffer[..count].to_vec()).await.is_err() {
                        return;
                    }
                }
                _ => break,
            }
        }
        let _ = to.eof().await;
    };
    let receiving = async {
        while let Some(message) = from.wait().await {
            match message {
                ChannelMsg::Data { data } if writer.write_all(&data).await.is_err() => break,
                ChannelMsg::ExtendedData { data, .. } => sys::print("", &String::from_utf8_lossy(&data)),
                ChannelMsg::Eof => {
                    let _ = writer.shutdown().await;
                }
                _ => {}
            }
        }
        let _ = writer.shutdown().await;
    };
    tokio::pin!(sending, receiving);
    tokio::select! {
        () = &mut receiving => {}
        // The answer is still to come.
        () = &mut sending => receiving.await,
    }
    let _ = to.close().await;
}
