//! A store's whole contents at one index, and their form on disk and between members.
//!
//! All numbers are LEB128 varints, `bytes` is a length and that many bytes, `?` after a flag means "if it is set".
//! ```text
//! snapshot  version:u8=1  index  counter*15 (as in Stats)  events:count event*  node (the root)
//! event     action:u8  refresh:u8  extern  has_prev:u8  extern?
//! extern    key:bytes  flags:u8 (1 value, 2 dir, 4 expiration)  value:bytes?  expiration?  ttl (zigzag)
//!           modified  created
//! node      flags:u8 (2 dir, 4 expiration)  modified  created  expiration?
//!           file: value:bytes    dir: (name:bytes node)* 0
//! ```
//! Directories end with an empty name instead of beginning with a count: reader and writer need one stack frame of
//! their own per level, and no length is believed before its bytes have come.
use std::{
    io::{self, Read, Write},
    num::NonZeroU64,
    sync::Arc,
};

use super::{
    CLUSTER, KEYS, Shared, Time,
    children::Iter,
    event::{Action, Event, NodeExtern},
    expiry::Expiry,
    history::History,
    node::{Dir, Kind, Node},
    stats::Stats,
    time,
};

const VERSION: u8 = 1;
const COUNTERS: usize = 15;
const VALUE: u8 = 1;
const DIR: u8 = 2;
const EXPIRATION: u8 = 4;
/// Written in pieces of this size, so that the tree is never in memory twice.
const CHUNK: usize = 64 * 1024;

pub struct Snapshot {
    pub(super) root: Arc<Node>,
    pub(super) index: u64,
    pub(super) history: History,
    pub(super) expiry: Expiry,
    pub(super) stats: Stats,
}

impl Snapshot {
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Writes in chunks of 64 KB; no need for a `BufWriter`.
    pub fn write(&self, w: &mut impl Write) -> io::Result<()> {
        let mut out = Vec::with_capacity(CHUNK + 4096);
        out.push(VERSION);
        put_number(&mut out, self.index);
        for (_, counter) in self.stats.clone().fields().into_iter().take(COUNTERS) {
            put_number(&mut out, *counter);
        }
        put_number(&mut out, self.history.len() as u64);
        for event in self.history.iter() {
            put_event(&mut out, event);
            flush(&mut out, w, CHUNK)?;
        }
        let mut open: Vec<Iter<'_>> = Vec::new();
        open.extend(put_node(&mut out, &self.root));
        while let Some(children) = open.last_mut() {
            if let Some((name, child)) = children.next() {
                put_bytes(&mut out, name);
                open.extend(put_node(&mut out, child));
            } else {
                put_bytes(&mut out, b"");
                open.pop();
            }
            flush(&mut out, w, CHUNK)?;
        }
        flush(&mut out, w, 0)
    }

    /// Reads exactly what [`Snapshot::write`] wrote, byte by byte: wrap a file in a `BufReader`. The last `history`
    /// events are kept.
    pub fn read(r: &mut impl Read, history: usize) -> io::Result<Snapshot> {
        let mut input = Input { r };
        if input.byte()? != VERSION {
            return Err(bad("the version is unknown"));
        }
        // Every index has to leave room for the next.
        let index = input.number()?;
        if index > u64::MAX >> 1 {
            return Err(bad("the index is too large"));
        }
        let mut stats = Stats::default();
        for (_, counter) in stats.fields().into_iter().take(COUNTERS) {
            *counter = input.number()?;
        }
        let history = input.history(history, index)?;
        let (root, expiry) = input.tree()?;
        let root = Arc::new(root);
        for namespace in [CLUSTER, KEYS] {
            if !root
                .find(namespace)
                .is_ok_and(|node| node.is_dir() && node.expires.is_none())
            {
                return Err(bad("a namespace is missing"));
            }
        }
        Ok(Snapshot {
            root,
            index,
            history,
            expiry,
            stats,
        })
    }
}

fn flush(out: &mut Vec<u8>, w: &mut impl Write, above: usize) -> io::Result<()> {
    if out.len() > above {
        w.write_all(out)?;
        out.clear();
    }
    Ok(())
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_event(out: &mut Vec<u8>, event: &Event) {
    out.push(
        Action::ALL
            .iter()
            .position(|action| *action == event.action)
            .unwrap_or_default() as u8,
    );
    out.push(event.refresh.into());
    put_extern(out, &event.node);
    out.push(event.prev_node.is_some().into());
    if let Some(prev_node) = &event.prev_node {
        put_extern(out, prev_node);
    }
}

fn put_extern(out: &mut Vec<u8>, node: &NodeExtern) {
    put_bytes(out, &node.key);
    let value = if node.value.is_some() { VALUE } else { 0 };
    let dir = if node.dir { DIR } else { 0 };
    let expiration = if node.expiration.is_some() { EXPIRATION } else { 0 };
    out.push(value | dir | expiration);
    if let Some(value) = &node.value {
        put_bytes(out, value);
    }
    if let Some(expiration) = node.expiration {
        put_number(out, expiration);
    }
    put_number(out, (node.ttl << 1 ^ node.ttl >> 63) as u64);
    put_number(out, node.modified_index);
    put_number(out, node.created_index);
}

/// Gives back a directory's children: they follow.
fn put_node<'a>(out: &mut Vec<u8>, node: &'a Node) -> Option<Iter<'a>> {
    let dir = if node.is_dir() { DIR } else { 0 };
    let expiration = if node.expires.is_some() { EXPIRATION } else { 0 };
    out.push(dir | expiration);
    put_number(out, node.modified);
    put_number(out, node.created);
    if let Some(deadline) = node.deadline() {
        put_number(out, deadline);
    }
    match &node.kind {
        Kind::File(value) => {
            put_bytes(out, value);
            None
        }
        Kind::Dir(dir) => Some(dir.children().iter()),
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot of the key space: {what}"))
}

