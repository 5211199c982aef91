//! From a configuration to a member's disk: the one that is there, or the first of a new cluster.
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::config::{ClusterState, Config, Members};
use super::listen::Bound;
use super::remote::Remote;
use super::security::Security;
use super::urls::Url;
use super::{discovery, ec2, ids, join};
use crate::log::{self, LogLine};
use crate::raft::disk::{DirLock, Disk};
use crate::raft::member::{self, Opened};
use crate::raft::types::Peer;
use crate::raft::wal::{Meta, OpenError};
use crate::raft::{Options, backup};
use crate::tls;

/// Entries that etcd keeps behind a snapshot for members that lag.
const CATCH_UP_ENTRIES: u64 = 5000;

pub struct Bootstrap {
    pub opened: Opened,
    pub options: Options,
    /// The members of a cluster that begins now.
    pub first_members: Option<BTreeMap<u64, Peer>>,
    pub lock: DirLock,
    /// As it is called in the cluster.
    pub name: String,
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

/// `peers`: where a member that waits for others may be asked.
pub async fn bootstrap(
    config: &Config,
    security: &Security,
    peers: &[Bound],
    disk: &Arc<dyn Disk>,
) -> Result<Bootstrap, Failure> {
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
        let opened = match config.force_new_cluster {
            true => {
                let peer = Peer {
                    peer_urls: texts(&config.initial_advertise_peer_urls),
                };
                backup::go_alone(opened, &options, disk, peer)
                    .map_err(|error| cannot("force a new cluster with", data_dir, error))?
            }
            false => opened,
        };
        return Ok(Bootstrap {
            opened,
            options,
            first_members: None,
            lock,
            name: match config.discovery.ec2 {
                Some(_) => ec2::name(config),
                None => config.name.clone(),
            },
        });
    }
    let mut name = config.name.clone();
    let begun = match (&config.discovery.ec2, config.initial_cluster_state) {
        (Some(tag), _) => ec2::begin(config, tag, security, peers).await.map(|begun| {
            name = begun.name;
            (begun.meta, begun.first)
        }),
        (None, ClusterState::New) => new_cluster(config, security)
            .await
            .map(|(meta, members)| (meta, Some(members))),
        (None, ClusterState::Existing) => join::join(config, &Remote::new(security.peer_client()?))
            .await
            .map(|meta| (meta, None)),
    };
    let (meta, first_members) = match begun {
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
        first_members,
        lock,
        name,
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
        salvage: config.force_new_cluster,
    }
}

pub(super) fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(|url| url.as_str().to_string()).collect()
}

/// Computes who is who in a cluster that begins: as `--initial-cluster` describes it, or as discovery finds it.
async fn new_cluster(config: &Config, security: &Security) -> Result<(Meta, BTreeMap<u64, Peer>), Failure> {
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
        let peer_urls = texts(urls);
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
    if members.len() > 1 {
        let remote = Remote::new(security.peer_client()?);
        let others = members.iter().filter(|(id, _)| **id != own);
        let asked = futures_util::future::join_all(others.map(|(_, peer)| is_bootstrapped(&remote, peer, own))).await;
        if asked.contains(&true) {
            return Err(format!("member {} has already been bootstrapped", ids::hex(own)).into());
        }
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
async fn is_bootstrapped(remote: &Remote, peer: &Peer, own: u64) -> bool {
    let urls: Vec<&str> = peer.peer_urls.iter().map(String::as_str).collect();
    match remote.members(&urls).await {
        Ok(known) => known.members.iter().any(|member| member.id == own && member.has_run()),
        Err(_) => false,
    }
}

/// The address behind a host name, IPv4 before IPv6, as Go picks one.
pub fn resolve(host: &str) -> Option<IpAddr> {
    let mut addresses: Vec<IpAddr> = (host, 0).to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.first().copied()
}
