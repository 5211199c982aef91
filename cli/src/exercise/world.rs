//! The lab that an exercise happens in: its nodes, and the ways to do something to them and to look.
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::model::Exercise;
use crate::failure::{Exit, Failure};
use crate::faults::{Fault, Lease, Names};
use crate::lab::Lab;
use crate::local::client::Supervisor;
use crate::local::protocol::{Event, Request};
use crate::ui;

/// How long a node may take for an answer over HTTP.
const ANSWER: Duration = Duration::from_secs(3);

/// Who takes a request and says nothing: HTTP is not what it speaks.
pub const DEAF: &str = "the connection was closed without an answer";

pub struct World {
    /// The project's directory.
    pub dir: PathBuf,
    /// Names and addresses.
    pub nodes: Vec<(String, String)>,
    state: PathBuf,
}

/// A fault that is undone when this is dropped, or the program ends.
pub struct Hold {
    pub leases: Vec<Lease>,
    _connection: UnixStream,
}

/// What a script or a program has printed, and how it ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl World {
    /// The directory becomes this program's own; its settings are written, nothing runs yet.
    pub fn prepare(dir: &Path, exercise: &Exercise) -> Result<World, Failure> {
        std::fs::create_dir_all(dir).map_err(|error| Failure::io("make", dir, &error))?;
        let settings = serde_yaml::to_string(&exercise.topology).map_err(|error| {
            Failure::new(
                Exit::Failed,
                "the topology is no YAML",
                "the exercise",
                error,
                "lab lint",
            )
        })?;
        let mut files = exercise.files.clone();
        files.insert("lab.yaml".into(), settings);
        for (name, text) in &files {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(|error| Failure::io("write", &path, &error))?;
        }
        std::env::set_current_dir(dir).map_err(|error| Failure::io("enter", dir, &error))?;
        World::here(dir)
    }

    fn here(dir: &Path) -> Result<World, Failure> {
        let lab = Lab::open(&Default::default())?;
        let nodes = lab
            .nodes
            .iter()
            .map(|node| (node.name.clone(), node.address.to_string()));
        Ok(World {
            dir: dir.to_path_buf(),
            nodes: nodes.collect(),
            state: lab.state.clone(),
        })
    }

    /// Starts the nodes that do not run.
    pub fn up(&mut self) -> Result<(), Failure> {
        let outcome = self.lab(&["up"]).map_err(|error| self.no_program(&error))?;
        if outcome.status != 0 {
            ui::note(outcome.stderr.trim_end());
            return Err(Failure::status(u8::try_from(outcome.status).unwrap_or(1)));
        }
        // The record is new, and with it where the supervisor is.
        let dir = self.dir.clone();
        *self = World::here(&dir)?;
        Ok(())
    }

    fn no_program(&self, error: &io::Error) -> Failure {
        Failure::new(
            Exit::Failed,
            "lab cannot run itself",
            self.dir.display(),
            error,
            "lab version",
        )
    }

    fn supervisor(&self) -> Supervisor {
        Supervisor {
            socket: self.state.join("socket"),
        }
    }

    /// `all` is all of them.
    pub fn names(&self, names: &Names) -> Vec<String> {
        match names.has("all") {
            true => self.nodes.iter().map(|(name, _)| name.clone()).collect(),
            false => names.0.clone(),
        }
    }

    pub fn address(&self, name: &str) -> Option<&str> {
        let found = self.nodes.iter().find(|(own, _)| own == name);
        found.map(|(_, address)| address.as_str())
    }

    /// A `lab` command in this lab.
    pub fn lab(&self, words: &[&str]) -> io::Result<Outcome> {
        // Not by its path, where another may have been put meanwhile.
        let output = Command::new("/proc/self/exe")
            .arg0("lab")
            .args(words)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()?;
        Ok(outcome(&output))
    }

    /// A script on a node, as this user.
    pub fn run(&self, node: &str, user: &str, script: &str, limit: Duration) -> io::Result<Outcome> {
        let request = Request::Run {
            node: node.into(),
            user: user.into(),
            script: script.into(),
            limit,
        };
        let mut result = Outcome::default();
        let last = self.supervisor().ask(&request, |event| {
            if let Event::Output { stdout, stderr, status } = event {
                result = Outcome {
                    stdout: stdout.clone(),
                    stderr: stderr.clone(),
                    status: *status,
                };
            }
        })?;
        match last {
            Event::Failed { why, .. } => Err(io::Error::other(why)),
            _ => Ok(result),
        }
    }

    pub fn hold(&self, fault: &Fault) -> io::Result<Hold> {
        let (leases, connection) = self.supervisor().hold(fault)?;
        Ok(Hold {
            leases,
            _connection: connection,
        })
    }

    /// Undone, and seen to be undone, when this returns.
    pub fn heal(&self, leases: &[Lease]) -> io::Result<()> {
        let mut held = Vec::new();
        self.supervisor().ask(&Request::Faults, |event| {
            if let Event::Fault(lease) = event {
                held.push(lease.id);
            }
        })?;
        // Some end with their node.
        let ids: Vec<u32> = leases
            .iter()
            .map(|lease| lease.id)
            .filter(|id| held.contains(id))
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        match self.supervisor().ask(&Request::Heal { ids }, |_| {})? {
            Event::Failed { why, .. } => Err(io::Error::other(why)),
            _ => Ok(()),
        }
    }

    /// A moment of all nodes' disks and services, to come back to.
    pub fn checkpoint(&self, name: &str) -> io::Result<()> {
        self.plain(&Request::Checkpoint { name: name.into() })
    }

    pub fn restore(&self, name: &str) -> io::Result<()> {
        self.plain(&Request::Restore { name: name.into() })
    }

    fn plain(&self, request: &Request) -> io::Result<()> {
        match self.supervisor().ask(request, |_| {})? {
            Event::Failed { why, .. } => Err(io::Error::other(why)),
            _ => Ok(()),
        }
    }

    pub fn states(&self) -> io::Result<Vec<(String, String, String)>> {
        let mut states = Vec::new();
        self.supervisor().ask(&Request::Status, |event| {
            if let Event::Node(node) = event {
                states.push((node.name.clone(), node.state.to_string(), node.detail.clone()));
            }
        })?;
        Ok(states)
    }

    /// Host, port and the path with its query of an URL.
    pub fn parts(url: &str) -> Option<(&str, u16, &str)> {
        let rest = url.strip_prefix("http://")?;
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, 80),
        };
        Some((host, port, if path.is_empty() { "/" } else { path }))
    }

    pub fn http(&self, method: &str, url: &str, form: &str) -> io::Result<Response> {
        self.ask(method, url, form).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ANSWER:?}"))
            }
            _ => error,
        })
    }

    fn ask(&self, method: &str, url: &str, form: &str) -> io::Result<Response> {
        let (host, port, path) =
            World::parts(url).ok_or_else(|| io::Error::other(format!("{url} is no http:// URL")))?;
        let fd = self.supervisor().connect(host, port, Some(ANSWER))?;
        let stream = TcpStream::from(fd);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let body = match form {
            "" => String::new(),
            form => format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                form.len()
            ),
        };
        write!(
            &stream,
            "{method} {path} HTTP/1.0\r\nHost: {host}:{port}\r\n{body}\r\n{form}"
        )?;
        let mut answer = Vec::new();
        (&stream).read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(DEAF))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Response {
            status: status.ok_or_else(|| io::Error::other("the answer is not HTTP"))?,
            headers: head.to_string(),
            body: body.to_string(),
        })
    }
}

fn outcome(output: &Output) -> Outcome {
    Outcome {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        status: output.status.code().unwrap_or(-1),
    }
}
