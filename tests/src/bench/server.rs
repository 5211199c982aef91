//! The servers under test: fresh directories, free ports, start, first write, kill, and what /proc says of them.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::http::{self, Template};

/// A directory on the disk of the build, removed with its servers' data however this process ends.
pub struct Scratch {
    pub path: PathBuf,
    janitor: Child,
}

impl Scratch {
    pub fn new() -> Result<Self> {
        let exe = std::env::current_exe()?;
        let beside = exe.parent().context("the bench binary has no directory")?;
        let path = tempfile::Builder::new().prefix("bench-").tempdir_in(beside)?.keep();
        // The pipe to its stdin closes when this process is gone, even by SIGKILL.
        let janitor = Command::new("sh")
            .args(["-c", r#"read _; rm -rf "$1" || { sleep 1; rm -rf "$1"; }"#, "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start sh")?;
        Ok(Self { path, janitor })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

/// One of the two that are compared.
pub struct Side {
    pub name: &'static str,
    pub command: Vec<String>,
}

pub struct Cluster {
    dir: PathBuf,
    members: Vec<Member>,
    pub clients: Vec<SocketAddr>,
    pub pids: Vec<u32>,
}

struct Member {
    arguments: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Cluster {
    /// Starts `size` members and waits until each takes writes.
    pub fn start(side: &Side, size: usize, snapshot_count: u64, scratch: &Path) -> Result<Self> {
        let mut cluster = Self::spawn(side, size, snapshot_count, scratch)?;
        for member in 0..size {
            cluster.first_write(member, Duration::from_secs(60))?;
        }
        Ok(cluster)
    }

    /// Starts `size` members and does not wait.
    pub fn spawn(side: &Side, size: usize, snapshot_count: u64, scratch: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(side.name).tempdir_in(scratch)?.keep();
        let ports = free_ports(size * 2)?;
        let (clients, peers) = ports.split_at(size);
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let initial: Vec<_> = peers
            .iter()
            .enumerate()
            .map(|(i, port)| format!("m{i}={}", url(port)))
            .collect();
        let mut cluster = Self {
            dir: dir.clone(),
            members: Vec::new(),
            clients: clients
                .iter()
                .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
                .collect(),
            pids: Vec::new(),
        };
        for i in 0..size {
            let (client, peer) = (url(&clients[i]), url(&peers[i]));
            let data_dir = dir.join(format!("m{i}")).display().to_string();
            let flags = [
                ("name", format!("m{i}")),
                ("data-dir", data_dir),
                ("listen-client-urls", client.clone()),
                ("advertise-client-urls", client),
                ("listen-peer-urls", peer.clone()),
                ("initial-advertise-peer-urls", peer),
                ("initial-cluster", initial.join(",")),
                ("initial-cluster-token", format!("bench-{}", side.name)),
                ("initial-cluster-state", "new".into()),
                ("snapshot-count", snapshot_count.to_string()),
            ];
            let mut arguments = side.command.clone();
            arguments.extend(flags.into_iter().flat_map(|(flag, value)| [format!("--{flag}"), value]));
            let log = dir.join(format!("m{i}.log"));
            let child = launch(&arguments, &log)?;
            cluster.pids.push(child.id());
            cluster.members.push(Member { arguments, log, child });
        }
        Ok(cluster)
    }

    /// Kills the members and starts them again on their data; returns at once.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        for (member, pid) in self.members.iter_mut().zip(&mut self.pids) {
            member.child = launch(&member.arguments, &member.log)?;
            *pid = member.child.id();
        }
        Ok(())
    }

    fn kill(&mut self) {
        for member in &mut self.members {
            let _ = member.child.kill();
        }
        for member in &mut self.members {
            let _ = member.child.wait();
        }
    }

    /// Tries once a millisecond until the member answers a write; the status of that answer.
    pub fn first_write(&mut self, member: usize, limit: Duration) -> Result<u16> {
        let began = Instant::now();
        let mut put = Template::put("bench/first");
        loop {
            let tried = http::connect(self.clients[member])
                .and_then(|mut socket| http::call(&mut socket, put.fill(0), Duration::from_secs(30)));
            if let Ok(status @ (200 | 201)) = tried {
                return Ok(status);
            }
            let Member { arguments, log, child } = &mut self.members[member];
            let end = child.try_wait()?;
            if end.is_some() || began.elapsed() > limit {
                let state = end.map_or("runs".into(), |status| status.to_string());
                let log = fs::read_to_string(log)?;
                let lines: Vec<_> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(10)..].join("\n");
                bail!(
                    "{} takes no write after {:?}, it {state}; end of its log:\n{tail}",
                    arguments[0],
                    began.elapsed()
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Names of the snapshot files of all members.
    pub fn snapshots(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.dir.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.extension().is_some_and(|e| e == "snap") {
                    found.push(path);
                }
            }
        }
        found
    }

    /// The largest of the members' resident or peak resident sizes in MB; `field` is VmRSS or VmHWM.
    pub fn memory_mb(&self, field: &str) -> Result<f64> {
        let mut largest = 0.0f64;
        for pid in &self.pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status
                .lines()
                .find(|line| line.starts_with(field))
                .context("no such field in status")?;
            let kb: f64 = line
                .split_ascii_whitespace()
                .nth(1)
                .context("no size in status")?
                .parse()?;
            largest = largest.max(kb / 1024.0);
        }
        Ok(largest)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn launch(arguments: &[String], log: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(&arguments[0]);
    command
        .args(&arguments[1..])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: between fork and exec only prctl is called.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    command
        .spawn()
        .with_context(|| format!("start {}: is it built? --ours names another command", arguments[0]))
}

/// Ports below the range that the kernel gives to clients, so that no connection of ours takes one.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    for _ in 0..1000 {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", rand::random_range(20_000..32_768))) {
            held.push(listener);
        }
        if held.len() == count {
            return held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect();
        }
    }
    bail!("no {count} free ports in 20000..32768")
}

/// User and system time of the processes so far. The kernel gives it in ticks of 10 ms.
pub fn cpu_us(pids: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("server {pid} is gone"))?;
        // The name in brackets may hold spaces; utime and stime are the 12th and 13th field after it.
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        for field in fields.split_ascii_whitespace().skip(11).take(2) {
            ticks += field.parse::<u64>()?;
        }
    }
    Ok(ticks as f64 * 1e6 / rustix::param::clock_ticks_per_second() as f64)
}
