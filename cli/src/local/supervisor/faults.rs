//! The supervisor's part in faults and exercises: what is asked about leases, checkpoints, and commands in nodes.
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::{Client, Supervisor};
use crate::faults::Fault;
use crate::local::inside;
use crate::local::leases::{Leases, Scope};
use crate::local::node::Node;
use crate::local::protocol::{Event, NodeStatus};

/// A login shell that reads its script, as ssh would have it. Without PAM: its session would be logind's to make, which
/// does not know a process from outside.
const LOGIN: &str = r#"
home=$(getent passwd "$1" | cut -d: -f6) && cd "$home" || { echo "there is no user $1" >&2; exit 1; }
set -a; . /etc/environment; set +a
export HOME="$home" USER="$1" LOGNAME="$1" SHELL=/bin/bash
exec setpriv --reuid="$1" --regid="$1" --init-groups -- bash --login -s
"#;

impl Supervisor {
    /// The nodes of these names, which are about to go down: what was done to their processes ends with them.
    pub(super) async fn released(&self, names: &[String]) -> Vec<Arc<Node>> {
        let nodes = self.nodes(names).await;
        if let Some((leases, _)) = self.leases().await {
            leases.release(&nodes).await;
        }
        nodes
    }

    /// What each node is and does, with its faults.
    pub(super) async fn statuses(&self) -> Vec<NodeStatus> {
        let nodes = self.nodes(&[]).await;
        let leases = self.leases().await.map(|(leases, _)| leases.list()).unwrap_or_default();
        let of = |mut status: NodeStatus| {
            let faults = leases
                .iter()
                .filter(|lease| lease.fault.nodes().contains(&status.name.as_str()))
                .map(|lease| format!("fault {}: {}", lease.id, lease.fault));
            let notes: Vec<String> = [status.detail]
                .into_iter()
                .filter(|note| !note.is_empty())
                .chain(faults)
                .collect();
            status.detail = notes.join("; ");
            status
        };
        let mut statuses = Vec::new();
        for node in &nodes {
            statuses.push(of(node.look().await));
        }
        statuses
    }

    pub(super) async fn leases(&self) -> Option<(Arc<Leases>, Scope)> {
        let lab = self.lab.lock().await;
        let lab = lab.as_ref()?;
        let scope = Scope {
            nodes: lab.nodes.values().cloned().collect(),
            wire: lab.host.wire.clone(),
        };
        Some((lab.leases.clone(), scope))
    }

    pub(super) async fn fault(
        self: Arc<Self>,
        fault: Fault,
        limit: Option<Duration>,
        held: bool,
        seed: Option<u64>,
        mut client: Client,
    ) -> io::Result<()> {
        let Some((leases, scope)) = self.leases().await else {
            return client.refuse("the lab has not begun").await;
        };
        let ids = match leases.begin(&fault, limit, seed, &scope).await {
            Ok(ids) => ids,
            Err(error) => return client.finish(Err(error)).await,
        };
        if let Some(limit) = limit {
            let (supervisor, ids) = (self.clone(), ids.clone());
            tokio::spawn(async move {
                tokio::time::sleep(limit).await;
                supervisor.over(&ids).await;
            });
        }
        for lease in leases.list().into_iter().filter(|lease| ids.contains(&lease.id)) {
            // Whoever asked may be gone already; then it goes on until it is over.
            if client.say(&Event::Fault(lease)).await.is_err() {
                break;
            }
        }
        let said = client.say(&Event::Done).await;
        if held {
            // Nothing more is said by the holder: what comes is its end.
            let _ = client.0.read(&mut [0; 1]).await;
            self.over(&ids).await;
        }
        said
    }

    /// The time of these is over, or their holder is gone: what is left of them is undone.
    pub(super) async fn over(&self, ids: &[u32]) {
        let Some((leases, scope)) = self.leases().await else {
            return;
        };
        let held: Vec<u32> = leases.list().iter().map(|lease| lease.id).collect();
        let ids: Vec<u32> = ids.iter().copied().filter(|id| held.contains(id)).collect();
        if !ids.is_empty() {
            // What cannot be undone stays in the list, with the reason.
            let _ = leases.heal(&ids, &scope).await;
        }
    }

    pub(super) async fn heal(&self, ids: &[u32], client: &mut Client) -> io::Result<()> {
        let Some((leases, scope)) = self.leases().await else {
            return Ok(());
        };
        for fault in leases.heal(ids, &scope).await? {
            client.say(&Event::Healed(fault)).await?;
        }
        Ok(())
    }

    pub(super) fn checkpoint(&self, name: &str) -> PathBuf {
        self.dir.join("checkpoints").join(name)
    }

    pub(super) async fn run(
        &self,
        name: &str,
        user: &str,
        script: &str,
        limit: Duration,
        client: &mut Client,
    ) -> io::Result<()> {
        let nodes = self.nodes(&[name.to_string()]).await;
        let node = nodes
            .first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is no node of this lab")))?;
        let command = ["sh", "-c", LOGIN, "lab", user];
        let pid = node.runs().await?;
        // Who asked says nothing more: what comes is its end, and nobody is left who wants the script done.
        let stream = &mut client.0;
        let gone = async {
            let _ = stream.read(&mut [0; 1]).await;
        };
        let output = inside::run_for(pid, &command, script.as_bytes(), limit, gone).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        client
            .say(&Event::Output {
                stdout: text(&output.stdout),
                stderr: text(&output.stderr),
                status: output.status.code().unwrap_or(-1),
            })
            .await
    }
}
