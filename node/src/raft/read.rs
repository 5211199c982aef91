//! Reads that must see every write acknowledged before them: the leader confirms that it still leads and says
//! how far its log is committed (ReadIndex); the reader waits until it has applied that. Nothing is written.
use std::sync::Arc;

use openraft::ReadPolicy;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::member::Member;
use super::rpc::{self, Class, ReadIndex};

/// Rounds on their way at once; all readers that arrive meanwhile share the next one.
const IN_FLIGHT: usize = 2;

pub(super) async fn run(member: Arc<Member>, mut readers: mpsc::UnboundedReceiver<oneshot::Sender<()>>) {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    while let Some(first) = readers.recv().await {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let mut waiting = vec![first];
        while let Ok(reader) = readers.try_recv() {
            waiting.push(reader);
        }
        let member = member.clone();
        tokio::spawn(async move {
            if let Ok(index) = tokio::time::timeout(member.request_timeout(), ask(&member)).await {
                drop(permit);
                member.state.wait_applied(index).await;
                for reader in waiting {
                    let _ = reader.send(());
                }
            }
        });
    }
}

async fn ask(member: &Member) -> u64 {
    loop {
        let answer = match member.leader() {
            Some(leader) if leader == member.id => confirm(member).await,
            Some(leader) => {
                let call = member.call(leader, Class::Client, vec![rpc::READ_INDEX].into());
                tokio::select! {
                    answer = call => answer.ok().and_then(|bytes| rpc::parse_answer::<ReadIndex>(&bytes).ok()).flatten(),
                    () = member.leader_is_not(leader) => None,
                }
            }
            None => None,
        };
        if let Some(index) = answer {
            return index;
        }
        member.look_again().await;
    }
}

/// The leader's part.
pub(super) async fn confirm(member: &Member) -> ReadIndex {
    let linearizer = member.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
    Some(linearizer.read_log_id().log_id().index)
}
