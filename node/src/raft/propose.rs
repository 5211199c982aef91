//! From a client's command to its outcome: commands that arrive together travel as one batch, to the leader
//! wherever it is, again after a change of leader, and are applied once.
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use openraft::impls::ProgressResponder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::batch::{self, Builder};
use super::machine::Outcome;
use super::member::Member;
use super::rpc::{self, Class, Forwarded};
use crate::kv::Command;

/// Batches on their way at once. More overlap the disk with the network, fewer make bigger batches.
const IN_FLIGHT: usize = 4;
const BATCH_BYTES: usize = 1 << 20;
const BATCH_COMMANDS: usize = 1024;

pub struct Proposal {
    pub command: Command,
    pub outcome: oneshot::Sender<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// No word within the time a request has. It may still happen.
    Timeout,
    /// The leader's disk, or ours, has no room.
    NoSpace,
    Stopped,
}

pub(super) async fn run(member: Arc<Member>, mut proposals: mpsc::Receiver<Proposal>) {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    let active: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let mut number = 0;
    while let Some(first) = proposals.recv().await {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        number += 1;
        let mut builder = Builder::new(member.state.session, number);
        let mut waiters = Vec::new();
        let mut next = Some(first);
        while let Some(proposal) = next {
            // Nobody waits any more for what timed out in the queue.
            if !proposal.outcome.is_closed() {
                builder.push(&proposal.command);
                waiters.push(proposal.outcome);
            }
            let room = builder.size() < BATCH_BYTES && waiters.len() < BATCH_COMMANDS;
            next = if room { proposals.try_recv().ok() } else { None };
        }
        if waiters.is_empty() {
            continue;
        }
        member.state.waiters.lock().unwrap().insert(number, waiters);
        let low = {
            let mut active = active.lock().unwrap();
            active.insert(number);
            active.first().copied().unwrap_or(number)
        };
        let bytes = builder.finish(low);
        tokio::spawn(drive(member.clone(), number, bytes, permit, active.clone()));
    }
}

/// Sees one batch through.
async fn drive(
    member: Arc<Member>,
    number: u64,
    bytes: Bytes,
    permit: OwnedSemaphorePermit,
    active: Arc<Mutex<BTreeSet<u64>>>,
) {
    let deadline = Instant::now() + member.request_timeout();
    let done = tokio::time::timeout_at(deadline, deliver(&member, &bytes)).await;
    active.lock().unwrap().remove(&number);
    drop((permit, bytes));
    match done {
        Ok(Forwarded::Committed) => {
            // Applied here a little later than at the leader. Those who wait give up by themselves; the entry in the
            // table is for us to clear.
            if member.state.waiters.lock().unwrap().contains_key(&number) {
                tokio::time::sleep_until(deadline).await;
                member.state.waiters.lock().unwrap().remove(&number);
            }
        }
        _ => drop(member.state.waiters.lock().unwrap().remove(&number)),
    }
}

async fn deliver(member: &Member, bytes: &Bytes) -> Forwarded {
    loop {
        let answer = match member.leader() {
            Some(leader) if leader == member.id => accept(member, bytes.clone()).await,
            Some(leader) => tokio::select! {
                answer = forward(member, leader, bytes) => answer.unwrap_or(Forwarded::NotLeader),
                () = member.leader_is_not(leader) => Forwarded::NotLeader,
            },
            None => Forwarded::NotLeader,
        };
        if answer != Forwarded::NotLeader {
            return answer;
        }
        member.look_again().await;
    }
}

async fn forward(member: &Member, leader: u64, bytes: &Bytes) -> io::Result<Forwarded> {
    let mut request = Vec::with_capacity(bytes.len() + 1);
    request.push(rpc::FORWARD);
    request.extend_from_slice(bytes);
    let answer = member.call(leader, Class::Client, Bytes::from(request)).await?;
    rpc::parse_answer(&answer)
}

/// The leader's part: stamps a batch with its time and puts it into the log.
pub(super) async fn accept(member: &Member, bytes: Bytes) -> Forwarded {
    if member.disk_status.is_full() {
        // It is about to lead no more, if somebody else can.
        return member.heir().map_or(Forwarded::Full, |_| Forwarded::NotLeader);
    }
    let batch = batch::stamp(bytes, member.state.clock.now());
    let (responder, committed) = ProgressResponder::complete_only();
    if member.raft.client_write_ff(batch, Some(responder)).await.is_err() {
        return Forwarded::NotLeader;
    }
    match committed.await {
        Ok(Ok(_)) => Forwarded::Committed,
        _ => Forwarded::NotLeader,
    }
}
