//! One member of the localhost cluster: its ports, its files under `.lab/`, its process.
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const DIR: &str = ".lab";
const TIMEOUT: Duration = Duration::from_secs(2);

pub struct Member {
    pub name: String,
    /// 12379, 22379, ... as in etcd's own Procfile; peers are one higher.
    pub client_port: u16,
}

impl Member {
    /// The `number`th member, from 1.
    pub fn new(number: u16) -> Member {
        Member {
            name: format!("core-{number:02}"),
            client_port: number * 10_000 + 2379,
        }
    }

    /// Every member that has been started in this directory.
    pub fn known() -> Vec<Member> {
        (1..=5)
            .map(Member::new)
            .filter(|member| member.data_dir().exists() || member.pid_file().exists())
            .collect()
    }

    pub fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port + 1)
    }

    pub fn data_dir(&self) -> PathBuf {
        Path::new(DIR).join(format!("{}.etcd", self.name))
    }

    pub fn log_file(&self) -> PathBuf {
        Path::new(DIR).join(format!("{}.log", self.name))
    }

    pub fn pid_file(&self) -> PathBuf {
        Path::new(DIR).join(format!("{}.pid", self.name))
    }

    /// Its process, if it runs: a pid that now belongs to another process is not it.
    pub fn pid(&self) -> Option<i32> {
        let noted = fs::read_to_string(self.pid_file()).ok()?;
        let (pid, started) = noted.trim().split_once(' ')?;
        let pid: i32 = pid.parse().ok()?;
        (start_time(pid)? == started).then_some(pid)
    }

    pub fn note_pid(&self, pid: i32) -> std::io::Result<()> {
        fs::write(
            self.pid_file(),
            format!("{pid} {}\n", start_time(pid).unwrap_or_default()),
        )
    }

    /// Does it answer with a quorum behind it?
    pub fn is_healthy(&self) -> bool {
        self.get("/health").is_some_and(|answer| answer.contains("\"true\""))
    }

    pub fn get(&self, path: &str) -> Option<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.client_port));
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string())
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// When a process started, in ticks since boot: with the pid it names a process for good. None: it is gone.
fn start_time(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_names_are_those_of_the_walk_throughs() {
        let member = Member::new(2);
        assert_eq!(
            (member.name.as_str(), member.client_url().as_str()),
            ("core-02", "http://127.0.0.1:22379")
        );
        assert_eq!(member.peer_url(), "http://127.0.0.1:22380");
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = std::process::id() as i32;
        assert!(start_time(own).is_some_and(|ticks| ticks.bytes().all(|byte| byte.is_ascii_digit())));
        assert_eq!(start_time(i32::MAX), None);
    }
}
