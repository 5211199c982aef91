//! Reading a secret: the terminal shows nothing of it, and is as it was before however the question ends.
use std::io::{self, BufRead};

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// What Ctrl-C types.
const INTERRUPT: u8 = 3;

pub struct Secret {
    pub line: String,
    /// The terminal has not shown the end of the line either.
    pub hidden: bool,
}

/// Reads a line from stdin. Ctrl-C ends the process, as it would anywhere else.
pub fn read_secret() -> io::Result<Secret> {
    let quiet = Quiet::start();
    let hidden = quiet.is_some();
    let (mut input, mut bytes) = (io::stdin().lock(), Vec::new());
    let ends = |byte: &u8| *byte == b'\n' || hidden && *byte == INTERRUPT;
    let read = loop {
        let (piece, done) = match input.fill_buf() {
            Ok(buffer) => match buffer.iter().position(ends) {
                Some(end) => (buffer[..=end].to_vec(), true),
                None => (buffer.to_vec(), buffer.is_empty()),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => break Err(error),
        };
        input.consume(piece.len());
        bytes.extend(piece);
        if done {
            break Ok(());
        }
    };
    let interrupted = hidden && bytes.last() == Some(&INTERRUPT);
    drop(quiet);
    if interrupted {
        let _ = kill_process(getpid(), Signal::INT);
    }
    read?;
    let line = String::from_utf8_lossy(&bytes);
    Ok(Secret {
        line: line.trim_end_matches(['\r', '\n']).to_string(),
        hidden,
    })
}

/// Turns the terminal's echo off until dropped. Signals from the keyboard are off as well, as one would leave the
/// terminal mute: Ctrl-C ends the line instead.
struct Quiet(Termios);

impl Quiet {
    /// None: stdin is no terminal.
    fn start() -> Option<Quiet> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