struct Input<'a, R> {
    r: &'a mut R,
}

/// A directory whose children are being read, and its place in the one above.
struct Open {
    name: Vec<u8>,
    node: Node,
    path_len: usize,
    last: Vec<u8>,
}

impl<R: Read> Input<'_, R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.r.read_exact(&mut byte).map_err(short)?;
        Ok(byte[0])
    }

    fn flags(&mut self, known: u8) -> io::Result<u8> {
        let flags = self.byte()?;
        if flags & !known == 0 {
            Ok(flags)
        } else {
            Err(bad("a flag is unknown"))
        }
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(bad("a number is too long"))
    }

    /// Allocates as the bytes come, not as their length promises.
    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let len = self.number()?;
        let mut bytes = Vec::with_capacity(len.min(CHUNK as u64) as usize);
        let read = self.r.take(len).read_to_end(&mut bytes)?;
        if read as u64 == len {
            Ok(bytes)
        } else {
            Err(bad("it ends early"))
        }
    }

    fn deadline(&mut self, flags: u8) -> io::Result<Option<Time>> {
        if flags & EXPIRATION == 0 {
            return Ok(None);
        }
        match self.number()? {
            deadline @ 1..=time::LAST => Ok(Some(deadline)),
            _ => Err(bad("an expiration is out of range")),
        }
    }

    fn history(&mut self, capacity: usize, index: u64) -> io::Result<History> {
        let mut history = History::new(capacity);
        let count = self.number()?;
        if count > index {
            return Err(bad("it has more events than indexes"));
        }
        // One event for each of the last indexes: the history finds events by counting.
        for expected in index - count + 1..=index {
            let event = self.event()?;
            if event.index() != expected {
                return Err(bad("an event is out of order"));
            }
            history.add(event);
        }
        Ok(history)
    }

    fn event(&mut self) -> io::Result<Arc<Event>> {
        let action = *Action::ALL
            .get(usize::from(self.byte()?))
            .ok_or_else(|| bad("an action is unknown"))?;
        let refresh = self.flags(1)? == 1;
        let node = self.extern_node()?;
        let prev_node = if self.flags(1)? == 1 {
            Some(self.extern_node()?)
        } else {
            None
        };
        Ok(Event::new(action, node, prev_node, refresh))
    }

    fn extern_node(&mut self) -> io::Result<NodeExtern> {
        let key = Shared::from(self.bytes()?);
        let flags = self.flags(VALUE | DIR | EXPIRATION)?;
        let value = if flags & VALUE != 0 {
            Some(Shared::from(self.bytes()?))
        } else {
            None
        };
        let expiration = self.deadline(flags)?;
        let ttl = self.number()?;
        Ok(NodeExtern {
            key,
            value,
            dir: flags & DIR != 0,
            expiration,
            ttl: (ttl >> 1) as i64 ^ -((ttl & 1) as i64),
            modified_index: self.number()?,
            created_index: self.number()?,
        })
    }

    fn tree(&mut self) -> io::Result<(Node, Expiry)> {
        let mut expiry = Expiry::default();
        let mut path = Vec::new();
        let root = self.node()?;
        if !root.is_dir() || root.expires.is_some() {
            return Err(bad("the root is no plain directory"));
        }
        let mut open = vec![Open {
            name: Vec::new(),
            node: root,
            path_len: 0,
            last: Vec::new(),
        }];
        loop {
            let Some(top) = open.last_mut() else {
                return Err(bad("the tree has no root"));
            };
            path.truncate(top.path_len);
            let name = self.bytes()?;
            if name.is_empty() {
                let Some(done) = open.pop() else {
                    return Err(bad("the tree has no root"));
                };
                match open.last_mut() {
                    Some(above) => attach(&mut above.node, &done.name, done.node)?,
                    None => return Ok((done.node, expiry)),
                }
                continue;
            }
            if name.contains(&b'/') || name <= top.last {
                return Err(bad("a name is malformed or out of order"));
            }
            path.push(b'/');
            path.extend_from_slice(&name);
            let node = self.node()?;
            if let Some(deadline) = node.deadline() {
                expiry.set(&Shared::from(&path[..]), Some(deadline), node.created);
            }
            if node.is_dir() {
                top.last.clone_from(&name);
                open.push(Open {
                    name,
                    node,
                    path_len: path.len(),
                    last: Vec::new(),
                });
            } else {
                attach(&mut top.node, &name, node)?;
                top.last = name;
            }
        }
    }

    /// One node without its children.
    fn node(&mut self) -> io::Result<Node> {
        let flags = self.flags(DIR | EXPIRATION)?;
        let modified = self.number()?;
        let created = self.number()?;
        let expires = self.deadline(flags)?.and_then(NonZeroU64::new);
        let kind = match flags & DIR {
            0 => Kind::File(Shared::from(self.bytes()?)),
            _ => Kind::Dir(Box::<Dir>::default()),
        };
        Ok(Node {
            created,
            modified,
            expires,
            kind,
        })
    }
}

fn attach(dir: &mut Node, name: &[u8], child: Node) -> io::Result<()> {
    let Kind::Dir(dir) = &mut dir.kind else {
        return Err(bad("a file has children"));
    };
    dir.insert(name, child);
    Ok(())
}

fn short(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        bad("it ends early")
    } else {
        error
    }
}
