//! openraft's calls to other members, put into messages and handed to the transport.
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkV2};
use serde::de::DeserializeOwned;

use super::clock::Clock;
use super::rpc::{self, Class, SnapshotPart, Transport};
use super::snapshot::SnapshotFile;
use super::types::{Peer, Snapshot, TypeConfig, Vote};

const PART_BYTES: usize = 1 << 20;
const PART_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon an unreachable member is tried again.
const BACKOFF: Duration = Duration::from_millis(100);

pub struct Network {
    pub transport: Arc<dyn Transport>,
    pub state: Arc<super::machine::State>,
}

impl Network {
    fn client(&self, target: u64, node: &Peer, class: Class) -> Client {
        Client {
            transport: self.transport.clone(),
            state: self.state.clone(),
            target,
            peer: node.clone(),
            class,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Class::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Class::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Class::Snapshot)
    }
}

pub struct Client {
    transport: Arc<dyn Transport>,
    state: Arc<super::machine::State>,
    target: u64,
    peer: Peer,
    class: Class,
}

impl Client {
    fn clock(&self) -> &Clock {
        &self.state.clock
    }

    async fn call<T: DeserializeOwned>(&self, request: Bytes, timeout: Duration) -> Result<T, RPCError<TypeConfig>> {
        let answer = tokio::time::timeout(
            timeout,
            self.transport.call(self.target, &self.peer, self.class, request),
        )
        .await;
        match answer {
            Ok(Ok(bytes)) => rpc::parse_answer(&bytes).map_err(|error| NetworkError::new(&error).into()),
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(_) => Err(NetworkError::from_string(format!(
                "member {:x} did not answer within {timeout:?}",
                self.target
            ))
            .into()),
        }
    }
}

fn unreachable(error: &io::Error) -> RPCError<TypeConfig> {
    Unreachable::from_string(error).into()
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        // Entries may wait for a slow disk over there; a heartbeat must not.
        let timeout = if request.entries.is_empty() {
            option.hard_ttl()
        } else {
            option.hard_ttl().max(Duration::from_secs(5))
        };
        let start = tokio::time::Instant::now();
        let answer = self.call(rpc::append(&request, self.clock().now()), timeout).await;
        let millis = start.elapsed().as_secs_f64() * 1000.0;
        self.state
            .traffic
            .lock()
            .unwrap()
            .sent(self.target, millis, answer.is_ok());
        answer
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(rpc::message(rpc::VOTE, &request), option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(rpc::message(rpc::PRE_VOTE, &request), option.hard_ttl())
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let send = async {
            let file = snapshot
                .snapshot
                .disk
                .open(&snapshot.snapshot.path)
                .map_err(|error| StreamingError::from(unreachable(&error)))?;
            let len = file.size().map_err(|error| StreamingError::from(unreachable(&error)))?;
            let mut offset = 0;
            loop {
                let mut data = vec![0; PART_BYTES.min((len - offset) as usize)];
                file.read_at(&mut data, offset)
                    .map_err(|error| StreamingError::from(unreachable(&error)))?;
                let end = offset + data.len() as u64;
                let last = end == len;
                let part = SnapshotPart {
                    vote,
                    meta: snapshot.meta.clone(),
                    offset,
                    data,
                    last,
                };
                // The last part is answered when the snapshot is installed.
                let timeout = if last { PART_TIMEOUT * 6 } else { PART_TIMEOUT };
                let answer: SnapshotResponse<TypeConfig> =
                    self.call(rpc::message(rpc::SNAPSHOT, &part), timeout).await?;
                if last || answer.vote > vote {
                    return Ok(answer);
                }
                offset = end;
            }
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            result = send => result,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(rpc::message(rpc::TRANSFER, &request), option.hard_ttl())
            .await
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}
