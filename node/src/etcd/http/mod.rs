//! HTTP/1.1 as the etcd 2 API needs it: requests as they came in, answers as Go's server would write them.
//!
//! A loop over httparse, measured at 21 us of CPU a write against hyper's 35 at 64 connections; it also hands on
//! what a stricter server would not: raw paths, lower-case methods, CONNECT with a path.
pub mod conn;
pub mod form;
pub mod path;
pub mod reply;

pub use reply::Reply;

/// One request, borrowed from its connection's buffer.
pub struct Request<'a> {
    pub method: &'a str,
    /// As sent, with the query.
    pub target: &'a str,
    pub http11: bool,
    pub headers: &'a [httparse::Header<'a>],
    pub body: Body<'a>,
}

/// A request's body. One that is too large is not read, only measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    Bytes(&'a [u8]),
    TooLarge,
}

impl<'a> Request<'a> {
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .and_then(|header| std::str::from_utf8(header.value).ok())
    }

    /// The path and the query, as sent.
    pub fn split_target(&self) -> (&'a str, &'a str) {
        let target = self.target;
        // An absolute form names the host first.
        let target = match target
            .strip_prefix("http://")
            .or_else(|| target.strip_prefix("https://"))
        {
            Some(rest) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
            None => target,
        };
        target.split_once('?').unwrap_or((target, ""))
    }

    pub fn body_bytes(&self) -> &'a [u8] {
        match self.body {
            Body::Bytes(bytes) => bytes,
            Body::TooLarge => &[],
        }
    }
}
