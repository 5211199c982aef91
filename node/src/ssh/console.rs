//! The terminal that fleetctl runs in: its input in pieces or lines, its size, and raw while another one is shown in it.
use std::io::{self, Read};
use std::sync::OnceLock;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::{Mutex, MutexGuard, mpsc};

/// Bytes read at once.
const PIECE: usize = 16 * 1024;

/// What comes in on stdin. A thread of its own reads it, as a read cannot be taken back; whoever wants input borrows it,
/// so that what was read ahead for a question is there for the session.
pub struct Input {
    pieces: mpsc::Receiver<Vec<u8>>,
    left: Vec<u8>,
}

pub async fn input() -> MutexGuard<'static, Input> {
    static INPUT: OnceLock<Mutex<Input>> = OnceLock::new();
    let start = || {
        let (send, pieces) = mpsc::channel(1);
        std::thread::spawn(move || {
            let mut buffer = vec![0; PIECE];
            loop {
                match io::stdin().lock().read(&mut buffer) {
                    Ok(count) if count > 0 && send.blocking_send(buffer[..count].to_vec()).is_ok() => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    _ => return,
                }
            }
        });
        Mutex::new(Input {
            pieces,
            left: Vec::new(),
        })
    };
    INPUT.get_or_init(start).lock().await
}

impl Input {
    /// None: no more.
    pub async fn piece(&mut self) -> Option<Vec<u8>> {
        match self.left.is_empty() {
            true => self.pieces.recv().await,
            false => Some(std::mem::take(&mut self.left)),
        }
    }

    /// A line without its end; what there is, where input ends.
    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while let Some(piece) = self.piece().await {
            match piece.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    line.extend(&piece[..end]);
                    self.left = piece[end + 1..].to_vec();
                    break;
                }
                None => line.extend(piece),
            }
        }
        String::from_utf8_lossy(&line).trim_end_matches('\r').to_string()
    }
}

/// Columns and rows; none where stdin is no terminal.
pub fn size() -> Option<(u32, u32)> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    Some((size.ws_col.into(), size.ws_row.into()))
}

/// Every key goes to the other side, until dropped.
pub struct Raw(Termios);

impl Raw {
    pub fn start() -> Option<Raw> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}
