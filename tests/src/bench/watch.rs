//! Fan-out: how long after one write the last of a thousand stream watchers has its event.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::http::{self, Template};
use crate::load::own_cpu_us;
use crate::report::{Report, ValueRow, Wanted, median};
use crate::server::{self, Cluster};

const WATCHERS: usize = 1000;
const WRITES: usize = 20;
const LIMIT: Duration = Duration::from_secs(10);
const KEY: &str = "bench/watched";

struct Watcher {
    socket: TcpStream,
    events: usize,
    /// Last byte of the read before: an event's end may be split between reads.
    last: u8,
}

struct Audience {
    epoll: OwnedFd,
    watchers: Vec<Watcher>,
    writer: TcpStream,
    writes: usize,
}

pub fn fan_out(clusters: &[Cluster; 2], report: &mut Report) -> Result<()> {
    let members = clusters[0].clients.len();
    let mut audiences = [
        Audience::gather(&clusters[0].clients)?,
        Audience::gather(&clusters[1].clients)?,
    ];
    let mut times = [Vec::new(), Vec::new()];
    let mut server_cpu = [0.0, 0.0];
    let mut client_cpu = [0.0, 0.0];
    for _ in 0..WRITES {
        for (i, audience) in audiences.iter_mut().enumerate() {
            let before = (server::cpu_us(&clusters[i].pids)?, own_cpu_us());
            times[i].push(audience.tell()?.as_secs_f64() * 1e3);
            client_cpu[i] += own_cpu_us() - before.1;
            std::thread::sleep(Duration::from_millis(30));
            server_cpu[i] += server::cpu_us(&clusters[i].pids)? - before.0;
        }
    }
    let [ours, peer] = times.map(median);
    eprintln!("watch fan-out, {members} member(s): {ours:.1} and {peer:.1} ms");
    let [per_ours, per_peer] = client_cpu.map(|us| us / (WRITES * WATCHERS) as f64);
    report.values.push(ValueRow {
        measure: format!("one write to {WATCHERS} stream watchers"),
        members,
        unit: "ms",
        ours,
        peer,
        wanted: Wanted::Ratio(0.25),
        note: format!("median of {WRITES}; the client's own CPU is {per_ours:.1} and {per_peer:.1} us a watcher"),
    });
    let [ours, peer] = server_cpu.map(|us| us / (WRITES * WATCHERS) as f64);
    report.values.push(ValueRow {
        measure: "CPU to tell one watcher".into(),
        members,
        unit: "us",
        ours,
        peer,
        wanted: Wanted::Anything,
        note: String::new(),
    });
    Ok(())
}

impl Audience {
    fn gather(targets: &[SocketAddr]) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut writer = http::connect(targets[0])?;
        http::call(&mut writer, Template::put(KEY).fill(0), LIMIT)?;
        let mut watchers = Vec::with_capacity(WATCHERS);
        for index in 0..WATCHERS {
            let socket = listen(targets[index % targets.len()]).context("open a stream watcher")?;
            epoll::add(
                &epoll,
                &socket,
                epoll::EventData::new_u64(index as u64),
                epoll::EventFlags::IN,
            )?;
            watchers.push(Watcher {
                socket,
                events: 0,
                last: 0,
            });
        }
        Ok(Self {
            epoll,
            watchers,
            writer,
            writes: 0,
        })
    }

    fn tell(&mut self) -> Result<Duration> {
        self.writes += 1;
        let began = Instant::now();
        self.writer.write_all(Template::put(KEY).fill(0))?;
        let mut missing = WATCHERS;
        let mut events = Vec::with_capacity(256);
        while missing > 0 {
            ensure!(
                began.elapsed() < LIMIT,
                "{missing} of {WATCHERS} watchers not told within {LIMIT:?}"
            );
            events.clear();
            epoll::wait(
                &self.epoll,
                spare_capacity(&mut events),
                Some(&Timespec { tv_sec: 1, tv_nsec: 0 }),
            )?;
            for event in &events {
                let watcher = &mut self.watchers[event.data.u64() as usize];
                let before = watcher.events;
                watcher.read()?;
                if before < self.writes && watcher.events >= self.writes {
                    missing -= 1;
                }
            }
        }
        let taken = began.elapsed();
        let status = http::answer(&mut self.writer)?;
        ensure!(status == 200, "the watched write was answered with {status}");
        Ok(taken)
    }
}

impl Watcher {
    /// An event is one JSON object and a newline; neither occurs inside the values written here.
    fn read(&mut self) -> Result<()> {
        let mut piece = [0; 4096];
        let n = self.socket.read(&mut piece)?;
        ensure!(n > 0, "a stream watcher's connection was closed");
        for byte in &piece[..n] {
            self.events += usize::from(self.last == b'}' && *byte == b'\n');
            self.last = *byte;
        }
        Ok(())
    }
}

/// Opens a stream and reads the head of its answer, which is sent once the watcher is in place.
fn listen(target: SocketAddr) -> Result<TcpStream> {
    let mut socket = http::connect(target)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.write_all(Template::get(KEY, "?wait=true&stream=true").fill(0))?;
    let mut received = [0; 2048];
    let mut filled = 0;
    loop {
        match socket.read(&mut received[filled..])? {
            0 => bail!("closed before the head of the answer"),
            n => filled += n,
        }
        if let Some((_, status, _)) = http::head(&received[..filled]) {
            ensure!(status == 200, "answered with {status}");
            socket.set_nonblocking(true)?;
            return Ok(socket);
        }
    }
}
