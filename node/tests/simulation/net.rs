//! A network that delays, drops, reorders and cuts, by seed.
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use labnode::raft::Member;
use labnode::raft::rpc::{Class, Transport};
use labnode::raft::types::Peer;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub struct SimNet(Mutex<State>);

struct State {
    rng: StdRng,
    members: BTreeMap<u64, Arc<Member>>,
    /// Directed links that carry nothing.
    cut: BTreeSet<(u64, u64)>,
    /// One message in so many is lost; 0 loses none.
    loss: u32,
    slow: bool,
}

impl SimNet {
    pub fn new(seed: u64) -> Arc<SimNet> {
        let rng = StdRng::seed_from_u64(seed);
        Arc::new(SimNet(Mutex::new(State {
            rng,
            members: BTreeMap::new(),
            cut: BTreeSet::new(),
            loss: 0,
            slow: false,
        })))
    }

    pub fn join(&self, id: u64, member: Arc<Member>) {
        self.0.lock().unwrap().members.insert(id, member);
    }

    pub fn leave(&self, id: u64) -> Option<Arc<Member>> {
        self.0.lock().unwrap().members.remove(&id)
    }

    pub fn member(&self, id: u64) -> Option<Arc<Member>> {
        self.0.lock().unwrap().members.get(&id).cloned()
    }

    pub fn cut(&self, links: impl IntoIterator<Item = (u64, u64)>) {
        self.0.lock().unwrap().cut.extend(links);
    }

    pub fn disturb(&self, loss: u32, slow: bool) {
        let mut state = self.0.lock().unwrap();
        state.loss = loss;
        state.slow = slow;
    }

    pub fn heal(&self) {
        let mut state = self.0.lock().unwrap();
        state.cut.clear();
        state.loss = 0;
        state.slow = false;
    }

    pub fn transport(self: &Arc<Self>, from: u64) -> Arc<dyn Transport> {
        Arc::new(Link {
            net: self.clone(),
            from,
        })
    }

    /// How long a message is under way; None: it is lost.
    fn carry(&self, from: u64, to: u64) -> Option<Duration> {
        let mut guard = self.0.lock().unwrap();
        let state = &mut *guard;
        let lost = state.loss > 0 && state.rng.random_range(0..state.loss) == 0;
        let micros = match (state.slow, state.rng.random_range(0..20)) {
            (true, 0..10) => state.rng.random_range(10_000..300_000),
            (_, 0) => state.rng.random_range(1_000..30_000),
            _ => state.rng.random_range(50..1_000),
        };
        (!lost && !state.cut.contains(&(from, to))).then(|| Duration::from_micros(micros))
    }
}

struct Link {
    net: Arc<SimNet>,
    from: u64,
}

impl Link {
    async fn deliver(&self, from: u64, to: u64) -> io::Result<()> {
        match self.net.carry(from, to) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => {
                // As over TCP: nothing is heard for a while, then the connection is given up.
                tokio::time::sleep(Duration::from_millis(1500)).await;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        Ok(())
    }
}

impl Transport for Link {
    fn call(
        &self,
        to: u64,
        _: &Peer,
        _: Class,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send + '_>> {
        Box::pin(async move {
            self.deliver(self.from, to).await?;
            let member = self.net.member(to).ok_or(io::ErrorKind::ConnectionRefused)?;
            let answer = tokio::spawn(async move { member.handle(request).await })
                .await
                .map_err(io::Error::other)?;
            self.deliver(to, self.from).await?;
            Ok(answer)
        })
    }
}
