//! Answers, written straight into a connection's output.
use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::kv::time::civil;

use super::Request;

pub const JSON: &str = "application/json";
pub const TEXT: &str = "text/plain; charset=utf-8";

/// One answer in the making. Dropping it unfinished is a bug: nothing is sent.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    head: bool,
    close: bool,
    http11: bool,
    cors: Option<String>,
    told: Option<Arc<AtomicU16>>,
}

impl<'a> Reply<'a> {
    /// `close`: the connection ends after this answer.
    pub fn new(out: &'a mut Vec<u8>, request: &Request<'_>, close: bool) -> Reply<'a> {
        Reply {
            out,
            head: request.method == "HEAD",
            close,
            http11: request.http11,
            cors: None,
            told: None,
        }
    }

    /// An answer to what is no request.
    pub fn to_nonsense(out: &'a mut Vec<u8>) -> Reply<'a> {
        Reply {
            out,
            head: false,
            close: true,
            http11: true,
            cors: None,
            told: None,
        }
    }

    /// Lets pages of this origin see the answer.
    pub fn cors(&mut self, origin: &str) {
        self.cors = Some(origin.to_string());
    }

    /// Where the answer's status will stand once it has begun.
    pub fn status_cell(&mut self) -> Arc<AtomicU16> {
        self.told.get_or_insert_default().clone()
    }

    pub fn start(&mut self, status: u16) -> &mut Self {
        if let Some(told) = &self.told {
            told.store(status, Ordering::Relaxed);
        }
        self.out.extend_from_slice(b"HTTP/1.1 ");
        self.out.extend_from_slice(status_line(status).as_bytes());
        self.out.extend_from_slice(b"\r\n");
        if let Some(origin) = self.cors.take() {
            self.header("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
            self.header("Access-Control-Allow-Origin", &origin);
            self.header("Access-Control-Allow-Headers", "accept, content-type, authorization");
        }
        self
    }

    pub fn header(&mut self, name: &str, value: &str) -> &mut Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        // A value never ends its line early.
        self.out
            .extend(value.bytes().filter(|byte| *byte != b'\r' && *byte != b'\n'));
        self.out.extend_from_slice(b"\r\n");
        self
    }

    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        let _ = write!(self.out, "{name}: {value}\r\n");
        self
    }

    /// Ends the head of an answer whose body comes in chunks, or until the end of the connection.
    pub fn stream(&mut self) {
        self.date();
        if self.http11 {
            self.header("Transfer-Encoding", "chunked");
        } else {
            self.header("Connection", "close");
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Ends the head of an answer whose body of this length comes later, or not at all.
    pub fn measured(&mut self, length: u64) {
        self.date();
        if self.close {
            self.header("Connection", "close");
        }
        self.number("Content-Length", length);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Ends the head of an answer after which the connection speaks another protocol.
    pub fn switch(&mut self, protocol: &str) {
        self.header("Connection", "Upgrade").header("Upgrade", protocol);
        self.out.extend_from_slice(b"\r\n");
    }

    pub fn body(&mut self, body: &[u8]) {
        self.date();
        if self.close {
            self.header("Connection", "close");
        }
        let _ = write!(self.out, "Content-Length: {}\r\n\r\n", body.len());
        if !self.head {
            self.out.extend_from_slice(body);
        }
    }

    /// An answer without a body, as Go sends it for 204.
    pub fn no_content(&mut self) {
        self.date();
        if self.close {
            self.header("Connection", "close");
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Go's `http.Error`.
    pub fn error(&mut self, status: u16, text: &str) {
        self.start(status)
            .header("Content-Type", TEXT)
            .header("X-Content-Type-Options", "nosniff");
        self.body(format!("{text}\n").as_bytes());
    }

    pub fn not_found(&mut self) {
        self.error(404, "404 page not found");
    }

    /// `allow` as etcd joins it.
    pub fn method_not_allowed(&mut self, allow: &str) {
        self.start(405)
            .header("Allow", allow)
            .header("Content-Type", TEXT)
            .header("X-Content-Type-Options", "nosniff");
        self.body(b"Method Not Allowed\n");
    }

    fn date(&mut self) {
        thread_local! {
            static DATE: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
        }
        let now = crate::wall::since_epoch().as_secs();
        DATE.with_borrow_mut(|(second, line)| {
            if *second != now {
                *second = now;
                *line = format!("Date: {}\r\n", http_date(now)).into_bytes();
            }
            self.out.extend_from_slice(line);
        });
    }
}

fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let weekday = DAYS[(days % 7) as usize];
    let month = MONTHS[month as usize - 1];
    format!(
        "{weekday}, {day:02} {month} {year} {:02}:{:02}:{:02} GMT",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn status_line(status: u16) -> &'static str {
    match status {
        100 => "100 Continue",
        101 => "101 Switching Protocols",
        200 => "200 OK",
        201 => "201 Created",
        204 => "204 No Content",
        301 => "301 Moved Permanently",
        302 => "302 Found",
        304 => "304 Not Modified",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        400 => "400 Bad Request",
        401 => "401 Unauthorized",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        408 => "408 Request Timeout",
        409 => "409 Conflict",
        410 => "410 Gone",
        412 => "412 Precondition Failed",
        413 => "413 Request Entity Too Large",
        415 => "415 Unsupported Media Type",
        431 => "431 Request Header Fields Too Large",
        500 => "500 Internal Server Error",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Unavailable",
        504 => "504 Gateway Timeout",
        505 => "505 HTTP Version Not Supported",
        _ => "500 Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let mut out = Vec::new();
        let body = super::super::Body::Bytes(b"");
        let request = Request {
            method: "HEAD",
            target: "/",
            http11: true,
            headers: &[],
            body,
        };
        Reply::new(&mut out, &request, false)
            .start(200)
            .header("A", "b\r\nc")
            .body(b"text");
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nA: bc\r\n"));
        assert!(text.ends_with("Content-Length: 4\r\n\r\n"));
    }
}
