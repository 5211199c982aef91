//! The thread that takes frames from one end of the wire to another.
use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};

use super::link::{Flight, Links};
use super::{HEADER, LARGEST, Mac, offload};

/// Frames taken from one end before the others have their turn.
const TURN: usize = 64;
const WAKE: u64 = u64::MAX;
const TIMER: u64 = WAKE - 1;

/// One end, by its interface's address.
#[derive(Debug)]
pub struct Port {
    pub mac: Mac,
    pub tap: OwnedFd,
}

#[derive(Clone, Debug)]
pub struct Wire(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    epoll: OwnedFd,
    wake: OwnedFd,
    /// Set to when the next late frame is due.
    timer: OwnedFd,
    ports: Mutex<Ports>,
    /// Taken after `ports` where both are.
    flight: Mutex<Flight>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Ports {
    next: u64,
    open: BTreeMap<u64, Arc<Port>>,
    closed: bool,
}

impl Wire {
    pub fn new() -> io::Result<Wire> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let shared = Arc::new(Shared {
            epoll,
            wake,
            timer,
            ports: Mutex::default(),
            flight: Mutex::default(),
            thread: Mutex::default(),
        });
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("wire".into())
            .spawn(move || of_thread.run())?;
        *shared.thread.lock().unwrap() = Some(thread);
        Ok(Wire(shared))
    }

    /// Plugs an end in; its number takes it out again.
    pub fn plug(&self, port: Port) -> io::Result<u64> {
        let mut ports = self.0.ports.lock().unwrap();
        let number = ports.next;
        ports.next += 1;
        if self.0.flight.lock().unwrap().counts_frames(port.mac) {
            offload(&port.tap, false)?;
        }
        epoll::add(
            &self.0.epoll,
            &port.tap,
            epoll::EventData::new_u64(number),
            epoll::EventFlags::IN,
        )?;
        ports.open.insert(number, Arc::new(port));
        Ok(number)
    }

    /// What the links between the ends are like from now on; those that are not named let everything through.
    pub fn set(&self, links: Links, seed: u64) -> io::Result<()> {
        let ports = self.0.ports.lock().unwrap();
        let mut flight = self.0.flight.lock().unwrap();
        flight.set(links, seed, Instant::now());
        for port in ports.open.values() {
            offload(&port.tap, !flight.counts_frames(port.mac))?;
        }
        Ok(())
    }

    /// Its last frames are taken first: they tell the others that its connections are closed.
    pub fn unplug(&self, number: u64) {
        self.0.drain(number, &mut vec![0; LARGEST]);
        let port = self.0.ports.lock().unwrap().open.remove(&number);
        if let Some(port) = port {
            let _ = epoll::delete(&self.0.epoll, &port.tap);
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut frame = vec![0u8; LARGEST];
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 32];
        loop {
            let ready: Vec<u64> = match epoll::wait(&self.epoll, &mut events, None) {
                Ok((events, _)) => events.iter().map(|event| event.data.u64()).collect(),
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            for number in ready {
                match number {
                    WAKE if self.ports.lock().unwrap().closed => return,
                    WAKE => {}
                    TIMER => self.deliver(),
                    number => self.drain(number, &mut frame),
                }
            }
        }
    }

    /// Takes what has come from one end to where it goes. A full end drops, as a real one would.
    fn drain(&self, number: u64, frame: &mut [u8]) {
        let (from, others) = {
            let ports = self.ports.lock().unwrap();
            let Some(from) = ports.open.get(&number).cloned() else {
                return;
            };
            let others: Vec<Arc<Port>> = ports
                .open
                .iter()
                .filter(|(other, _)| **other != number)
                .map(|(_, port)| port.clone())
                .collect();
            (from, others)
        };
        let mut flight = self.flight.lock().unwrap();
        let now = (!flight.is_clear()).then(Instant::now);
        for _ in 0..TURN {
            let Ok(len) = rustix::io::read(from.tap.as_fd(), &mut *frame) else {
                break;
            };
            let frame = &frame[..len];
            let Some(to) = frame.get(HEADER..HEADER + 6) else {
                continue;
            };
            // The lowest bit of the first byte: to all.
            let all = to[0] & 1 == 1;
            for port in &others {
                let is_for = all || port.mac == to;
                if is_for && now.is_none_or(|now| flight.passes(from.mac, port.mac, frame, now)) {
                    let _ = rustix::io::write(port.tap.as_fd(), frame);
                }
            }
        }
        if now.is_some() {
            self.arm(&flight);
        }
    }

    /// Hands over the late frames that are due.
    fn deliver(&self) {
        let _ = rustix::io::read(&self.timer, &mut [0u8; 8]);
        let ports = self.ports.lock().unwrap();
        let mut flight = self.flight.lock().unwrap();
        while let Some((to, frame)) = flight.due(Instant::now()) {
            if let Some(port) = ports.open.values().find(|port| port.mac == to) {
                let _ = rustix::io::write(port.tap.as_fd(), &frame);
            }
        }
        self.arm(&flight);
    }

    fn arm(&self, flight: &Flight) {
        let Some(at) = flight.next() else { return };
        // Zero would disarm it.
        let wait = at
            .saturating_duration_since(Instant::now())
            .max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec {
            it_interval: zero,
            it_value: Timespec::try_from(wait).unwrap_or(zero),
        };
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer);
    }
}

impl Wire {
    /// Ends the thread. The ends are closed with it.
    pub fn close(&self) {
        self.0.ports.lock().unwrap().closed = true;
        let _ = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.0.thread.lock().unwrap().take() {
            let _ = thread.join();
        }
    }
}
