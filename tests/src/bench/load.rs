//! The closed-loop client: one thread, one epoll, one outstanding request on each connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::time::{ClockId, clock_gettime};

use crate::histogram::Histogram;
use crate::http::{self, Answer, Template};
use crate::server;

/// How long answers that are due when the window closes may take. Longer than etcd's own request timeout of 7 s.
const DRAIN: Duration = Duration::from_secs(15);
/// How often the clock of the window is looked at when nothing arrives.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
const ANSWER_BYTES: usize = 16 * 1024;

pub enum Keys {
    Random { space: usize, rng: Box<SmallRng> },
    InOrder { next: usize, end: usize },
}

impl Keys {
    pub fn random(space: usize) -> Self {
        Self::Random {
            space,
            rng: Box::new(SmallRng::seed_from_u64(1)),
        }
    }

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Random { space, rng } => Some(rng.random_range(0..*space)),
            Self::InOrder { next, end } => (*next < *end).then(|| std::mem::replace(next, *next + 1)),
        }
    }
}

pub struct Job<'a> {
    pub template: Template,
    pub keys: Keys,
    pub conns: usize,
    /// Connection i goes to target i modulo their number.
    pub targets: &'a [SocketAddr],
    /// The servers' processes, for the CPU time they use in the window.
    pub pids: &'a [u32],
    pub warm: Duration,
    pub window: Duration,
    /// Asked every tick with the operations so far: closes the window early.
    pub stop: &'a mut dyn FnMut(u64) -> bool,
}

pub struct Outcome {
    /// Answers inside the window.
    pub ops: u64,
    /// Wrong statuses, broken connections and answers that never came, at any time.
    pub errors: u64,
    pub elapsed: Duration,
    pub server_cpu_us: f64,
    pub client_cpu_us: f64,
    /// Of every answer since the window opened, those that came after it closed too: the slowest are among them.
    pub latency: Histogram,
}

impl Outcome {
    pub fn ops_per_second(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64()
    }

    pub fn per_op(&self, cpu_us: f64) -> f64 {
        cpu_us / self.ops.max(1) as f64
    }
}

struct Connection {
    socket: TcpStream,
    target: SocketAddr,
    sent: Instant,
    waiting: bool,
    received: usize,
    buffer: Box<[u8]>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Warming,
    Open,
    Closed,
}

struct Client<'a> {
    job: Job<'a>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    waiting: usize,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// CPU readings at the opening of the window.
    cpu: (f64, f64),
    outcome: Outcome,
}

pub fn run(job: Job<'_>) -> Result<Outcome> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(job.conns);
    for index in 0..job.conns {
        let target = job.targets[index % job.targets.len()];
        let socket = open(&epoll, target, index)?;
        let buffer = vec![0; ANSWER_BYTES].into_boxed_slice();
        connections.push(Connection {
            socket,
            target,
            sent: Instant::now(),
            waiting: false,
            received: 0,
            buffer,
        });
    }
    let outcome = Outcome {
        ops: 0,
        errors: 0,
        elapsed: Duration::ZERO,
        server_cpu_us: 0.0,
        client_cpu_us: 0.0,
        latency: Histogram::new(),
    };
    let mut client = Client {
        job,
        epoll,
        connections,
        waiting: 0,
        phase: Phase::Warming,
        since: Instant::now(),
        cpu: (0.0, 0.0),
        outcome,
    };
    client.drive()?;
    Ok(client.outcome)
}

fn open(epoll: &OwnedFd, target: SocketAddr, index: usize) -> Result<TcpStream> {
    let socket = http::connect(target)?;
    socket.set_nonblocking(true)?;
    epoll::add(
        epoll,
        &socket,
        epoll::EventData::new_u64(index as u64),
        epoll::EventFlags::IN,
    )?;
    Ok(socket)
}

pub fn own_cpu_us() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 * 1e6 + used.tv_nsec as f64 / 1e3
}

impl Client<'_> {
    fn drive(&mut self) -> Result<()> {
        self.turn(Instant::now())?;
        for index in 0..self.connections.len() {
            self.send(index, Instant::now());
        }
        let mut next_tick = Instant::now();
        let mut events = Vec::with_capacity(512);
        while self.waiting > 0 {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&TICK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.receive(event.data.u64() as usize);
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + Duration::from_millis(20);
                self.turn(now)?;
                if self.phase == Phase::Closed && now - self.since > DRAIN {
                    self.outcome.errors += self.waiting as u64;
                    return Ok(());
                }
            }
        }
        if self.phase == Phase::Open {
            self.close(Instant::now())?;
        }
        Ok(())
    }

    /// Moves to the next phase when its time has come.
    fn turn(&mut self, now: Instant) -> Result<()> {
        match self.phase {
            Phase::Warming if now - self.since >= self.job.warm => {
                self.cpu = (server::cpu_us(self.job.pids)?, own_cpu_us());
                (self.phase, self.since) = (Phase::Open, now);
            }
            Phase::Open if now - self.since >= self.job.window || (self.job.stop)(self.outcome.ops) => {
                self.close(now)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, now: Instant) -> Result<()> {
        self.outcome.elapsed = now - self.since;
        self.outcome.server_cpu_us = server::cpu_us(self.job.pids)? - self.cpu.0;
        self.outcome.client_cpu_us = own_cpu_us() - self.cpu.1;
        (self.phase, self.since) = (Phase::Closed, now);
        Ok(())
    }

    fn send(&mut self, index: usize, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        let Some(key) = self.job.keys.next() else {
            return;
        };
        let request = self.job.template.fill(key);
        let connection = &mut self.connections[index];
        // A request is smaller than an idle socket's buffer, so a short write means a broken connection.
        if connection.socket.write_all(request).is_err() {
            return self.reopen(index);
        }
        connection.sent = now;
        connection.waiting = true;
        connection.received = 0;
        self.waiting += 1;
    }

    fn receive(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let filled = connection.received;
        match connection.socket.read(&mut connection.buffer[filled..]) {
            Ok(n) if n > 0 && connection.waiting => connection.received += n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return;
            }
            _ => return self.reopen(index),
        }
        let status = match http::judge(&connection.buffer[..connection.received]) {
            Answer::Partial => return,
            Answer::Whole(status) => status,
            Answer::Broken => return self.reopen(index),
        };
        let now = Instant::now();
        if status != 200 && status != 201 {
            self.outcome.errors += 1;
        }
        if self.phase != Phase::Warming {
            self.outcome.latency.record(now - connection.sent);
        }
        if self.phase == Phase::Open {
            self.outcome.ops += 1;
        }
        connection.waiting = false;
        self.waiting -= 1;
        self.send(index, now);
    }

    /// Counts a broken connection and replaces it; one that cannot be replaced stays out of the run.
    fn reopen(&mut self, index: usize) {
        self.outcome.errors += 1;
        let connection = &mut self.connections[index];
        if std::mem::take(&mut connection.waiting) {
            self.waiting -= 1;
        }
        // While the server is up a new connection works at once; the cap bounds the run if it breaks every one.
        if self.outcome.errors > 10_000 {
            let _ = epoll::delete(&self.epoll, &connection.socket);
            return;
        }
        match open(&self.epoll, connection.target, index) {
            Ok(socket) => {
                connection.socket = socket;
                self.send(index, Instant::now());
            }
            Err(_) => {
                let _ = epoll::delete(&self.epoll, &connection.socket);
            }
        }
    }
}
