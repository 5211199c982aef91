//! One client connection: reads requests, has them answered, one after the other.
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::form::MAX_FORM;
use super::{Body, Reply, Request};

/// A request's head is cut off beyond this, and when it takes longer than `SLOW`.
const MAX_HEAD: usize = 128 << 10;
const MAX_HEADERS: usize = 100;
/// A client that has begun a request has this long for its head, and for each further piece of its body.
const SLOW: Duration = Duration::from_secs(10);
const WHOLE_BODY: Duration = Duration::from_secs(120);
/// What a client may send behind a request that is answered early before the connection is closed.
const MAX_SKIP: u64 = 64 << 20;
const FIRST_BUFFER: usize = 4 << 10;
/// A lone client that asks again this soon after each answer is waited for awake: falling asleep and being woken
/// would take longer than its next request does.
const AWAKE: Duration = Duration::from_micros(100);
/// Buffers beyond this are given back after a large request.
const KEPT_BUFFER: usize = 64 << 10;

/// What happens to the connection after an answer.
pub enum Next<T> {
    /// The answer is in the output; more requests may follow.
    Answered,
    /// The output holds the head of an answer that goes on, or a switch of protocols.
    Handed(T),
}

pub trait Handler {
    type Handed;
    fn handle(&self, request: &Request<'_>, reply: Reply<'_>) -> impl Future<Output = Next<Self::Handed>> + Send;
}

/// A connection that a handler took over.
pub struct Taken<S, T> {
    pub stream: S,
    /// What the client sent behind its request.
    pub buffered: BytesMut,
    pub chunked: bool,
    /// Whether the connection may serve further requests after a chunked answer.
    pub keep: bool,
    pub handed: T,
}

impl<S, T> Taken<S, T> {
    /// What the handler wants, and the connection it wants it for.
    pub fn split(self) -> (T, Taken<S, ()>) {
        let Taken {
            stream,
            buffered,
            chunked,
            keep,
            handed,
        } = self;
        let rest = Taken {
            stream,
            buffered,
            chunked,
            keep,
            handed: (),
        };
        (handed, rest)
    }
}

impl<S> Taken<S, ()> {
    pub fn with<T>(self, handed: T) -> Taken<S, T> {
        Taken {
            stream: self.stream,
            buffered: self.buffered,
            chunked: self.chunked,
            keep: self.keep,
            handed,
        }
    }
}

/// Serves until the client leaves, something is wrong with it, or a handler takes the connection over.
pub async fn serve<S, H>(stream: S, buffered: BytesMut, handler: &H) -> io::Result<Option<Taken<S, H::Handed>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let mut conn = Conn {
        stream,
        buffer: buffered.into(),
        filled: 0,
        out: Vec::new(),
        answered: 0,
        pause: Duration::MAX,
    };
    conn.filled = conn.buffer.len();
    loop {
        let Some(head) = conn.read_head().await? else {
            return Ok(None);
        };
        let body = match conn.read_body(&head).await? {
            Some(body) => body,
            None => return Ok(None),
        };
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        // Parsed before, to learn its length; a second time so that it may borrow from the buffer.
        let (Ok(_), Some(method), Some(target)) = (parsed.parse(&conn.buffer[..head.len]), parsed.method, parsed.path)
        else {
            return Ok(None);
        };
        let body_bytes = match &body {
            ReadBody::Plain { len } => Body::Bytes(&conn.buffer[head.len..head.len + len]),
            ReadBody::Decoded { bytes, .. } => Body::Bytes(bytes),
            ReadBody::TooLarge => Body::TooLarge,
        };
        let request = Request {
            method,
            target,
            http11: head.http11,
            headers: parsed.headers,
            body: body_bytes,
        };
        let keep = head.keep_alive && body != ReadBody::TooLarge;
        let reply = Reply::new(&mut conn.out, &request, !keep);
        let next = handler.handle(&request, reply).await;
        conn.stream.write_all(&conn.out).await?;
        // Over TLS, what is written may wait to be sent until it is flushed; TCP has nothing to flush.
        conn.stream.flush().await?;
        conn.out.clear();
        let consumed = match &body {
            ReadBody::Plain { len } => head.len + len,
            ReadBody::Decoded { consumed, .. } => *consumed,
            ReadBody::TooLarge => conn.filled,
        };
        conn.consume(consumed);
        match next {
            Next::Answered if keep => {}
            Next::Answered => {
                let _ = conn.stream.shutdown().await;
                return Ok(None);
            }
            Next::Handed(handed) => {
                let buffered = BytesMut::from(&conn.buffer[..conn.filled]);
                return Ok(Some(Taken {
                    stream: conn.stream,
                    buffered,
                    chunked: head.http11,
                    keep,
                    handed,
                }));
            }
        }
    }
}

