//! As little HTTP/1.1 as a load generator gets by with: requests with patched digits, status and end of an answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub const VALUE_BYTES: usize = 256;

/// A request built once. Sending it for another key only overwrites the digits that stand for `#` in its path.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    digits: Vec<usize>,
}

impl Template {
    pub fn put(path: &str) -> Self {
        let value = "v".repeat(VALUE_BYTES);
        let length = "value=".len() + VALUE_BYTES;
        Self::new(format!(
            "PUT /v2/keys/{path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {length}\r\n\r\nvalue={value}"
        ))
    }

    pub fn get(path: &str, query: &str) -> Self {
        Self::new(format!("GET /v2/keys/{path}{query} HTTP/1.1\r\nHost: bench\r\n\r\n"))
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let first = b"\r\nHost: bench";
        let at = self.bytes.windows(first.len()).position(|piece| piece == first);
        let at = at.expect("every request names its host");
        self.bytes.splice(at..at, format!("\r\n{name}: {value}").into_bytes());
        self
    }

    fn new(text: String) -> Self {
        let digits = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'#')
            .map(|(at, _)| at)
            .collect();
        Self {
            bytes: text.into_bytes(),
            digits,
        }
    }

    pub fn fill(&mut self, mut number: usize) -> &[u8] {
        for at in self.digits.iter().rev() {
            self.bytes[*at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        &self.bytes
    }
}

#[derive(Debug, PartialEq)]
pub enum Answer {
    Partial,
    Whole(u16),
    Broken,
}

/// Judges what a connection has received since its request. One request is outstanding, so nothing follows the answer.
pub fn judge(received: &[u8]) -> Answer {
    let Some((head, status, length)) = head(received) else {
        return Answer::Partial;
    };
    let whole = match length {
        Length::Known(body) => received.len() >= head + body,
        Length::Chunked => received.ends_with(b"\r\n0\r\n\r\n"),
        Length::Unknown => return Answer::Broken,
    };
    if whole { Answer::Whole(status) } else { Answer::Partial }
}

pub enum Length {
    Known(usize),
    Chunked,
    Unknown,
}

/// Size of the head, status and kind of body, once the head is complete. A malformed status reads as 0.
pub fn head(received: &[u8]) -> Option<(usize, u16, Length)> {
    let mut length = Length::Unknown;
    let mut start = 0;
    loop {
        let line_len = received[start..].iter().position(|b| *b == b'\n')?;
        let line = received[start..start + line_len].trim_ascii_end();
        start += line_len + 1;
        if line.is_empty() {
            break;
        }
        if let Some(value) = header(line, b"content-length:") {
            length = number(value).map_or(Length::Unknown, Length::Known);
        } else if header(line, b"transfer-encoding:").is_some() {
            length = Length::Chunked;
        }
    }
    let status = received.get(9..12).and_then(number).unwrap_or(0);
    Some((start, status as u16, length))
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

pub fn connect(to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&to, Duration::from_secs(5)).with_context(|| format!("connect to {to}"))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// One blocking request; the status of its answer.
pub fn call(socket: &mut TcpStream, request: &[u8], timeout: Duration) -> Result<u16> {
    socket.set_read_timeout(Some(timeout))?;
    socket.write_all(request)?;
    answer(socket)
}

pub fn answer(socket: &mut TcpStream) -> Result<u16> {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match socket.read(&mut piece)? {
            0 => bail!("connection closed before the answer was whole"),
            n => received.extend_from_slice(&piece[..n]),
        }
        match judge(&received) {
            Answer::Partial => {}
            Answer::Whole(status) => return Ok(status),
            Answer::Broken => bail!("answer without a length"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_fill_from_the_right_across_separators() {
        let mut template = Template::get("m/###/###", "");
        assert!(template.fill(1234).starts_with(b"GET /v2/keys/m/001/234 HTTP"));
    }

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let text = b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\nX: y\r\n\r\nabc";
        assert_eq!(judge(&text[..text.len() - 1]), Answer::Partial);
        assert_eq!(judge(text), Answer::Whole(201));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(judge(&chunked[..chunked.len() - 2]), Answer::Partial);
        assert_eq!(judge(chunked), Answer::Whole(200));
    }
}
