//! Proxy mode: serves the client URLs with the answers of a cluster's members, and is no member itself.
pub mod director;
pub mod forward;
mod front;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use super::bootstrap::Failure;
use super::config::{Config, ProxyMode};
use super::http::conn;
use super::listen::{self, Bound};
use super::security::Security;
use super::{discovery, ec2};
use crate::log;
use crate::raft::disk::{Disk, OsDisk, write_atomically};
use crate::sys;
use crate::tls;
use director::Director;

/// What a proxy keeps: where to ask for the members after a restart.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFile {
    #[serde(rename = "PeerURLs")]
    pub peer_urls: Vec<String>,
}

/// Is this to be a proxy? A data directory stays what it once was.
pub fn wanted(config: &Config) -> Result<bool, Failure> {
    let (member, proxy) = (
        config.data_dir.join("member").is_dir(),
        config.data_dir.join("proxy").is_dir(),
    );
    let asked = config.proxy.mode != ProxyMode::Off;
    match (member, proxy) {
        (true, true) => Err(Failure::Text(
            "invalid datadir. Both member and proxy directories exist.".into(),
        )),
        (true, false) if asked => {
            log::warning!(
                "etcdmain",
                "{} holds a member: --proxy is not heeded; use another --data-dir for a proxy",
                config.data_dir.display()
            );
            Ok(false)
        }
        (false, true) => {
            log::notice!(
                "etcdmain",
                "the server is already initialized as proxy before, starting as etcd proxy..."
            );
            Ok(true)
        }
        _ => Ok(asked),
    }
}

/// Lets clients in. Returns when it serves; it goes on until the process ends.
pub async fn start(config: &Config, security: &Security, clients: Vec<Bound>) -> Result<(), Failure> {
    let dir = config.data_dir.join("proxy");
    OsDisk
        .create_dir(&dir)
        .map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
    let file = dir.join("cluster");
    let peer_urls = match read(&file)? {
        Some(kept) => {
            log::info!(
                "proxy",
                "using peer urls {} from cluster file {}",
                kept.join(","),
                file.display()
            );
            kept
        }
        None => {
            let found = peers(config).await?;
            log::info!("proxy", "using peer urls {}", found.join(","));
            write(&file, &found)?;
            found
        }
    };
    let own = clients.iter().map(|bound| bound.address).collect();
    let director = Arc::new(Director::new(&config.proxy, own, security.peer_tls()?)?);
    tokio::spawn(director.clone().follow(peer_urls, file, config.proxy.refresh_interval));
    let readonly = config.proxy.mode == ProxyMode::Readonly;
    for bound in clients {
        let tls = security.clients.clone().filter(|_| bound.https);
        let listener = bound.listen().map_err(|error| error.to_string())?;
        let (director, cors) = (director.clone(), Arc::new(config.cors.clone()));
        let serve = listen::accept(listener, move |stream| {
            let front = front::Front {
                director: director.clone(),
                readonly,
                cors: cors.clone(),
                client: stream.peer_addr().ok(),
            };
            let tls = tls.clone();
            async move {
                match tls {
                    None => serve_client(stream, front).await,
                    Some(tls) => {
                        if let Some(stream) = tls.accept(stream).await {
                            serve_client(stream, front).await;
                        }
                    }
                }
            }
        });
        tokio::spawn(serve);
    }
    sys::notify_ready();
    Ok(())
}

async fn serve_client<S: AsyncRead + AsyncWrite + Unpin>(stream: S, front: front::Front) {
    let mut next = Some((stream, BytesMut::new()));
    while let Some((stream, buffered)) = next {
        next = match conn::serve(stream, buffered, &front).await {
            Ok(Some(taken)) => forward::run(taken).await.unwrap_or(None),
            _ => None,
        };
    }
}

/// Where the members' peer URLs are before there is a file of them.
async fn peers(config: &Config) -> Result<Vec<String>, Failure> {
    let members = if !config.discovery.url.is_empty() {
        discovery::look(config, &tls::Files::default()).await?
    } else if !config.discovery.srv.is_empty() {
        discovery::srv(config).await?
    } else if let Some(tag) = &config.discovery.ec2 {
        return ec2::look(config, tag).await;
    } else {
        config.initial_cluster.clone()
    };
    Ok(members.values().flatten().map(|url| url.as_str().to_string()).collect())
}

fn read(file: &PathBuf) -> Result<Option<Vec<String>>, Failure> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::Text(format!("cannot read {}: {error}", file.display()))),
    };
    let kept: ClusterFile = serde_json::from_slice(&bytes).map_err(|error| {
        format!(
            "cannot read {}: {error}; remove it to begin again with --initial-cluster",
            file.display()
        )
    })?;
    Ok(Some(kept.peer_urls))
}

pub fn write(file: &Path, peer_urls: &[String]) -> Result<(), String> {
    let kept = ClusterFile {
        peer_urls: peer_urls.to_vec(),
    };
    let bytes = serde_json::to_vec(&kept).unwrap_or_default();
    write_atomically(&OsDisk, file, &bytes).map_err(|error| format!("cannot write {}: {error}", file.display()))
}
