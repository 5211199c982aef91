//! What a machine's systemd says of a unit, as text that may go on: its status, its journal.
use std::io;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::etcd::http::conn::Taken;

/// Lines of a journal where nobody says how many.
const LINES: u32 = 10;

/// Text that comes bit by bit, from here or from the machine that has the unit.
pub enum Tail {
    Here(Box<Child>),
    There(reqwest::Response),
}

/// What is asked of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Status,
    Journal { lines: u32, follow: bool },
}

impl Question {
    /// The question that a resource of a unit and its query are.
    pub fn read(resource: &str, first: impl Fn(&str) -> Option<String>) -> Option<Result<Question, String>> {
        match resource {
            "status" => Some(Ok(Question::Status)),
            "journal" => {
                let lines = match first("lines") {
                    None => Ok(LINES),
                    Some(text) => text.parse().map_err(|_| format!("lines {text:?} is no number")),
                };
                let follow = match first("follow").as_deref() {
                    None | Some("false" | "0") => Ok(false),
                    Some("true" | "1") => Ok(true),
                    Some(text) => Err(format!("follow {text:?} is neither true nor false")),
                };
                Some(lines.and_then(|lines| follow.map(|follow| Question::Journal { lines, follow })))
            }
            _ => None,
        }
    }

    /// The same for another machine.
    pub fn path(&self, unit: &str) -> String {
        match self {
            Question::Status => format!("/units/{unit}/status"),
            Question::Journal { lines, follow } => format!("/units/{unit}/journal?lines={lines}&follow={follow}"),
        }
    }
}

/// Asks this machine. The unit's name has been checked: it is no option of anything.
pub fn here(unit: &str, question: &Question) -> io::Result<Tail> {
    let mut command = match question {
        Question::Status => {
            let mut command = Command::new("systemctl");
            command.args(["status", "-l", "--no-pager", "--", unit]);
            command
        }
        Question::Journal { lines, follow } => {
            let mut command = Command::new("journalctl");
            command.args(["--no-pager", "--unit", unit, "-n", &lines.to_string()]);
            command.args(follow.then_some("-f"));
            command
        }
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.spawn().map(|child| Tail::Here(Box::new(child)))
}

impl Tail {
    /// The next bit; None at its end.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Tail::Here(child) => {
                let Some(stdout) = &mut child.stdout else {
                    return Ok(None);
                };
                let mut bytes = vec![0; 16 << 10];
                let read = stdout.read(&mut bytes).await?;
                bytes.truncate(read);
                if read == 0 {
                    child.wait().await?;
                }
                Ok((read > 0).then_some(bytes))
            }
            Tail::There(answer) => {
                let bytes = answer.chunk().await.map_err(io::Error::other)?;
                Ok(bytes.map(|bytes| bytes.to_vec()))
            }
        }
    }
}

/// Passes on what comes until its end, or until the client leaves.
pub async fn pass<S: AsyncRead + AsyncWrite + Unpin>(taken: Taken<S, Tail>) -> io::Result<()> {
    let (mut tail, taken) = taken.split();
    let mut stream = taken.stream;
    let mut sink = [0; 64];
    loop {
        let next = tokio::select! {
            next = tail.next() => next?,
            read = stream.read(&mut sink) => match read? {
                0 => return Ok(()),
                _ => continue,
            },
        };
        let Some(bytes) = next else { break };
        if taken.chunked {
            stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        }
        stream.write_all(&bytes).await?;
        if taken.chunked {
            stream.write_all(b"\r\n").await?;
        }
        stream.flush().await?;
    }
    if taken.chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_and_passed_on() {
        let none = |_: &str| None;
        assert_eq!(Question::read("status", none), Some(Ok(Question::Status)));
        assert_eq!(Question::read("frob", none), None);
        let all = |name: &str| Some(if name == "lines" { "20" } else { "true" }.to_string());
        let journal = Question::Journal {
            lines: 20,
            follow: true,
        };
        assert_eq!(Question::read("journal", all), Some(Ok(journal.clone())));
        assert_eq!(
            journal.path("a.service"),
            "/units/a.service/journal?lines=20&follow=true"
        );
        assert!(Question::read("journal", |_| Some("x".into())).unwrap().is_err());
    }
}
