//! From a configuration to a member's disk: the one that is there, or the first of a new cluster.
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::cluster::MemberInfo;
use super::config::{Config, Members};
use super::{discovery, ids};
use crate::log::{self, LogLine};
use crate::raft::Options;
use crate::raft::disk::{DirLock, Disk};
use crate::raft::member::{self, Opened};
use crate::raft::types::Peer;
use crate::raft::wal::{Meta, OpenError};
use crate::tls;

/// How long a peer has to say who its members are.
const PEER_TIMEOUT: Duration = Duration::from_secs(1);

/// Entries that etcd keeps behind a snapshot for members that lag.
const CATCH_UP_ENTRIES: u64 = 5000;

pub struct Bootstrap {
    pub opened: Opened,
    pub options: Options,
    /// The members of a cluster that begins now.
    pub first_members: Option<BTreeMap<u64, Peer>>,
    pub lock: DirLock,
}

/// Why a server cannot start: what its log says before it exits with 1.
#[derive(Debug)]
pub enum Failure {
    Text(String),
    Lines(Vec<LogLine>),
    /// This token has its members already.
    ClusterFull(String),
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::Text(text)
    }
}

pub async fn bootstrap(config: &Config, disk: &Arc<dyn Disk>) -> Result<Bootstrap, Failure> {
    let data_dir = &config.data_dir;
    let member_dir = data_dir.join("member");
    let cannot =
        |what: &str, path: &std::path::Path, error: io::Error| format!("cannot {what} {}: {error}", path.display());
    if member_dir.is_dir() && data_dir.join("proxy").is_dir() {
        return Err("invalid datadir. Both member and proxy directories exist."
            .to_string()
            .into());
    }
    disk.create_dir(data_dir)
        .map_err(|error| cannot("create the data directory", data_dir, error))?;
    let options = options(config, member_dir);
    disk.create_dir(&options.wal_dir)
        .map_err(|error| cannot("create", &options.wal_dir, error))?;
    let lock = DirLock::take(&options.wal_dir).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => "open wal error: file already locked".to_string(),
        _ => cannot("lock", &options.wal_dir, error),
    })?;
    let opened = match member::open(disk, &options) {
        Ok(opened) => opened,
        Err(OpenError::Io(error)) => return Err(format!("open wal error: {error}").into()),
        Err(error) => return Err(error.to_string().into()),
    };
    if let Some(opened) = opened {
        log::notice!(
            "etcdmain",
            "the server is already initialized as member before, starting as etcd member..."
        );
        return Ok(Bootstrap {
            opened,
            options,
            first_members: None,
            lock,
        });
    }
    let (meta, members) = match new_cluster(config).await {
        Err(full @ Failure::ClusterFull(_)) => {
            // What is left must not look like a member's; only empty directories go.
            drop(lock);
            let _ = std::fs::remove_file(data_dir.join(discovery::MARK));
            for dir in [&options.wal_dir, &options.snap_dir, &data_dir.join("member")] {
                let _ = std::fs::remove_dir(dir);
            }
            return Err(full);
        }
        outcome => outcome?,
    };
    let opened =
        member::create(disk, &options, meta).map_err(|error| cannot("create the log in", &options.wal_dir, error))?;
    let _ = std::fs::remove_file(data_dir.join(discovery::MARK));
    log::info!(
        "etcdserver",
        "starting member {:x} in cluster {:x}",
        meta.member_id,
        meta.cluster_id
    );
    Ok(Bootstrap {
        opened,
        options,
        first_members: Some(members),
        lock,
    })
}

fn options(config: &Config, member_dir: PathBuf) -> Options {
    Options {
        snap_dir: member_dir.join("snap"),
        wal_dir: config.wal_dir.clone().unwrap_or_else(|| member_dir.join("wal")),
        heartbeat: Duration::from_millis(config.heartbeat_ms),
        election: Duration::from_millis(config.election_ms),
        snapshot_count: config.snapshot_count,
        catch_up_entries: CATCH_UP_ENTRIES,
        max_snapshots: config.max_snapshots as usize,
        max_wals: config.max_wals as usize,
        history: config.event_history_size,
        wall: None,
        session: rand::random(),
    }
}

/// Computes who is who in a cluster that begins: as `--initial-cluster` describes it, or as discovery finds it.
async fn new_cluster(config: &Config) -> Result<(Meta, BTreeMap<u64, Peer>), Failure> {
    let discovered;
    let config = match discovered_members(config).await? {
        None => config,
        Some((initial_cluster, initial_cluster_token)) => {
            discovered = Config {
                initial_cluster,
                initial_cluster_token,
                ..config.clone()
            };
            &discovered
        }
    };
    config.verify_bootstrap(&resolve).map_err(Failure::Lines)?;
    let mut members = BTreeMap::new();
    let mut own = None;
    for (name, urls) in &config.initial_cluster {
        let peer_urls: Vec<String> = urls.iter().map(|url| url.as_str().to_string()).collect();
        let id = ids::member_id(&peer_urls, &config.initial_cluster_token, None);
        if *name == config.name {
            own = Some(id);
        }
        members.insert(id, Peer { peer_urls });
    }
    let all: Vec<u64> = members.keys().copied().collect();
    let own = own.ok_or_else(|| {
        format!(
            "couldn't find local name {:?} in the initial cluster configuration",
            config.name
        )
    })?;
    let others = members.iter().filter(|(id, _)| **id != own);
    let asked = futures_util::future::join_all(others.map(|(_, peer)| is_bootstrapped(peer, own))).await;
    if asked.contains(&true) {
        return Err(format!("member {} has already been bootstrapped", ids::hex(own)).into());
    }
    Ok((
        Meta {
            member_id: own,
            cluster_id: ids::cluster_id(&all),
        },
        members,
    ))
}

/// The members and the token for their ids, if they are to be discovered.
async fn discovered_members(config: &Config) -> Result<Option<(Members, String)>, Failure> {
    if !config.discovery.url.is_empty() {
        let members = discovery::join(config, &tls::Files::default()).await?;
        return Ok(Some((members, config.discovery.url.clone())));
    }
    if !config.discovery.srv.is_empty() {
        let members = discovery::srv(config).await?;
        return Ok(Some((members, config.initial_cluster_token.clone())));
    }
    Ok(None)
}

/// Does another member know that one with our id has run before? Then our data is lost, and a new start under the
/// same id could undo what was voted and acknowledged.
async fn is_bootstrapped(peer: &Peer, own: u64) -> bool {
    for url in &peer.peer_urls {
        if let Ok(Ok(members)) = tokio::time::timeout(PEER_TIMEOUT, peer_members(url)).await {
            return members
                .iter()
                .any(|member| member.id == own && !member.client_urls.is_empty());
        }
    }
    false
}

/// The members that a peer knows.
async fn peer_members(url: &str) -> io::Result<Vec<MemberInfo>> {
    let address = url
        .strip_prefix("http://")
        .ok_or_else(|| io::Error::other("not an http URL"))?;
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET /members HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(16 << 20).read_to_end(&mut answer).await?;
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let body = split
        .map(|at| &answer[at + 4..])
        .ok_or_else(|| io::Error::other("no answer"))?;
    serde_json::from_slice(body).map_err(io::Error::other)
}

/// The address behind a host name, IPv4 before IPv6, as Go picks one.
pub fn resolve(host: &str) -> Option<IpAddr> {
    let mut addresses: Vec<IpAddr> = (host, 0).to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.first().copied()
}
