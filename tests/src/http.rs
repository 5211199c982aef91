//! As little HTTP/1.1 as the tests need: one blocking connection, answers as they are, watches line by line.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::LIMIT;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let number = self.header(name).and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("no number in the header {name}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

pub struct Conn {
    stream: BufReader<TcpStream>,
}

impl Conn {
    pub fn open(to: SocketAddr) -> io::Result<Conn> {
        let stream = TcpStream::connect_timeout(&to, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Conn {
            stream: BufReader::new(stream),
        })
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a request; a form goes into its body.
    pub fn send(&mut self, method: &str, path: &str, form: Option<&str>) -> io::Result<()> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        if let Some(form) = form {
            let length = form.len();
            request += &format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n");
        }
        request += "\r\n";
        request += form.unwrap_or_default();
        self.send_raw(request.as_bytes())
    }

    pub fn ask(&mut self, method: &str, path: &str, form: Option<&str>) -> io::Result<Answer> {
        self.send(method, path, form)?;
        self.answer(method == "HEAD")
    }

    /// Reads a whole answer; one to HEAD has no body.
    pub fn answer(&mut self, headless: bool) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if headless || answer.status == 204 || answer.status < 200 {
            return Ok(answer);
        }
        if answer.header("Transfer-Encoding").is_some() {
            while let Some(mut chunk) = self.chunk()? {
                answer.body.append(&mut chunk);
            }
        } else if let Some(length) = answer.header("Content-Length") {
            answer.body = vec![0; length.parse().map_err(io::Error::other)?];
            self.stream.read_exact(&mut answer.body)?;
        } else {
            self.stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not an answer: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.to_string(), value.trim().to_string())),
                None if line.is_empty() => {
                    return Ok(Answer {
                        status,
                        headers,
                        body: Vec::new(),
                    });
                }
                None => return Err(io::Error::other(format!("not a header: {line:?}"))),
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_string())
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// Everything until the other side closes; a reset is a close, too.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        match self.stream.read_to_end(&mut all) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(all),
        }
    }
}

/// One request on a connection of its own.
pub fn ask(to: SocketAddr, method: &str, path: &str, form: Option<&str>) -> io::Result<Answer> {
    Conn::open(to)?.ask(method, path, form)
}

/// The same with JSON in the body.
pub fn ask_json(to: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    let mut conn = Conn::open(to)?;
    let length = body.len();
    let head = format!("Host: test\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n");
    conn.send_raw(format!("{method} {path} HTTP/1.1\r\n{head}\r\n{body}").as_bytes())?;
    conn.answer(false)
}

/// A watch, and the events it brings.
pub struct Watch {
    conn: Conn,
    buffer: Vec<u8>,
    pub head: Answer,
}

impl Watch {
    /// Returns when the server has registered the watch: it sends the head then.
    pub fn open(to: SocketAddr, path_and_query: &str) -> io::Result<Watch> {
        let mut conn = Conn::open(to)?;
        conn.send("GET", path_and_query, None)?;
        let head = conn.head()?;
        Ok(Watch {
            conn,
            buffer: Vec::new(),
            head,
        })
    }

    /// The next event. None: the server has closed the connection or ended the answer.
    pub fn next_event(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            match self.conn.chunk() {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) if is_closed(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}
