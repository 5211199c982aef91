//! Faults as leases: each has an end, which undoes it; what the wire is like follows from all that are in force.
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::node::Node;
use crate::faults::{self, Fault, Lease, Names};
use crate::wire::Wire;

#[derive(Debug, Default)]
pub struct Leases(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u32,
    seed: u64,
    held: BTreeMap<u32, Held>,
}

#[derive(Clone, Debug)]
struct Held {
    fault: Fault,
    since: Instant,
    until: Option<Instant>,
    stuck: Option<String>,
}

/// What faults happen to.
#[derive(Debug)]
pub struct Scope {
    pub nodes: Vec<Arc<Node>>,
    pub wire: Wire,
}

impl Scope {
    fn addresses(&self) -> Vec<(String, Ipv4Addr)> {
        let of = |node: &Arc<Node>| (node.spec.name.clone(), node.spec.address);
        self.nodes.iter().map(of).collect()
    }

    fn node(&self, name: &str) -> io::Result<Arc<Node>> {
        let found = self.nodes.iter().find(|node| node.spec.name == name);
        found.cloned().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{name} is no node that has been up"),
            )
        })
    }
}

impl Leases {
    /// Has it happen; the numbers of what is in force from now on. All of it happens, or nothing.
    pub async fn begin(
        &self,
        fault: &Fault,
        limit: Option<Duration>,
        seed: Option<u64>,
        scope: &Scope,
    ) -> io::Result<Vec<u32>> {
        for name in fault.nodes() {
            scope.node(name)?;
        }
        if let Some(seed) = seed {
            self.0.lock().unwrap().seed = seed;
        }
        if fault.is_of_the_wire() {
            let id = self.add(fault.clone(), limit);
            return match self.rewire(scope) {
                Ok(()) => Ok(vec![id]),
                Err(error) => {
                    self.remove(id);
                    let _ = self.rewire(scope);
                    Err(error)
                }
            };
        }
        let all = per_node(fault);
        self.must_be_free(&all)?;
        let mut ids = Vec::new();
        for one in all {
            let node = scope.node(one.nodes()[0])?;
            // Known before it happens: whatever ends this, it can be undone.
            let id = self.add(one.clone(), limit);
            ids.push(id);
            if let Err(error) = node.harm(&one).await {
                // What systemd refuses has not begun; the others may be half done.
                if matches!(one, Fault::Kill(_) | Fault::Stop(_) | Fault::Reboot(_)) {
                    self.remove(id);
                    ids.pop();
                }
                if !ids.is_empty() {
                    let _ = self.heal(&ids, scope).await;
                }
                return Err(io::Error::other(format!("{}: {error}", node.spec.name)));
            }
        }
        if matches!(fault, Fault::Reboot(_)) {
            // It undoes itself.
            for id in ids.drain(..) {
                self.remove(id);
            }
        }
        Ok(ids)
    }

    /// Undoes these, or all of them; those that could not be undone stay, with the reason.
    pub async fn heal(&self, ids: &[u32], scope: &Scope) -> io::Result<Vec<Fault>> {
        let mut taken = BTreeMap::new();
        {
            let mut state = self.0.lock().unwrap();
            for id in state.held.keys().copied().collect::<Vec<u32>>() {
                if (ids.is_empty() || ids.contains(&id))
                    && let Some(held) = state.held.remove(&id)
                {
                    taken.insert(id, held);
                }
            }
        }
        if let Some(unknown) = ids.iter().find(|id| !taken.contains_key(id)) {
            self.0.lock().unwrap().held.append(&mut taken);
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("there is no fault {unknown}"),
            ));
        }
        let mut result = self.rewire(scope);
        let mut healed = Vec::new();
        // The last one first: a pause may be on top of the others.
        for (id, mut held) in taken.into_iter().rev() {
            let mended = match held.fault.nodes().first() {
                Some(name) if !held.fault.is_of_the_wire() => match scope.node(name) {
                    Ok(node) => node.mend(&held.fault).await,
                    // Gone with its node.
                    Err(_) => Ok(()),
                },
                _ => Ok(()),
            };
            match mended {
                Ok(()) => healed.push(held.fault),
                Err(error) => {
                    result = Err(io::Error::other(format!(
                        "fault {id} ({}) cannot be undone: {error}",
                        held.fault
                    )));
                    held.stuck = Some(error.to_string());
                    held.until = None;
                    self.0.lock().unwrap().held.insert(id, held);
                }
            }
        }
        healed.reverse();
        result.map(|()| healed)
    }

    /// These nodes go down, or are asked to come up: what was done to their processes ends with them.
    pub async fn release(&self, nodes: &[Arc<Node>]) {
        let mut paused = Vec::new();
        self.0.lock().unwrap().held.retain(|_, held| {
            let node = nodes
                .iter()
                .find(|node| held.fault.nodes().contains(&node.spec.name.as_str()));
            let Some(node) = node.filter(|_| !held.fault.is_of_the_wire()) else {
                return true;
            };
            if matches!(held.fault, Fault::Pause(_)) {
                paused.push((node.clone(), held.fault.clone()));
            }
            false
        });
        for (node, fault) in paused {
            let _ = node.mend(&fault).await;
        }
    }

    pub fn list(&self) -> Vec<Lease> {
        let now = Instant::now();
        let state = self.0.lock().unwrap();
        let of = |(id, held): (&u32, &Held)| Lease {
            id: *id,
            fault: held.fault.clone(),
            age: now - held.since,
            left: held.until.map(|until| until.saturating_duration_since(now)),
            stuck: held.stuck.clone(),
        };
        state.held.iter().map(of).collect()
    }

    fn must_be_free(&self, wanted: &[Fault]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let taken = |one: &Fault| {
            let holds = one.holds()?;
            let same = |held: &Held| held.fault.holds().as_ref() == Some(&holds) && held.fault.nodes() == one.nodes();
            let (id, held) = state.held.iter().find(|(_, held)| same(held))?;
            Some(format!(
                "fault {id} ({}) has {holds} already; lab heal {id} ends it",
                held.fault
            ))
        };
        match wanted.iter().find_map(taken) {
            None => Ok(()),
            Some(why) => Err(io::Error::new(io::ErrorKind::AlreadyExists, why)),
        }
    }

    fn add(&self, fault: Fault, limit: Option<Duration>) -> u32 {
        let mut state = self.0.lock().unwrap();
        state.last += 1;
        let (id, since) = (state.last, Instant::now());
        state.held.insert(
            id,
            Held {
                fault,
                since,
                until: limit.map(|limit| since + limit),
                stuck: None,
            },
        );
        id
    }

    fn remove(&self, id: u32) {
        self.0.lock().unwrap().held.remove(&id);
    }

    fn rewire(&self, scope: &Scope) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let links = faults::links(state.held.values().map(|held| &held.fault), &scope.addresses());
        scope.wire.set(links, state.seed)
    }
}

/// A fault of nodes is one for each of them.
fn per_node(fault: &Fault) -> Vec<Fault> {
    let of = |name: &str| {
        let mut one = fault.clone();
        let at = Names(vec![name.to_string()]);
        match &mut one {
            Fault::Kill(own) | Fault::Pause(own) | Fault::Stop(own) | Fault::Reboot(own) => own.at = at,
            Fault::DiskFull(own) | Fault::DiskRo(own) => own.at = at,
            Fault::DiskSlow(own) => own.at = at,
            Fault::Clock(own) => own.at = at,
            _ => {}
        }
        one
    };
    fault.nodes().into_iter().map(of).collect()
}