struct Conn<S> {
    stream: S,
    buffer: Vec<u8>,
    filled: usize,
    out: Vec<u8>,
    /// `ANSWERED` after the last answer here.
    answered: u64,
    /// How long the client took for its last request, and longer than `AWAKE` if others were answered meanwhile.
    pause: Duration,
}

/// Requests answered on all connections.
static ANSWERED: AtomicU64 = AtomicU64::new(0);

struct Head {
    len: usize,
    http11: bool,
    keep_alive: bool,
    length: Length,
    expects_continue: bool,
}

enum Length {
    Known(u64),
    Chunked,
}

#[derive(PartialEq)]
enum ReadBody {
    Plain { len: usize },
    Decoded { bytes: Vec<u8>, consumed: usize },
    TooLarge,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    /// None: the client left, or was told off.
    async fn read_head(&mut self) -> io::Result<Option<Head>> {
        let mut deadline = None;
        loop {
            if self.filled > 0 {
                // Go skips empty lines between requests, as clients of old send them.
                let blank = self.buffer[..self.filled]
                    .iter()
                    .take_while(|byte| **byte == b'\r' || **byte == b'\n')
                    .count();
                self.consume(blank);
                let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
                let mut request = httparse::Request::new(&mut headers);
                match request.parse(&self.buffer[..self.filled]) {
                    Ok(httparse::Status::Complete(len)) => match examine(&request, len) {
                        Ok(head) => return Ok(Some(head)),
                        Err(what) => return self.refuse(400, what).await,
                    },
                    Ok(httparse::Status::Partial) if self.filled >= MAX_HEAD => {
                        return self.refuse(431, "request header fields too large").await;
                    }
                    Ok(httparse::Status::Partial) => {}
                    Err(httparse::Error::TooManyHeaders) => {
                        return self.refuse(431, "too many request header fields").await;
                    }
                    Err(httparse::Error::Version) => return self.refuse(505, "HTTP version not supported").await,
                    Err(_) => return self.refuse(400, "400 Bad Request").await,
                }
            }
            let read = if self.filled > 0 {
                // From its first byte on: one that comes drop by drop must not hold a connection for ever.
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + SLOW);
                match timeout_at(deadline, self.fill()).await {
                    Ok(read) => read?,
                    Err(_) => return self.refuse(408, "408 Request Timeout").await,
                }
            } else {
                self.wait().await?
            };
            if read == 0 {
                return Ok(None);
            }
        }
    }

    async fn read_body(&mut self, head: &Head) -> io::Result<Option<ReadBody>> {
        if let Length::Known(len) = head.length
            && len <= MAX_FORM as u64
            && self.filled >= head.len + len as usize
        {
            return Ok(Some(ReadBody::Plain { len: len as usize }));
        }
        // A whole body has its time, too, at a pace that any line keeps.
        timeout(WHOLE_BODY, self.read_body_in_time(head))
            .await
            .unwrap_or(Ok(None))
    }

    async fn read_body_in_time(&mut self, head: &Head) -> io::Result<Option<ReadBody>> {
        let empty = matches!(head.length, Length::Known(0));
        if head.expects_continue && !empty {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.stream.flush().await?;
        }
        match head.length {
            Length::Known(len) if len <= MAX_FORM as u64 => {
                let len = len as usize;
                while self.filled < head.len + len {
                    if !self.fill_soon().await? {
                        return Ok(None);
                    }
                }
                Ok(Some(ReadBody::Plain { len }))
            }
            Length::Known(len) => {
                // Read and forgotten, so that the client hears the answer instead of a broken connection.
                let mut left = len.saturating_sub((self.filled - head.len) as u64).min(MAX_SKIP);
                let mut sink = vec![0; 64 << 10];
                while left > 0 {
                    match timeout(SLOW, self.stream.read(&mut sink)).await {
                        Ok(Ok(read)) if read > 0 => left = left.saturating_sub(read as u64),
                        _ => return Ok(None),
                    }
                }
                Ok(Some(ReadBody::TooLarge))
            }
            Length::Chunked => self.read_chunks(head.len).await,
        }
    }

    async fn read_chunks(&mut self, mut at: usize) -> io::Result<Option<ReadBody>> {
        let mut bytes = Vec::new();
        loop {
            let size = match httparse::parse_chunk_size(&self.buffer[at..self.filled]) {
                Ok(httparse::Status::Complete((len, size))) => {
                    at += len;
                    size
                }
                Ok(httparse::Status::Partial) if self.filled - at < 64 => {
                    if !self.fill_soon().await? {
                        return Ok(None);
                    }
                    continue;
                }
                _ => return self.refuse(400, "400 Bad Request").await,
            };
            if size > u64::from(u32::MAX) {
                return self.refuse(400, "400 Bad Request").await;
            }
            if bytes.len() as u64 + size > MAX_FORM as u64 {
                return Ok(Some(ReadBody::TooLarge));
            }
            let end = at + size as usize + 2;
            while self.filled < end {
                if !self.fill_soon().await? {
                    return Ok(None);
                }
            }
            if &self.buffer[end - 2..end] != b"\r\n" {
                return self.refuse(400, "400 Bad Request").await;
            }
            bytes.extend_from_slice(&self.buffer[at..end - 2]);
            at = end;
            if size == 0 {
                return Ok(Some(ReadBody::Decoded { bytes, consumed: at }));
            }
        }
    }

    /// Waits for the next request.
    async fn wait(&mut self) -> io::Result<usize> {
        let answered = ANSWERED.fetch_add(1, Ordering::Relaxed) + 1;
        let alone = answered == self.answered + 1;
        self.answered = answered;
        let awake = alone && self.pause <= AWAKE;
        let began = Instant::now();
        let read = self.fill_awake(if awake { AWAKE } else { Duration::ZERO }).await;
        self.pause = if alone { began.elapsed() } else { Duration::MAX };
        read
    }

    /// Fills, and for so long does not sleep over it.
    async fn fill_awake(&mut self, time: Duration) -> io::Result<usize> {
        let began = Instant::now();
        let mut fill = std::pin::pin!(self.fill());
        while began.elapsed() < time {
            if let Poll::Ready(read) = futures_util::poll!(fill.as_mut()) {
                return read;
            }
            tokio::task::yield_now().await;
        }
        fill.await
    }

    async fn fill_soon(&mut self) -> io::Result<bool> {
        match timeout(SLOW, self.fill()).await {
            Ok(read) => Ok(read? > 0),
            Err(_) => Ok(false),
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            let size = (self.buffer.len() * 2).max(FIRST_BUFFER);
            self.buffer.resize(size, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += read;
        Ok(read)
    }

    fn consume(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        self.buffer.copy_within(len..self.filled, 0);
        self.filled -= len;
        if self.filled == 0 && self.buffer.len() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        if self.out.capacity() > KEPT_BUFFER {
            self.out = Vec::new();
        }
    }

    async fn refuse<T>(&mut self, status: u16, text: &str) -> io::Result<Option<T>> {
        Reply::to_nonsense(&mut self.out).error(status, text);
        let _ = self.stream.write_all(&self.out).await;
        let _ = self.stream.shutdown().await;
        // What the client still sends is read for a moment, or the answer would be lost in a reset.
        let mut sink = vec![0; 16 << 10];
        let mut left = 64;
        while left > 0
            && matches!(timeout(Duration::from_millis(200), self.stream.read(&mut sink)).await, Ok(Ok(read)) if read > 0)
        {
            left -= 1;
        }
        Ok(None)
    }
}

fn examine(request: &httparse::Request<'_, '_>, len: usize) -> Result<Head, &'static str> {
    let http11 = request.version == Some(1);
    let mut head = Head {
        len,
        http11,
        keep_alive: http11,
        length: Length::Known(0),
        expects_continue: false,
    };
    let mut length = None;
    let mut chunked = false;
    for header in request.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let number = std::str::from_utf8(value)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let number: u64 = number
                .and_then(|text| text.parse().ok())
                .ok_or("400 Bad Request: bad Content-Length")?;
            if length.is_some_and(|before| before != number) {
                return Err("400 Bad Request: several Content-Lengths");
            }
            length = Some(number);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("400 Bad Request: unsupported transfer encoding");
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            let value = value.to_ascii_lowercase();
            for option in value.split(|byte| *byte == b',') {
                match option.trim_ascii() {
                    b"close" => head.keep_alive = false,
                    b"keep-alive" if !http11 => head.keep_alive = true,
                    _ => {}
                }
            }
        } else if header.name.eq_ignore_ascii_case("expect") {
            head.expects_continue = http11 && value.eq_ignore_ascii_case(b"100-continue");
        }
    }
    head.length = match (chunked, length) {
        (true, Some(_)) => return Err("400 Bad Request: both a length and chunks"),
        (true, None) => Length::Chunked,
        (false, length) => Length::Known(length.unwrap_or(0)),
    };
    Ok(head)
}
