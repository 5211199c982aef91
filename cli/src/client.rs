//! The two questions that `lab` asks a member over HTTP: are you healthy, do you lead?
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A member gives up on its quorum after a second, so an answer that takes longer than this will not come.
const PATIENCE: Duration = Duration::from_secs(3);
/// Far more than the answers to our questions have.
const MAX_ANSWER: u64 = 1 << 20;

/// Can the member read with a quorum behind it?
pub fn is_healthy(port: u16) -> io::Result<bool> {
    Ok(get(port, "/health")?.0 == 200)
}

/// `leader` or `follower`, when the member says so.
pub fn role(port: u16) -> Option<&'static str> {
    let (status, body) = get(port, "/v2/stats/self").ok()?;
    let stats: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
    match stats["state"].as_str()? {
        "StateLeader" => Some("leader"),
        "StateFollower" => Some("follower"),
        _ => None,
    }
}

fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    split(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "that is not HTTP"))
}

fn split(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(split(answer), Some((503, "no".into())));
        assert_eq!(split("SSH-2.0-OpenSSH\r\n\r\n"), None);
    }
}
