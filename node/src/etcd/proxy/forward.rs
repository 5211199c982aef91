//! A request handed to another server, and its answer handed back piece by piece.
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::etcd::http::conn::{Next, Taken};
use crate::etcd::http::{Reply, Request};

/// An answer up to this size is read as a whole: if it breaks off, another server can still be asked.
const SMALL: u64 = 64 << 10;
/// What a client may send ahead behind an answer that has not ended.
const MAX_AHEAD: usize = 64 << 10;
/// A client that takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(60);
/// Headers that are about one connection only, or that are written anew.
const OWN: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "host",
    "expect",
    "content-length",
    "date",
];

/// An answer whose head has been sent.
pub struct Passing {
    response: Response,
    /// The body has a length that the client was told.
    measured: bool,
}

/// The request's headers, without those of its connection.
pub fn headers(request: &Request<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for header in request.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(header.value))
            && !OWN.contains(&name.as_str())
        {
            headers.append(name, value);
        }
    }
    headers
}

/// Begins to answer with a response. An error means that nothing has been sent yet.
pub async fn begin(
    request: &Request<'_>,
    reply: &mut Reply<'_>,
    response: Response,
) -> Result<Next<Passing>, reqwest::Error> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let length = headers
        .get("content-length")
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if request.method == "HEAD" || matches!(status, 204 | 304) {
        head(reply, status, &headers);
        match length.filter(|_| status != 204) {
            Some(length) => reply.measured(length),
            None => reply.no_content(),
        }
        return Ok(Next::Answered);
    }
    match length {
        Some(length) if length <= SMALL => {
            let body = response.bytes().await?;
            head(reply, status, &headers);
            reply.body(&body);
            Ok(Next::Answered)
        }
        Some(length) => {
            head(reply, status, &headers);
            reply.measured(length);
            Ok(Next::Handed(Passing {
                response,
                measured: true,
            }))
        }
        None => {
            head(reply, status, &headers);
            reply.stream();
            Ok(Next::Handed(Passing {
                response,
                measured: false,
            }))
        }
    }
}

fn head(reply: &mut Reply<'_>, status: u16, headers: &HeaderMap) {
    reply.start(status);
    for (name, value) in headers {
        if !OWN.contains(&name.as_str()) {
            reply.header(&canonical(name.as_str()), &String::from_utf8_lossy(value.as_bytes()));
        }
    }
}

/// A header's name as Go writes it: `X-Etcd-Index`.
fn canonical(name: &str) -> String {
    let mut first = true;
    let each = name.chars().map(|c| {
        let upper = std::mem::replace(&mut first, c == '-');
        if upper {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        }
    });
    each.collect()
}

/// Hands the rest of an answer on until it or the client ends. Returns the connection when it can serve more requests.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(taken: Taken<S, Passing>) -> io::Result<Option<(S, BytesMut)>> {
    let Taken {
        mut stream,
        mut buffered,
        chunked,
        keep,
        handed: Passing { mut response, measured },
    } = taken;
    let chunked = chunked && !measured;
    let mut ahead = [0; 1024];
    loop {
        tokio::select! {
            biased;
            chunk = response.chunk() => {
                let out = match chunk {
                    Ok(Some(chunk)) if chunked => {
                        let mut out = format!("{:x}\r\n", chunk.len()).into_bytes();
                        out.extend_from_slice(&chunk);
                        out.extend_from_slice(b"\r\n");
                        out.into()
                    }
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break,
                    // Cut off without an end: the client sees that something is missing.
                    Err(_) => return Ok(None),
                };
                timeout(STALLED, stream.write_all(&out)).await??;
            }
            read = stream.read(&mut ahead) => {
                let read = read?;
                if read == 0 || buffered.len() + read > MAX_AHEAD {
                    return Ok(None);
                }
                buffered.extend_from_slice(&ahead[..read]);
            }
        }
    }
    if chunked {
        timeout(STALLED, stream.write_all(b"0\r\n\r\n")).await??;
    }
    if keep && (chunked || measured) {
        return Ok(Some((stream, buffered)));
    }
    stream.shutdown().await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_go_writes_them() {
        assert_eq!(canonical("x-etcd-index"), "X-Etcd-Index");
        assert_eq!(canonical("allow"), "Allow");
    }
}
