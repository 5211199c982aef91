//! Where tokens are kept: in a store of the service's own, or in an etcd.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;

use super::options::Options;
use super::routes::Handed;
use crate::client::reason;
use crate::etcd::api::{keys, refuse};
use crate::etcd::bootstrap::{self, Bootstrap, Failure};
use crate::etcd::config::{self, Outcome};
use crate::etcd::http::conn::Next;
use crate::etcd::http::{Reply, Request};
use crate::etcd::proxy::forward;
use crate::etcd::security::Security;
use crate::etcd::server::Server;
use crate::kv::Command;
use crate::log;
use crate::raft::Member;
use crate::raft::disk::{DirLock, Disk, OsDisk};
use crate::raft::peer::TcpTransport;
use crate::tls;
use crate::tls::connect::Connector;

/// Where etcd keeps them, below /v2/keys.
pub const REGISTRY: &str = "/_etcd/registry";
/// Never listened on: a store of its own has one member.
const NO_PEER: &str = "http://127.0.0.1:2380";
const ANSWER: Duration = Duration::from_secs(10);

pub enum Store {
    /// A cluster of one member without a port: everything that is acknowledged is on the disk.
    Own {
        server: Arc<Server>,
        _lock: DirLock,
    },
    Etcd {
        client: reqwest::Client,
        url: String,
    },
}

impl Store {
    pub async fn open(options: &Options) -> Result<Store, String> {
        let Some(url) = options.etcd.clone() else {
            return own(options).await;
        };
        log::info!("discovery", "tokens are kept by the etcd at {url}");
        let client = crate::client::http(&tls::Files::default())?;
        Ok(Store::Etcd { client, url })
    }

    pub async fn shutdown(&self) {
        if let Store::Own { server, .. } = self {
            server.member.shutdown().await;
        }
    }

    /// Makes a token for so many members.
    pub async fn create(&self, token: &str, size: i64) -> Result<(), String> {
        let key = format!("{REGISTRY}/{token}/_config/size");
        match self {
            Store::Own { server, .. } => {
                let command = Command::Set {
                    path: Bytes::from(format!("{}{key}", keys::PREFIX)),
                    dir: false,
                    value: Bytes::from(size.to_string()),
                    ttl: None,
                    refresh: false,
                };
                propose(server, command).await
            }
            Store::Etcd { .. } => self.ask(Method::PUT, &key, Some(format!("value={size}"))).await,
        }
    }

    pub async fn delete(&self, token: &str) -> Result<(), String> {
        let key = format!("{REGISTRY}/{token}");
        match self {
            Store::Own { server, .. } => {
                let command = Command::Delete {
                    path: Bytes::from(format!("{}{key}", keys::PREFIX)),
                    dir: true,
                    recursive: true,
                };
                propose(server, command).await
            }
            Store::Etcd { .. } => self.ask(Method::DELETE, &format!("{key}?recursive=true"), None).await,
        }
    }

    async fn ask(&self, method: Method, key: &str, form: Option<String>) -> Result<(), String> {
        let Store::Etcd { client, url } = self else {
            return Ok(());
        };
        let mut request = client.request(method, format!("{url}/v2/keys{key}")).timeout(ANSWER);
        if let Some(form) = form {
            request = request
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(form);
        }
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("the etcd at {url} answers {}", answer.status())),
            Err(error) => Err(format!("the etcd at {url} does not answer: {}", reason(&error))),
        }
    }

    /// Answers a client's request for a key of the registry as etcd would.
    pub async fn pass(&self, request: &Request<'_>, mut reply: Reply<'_>, key: &str) -> Next<Handed> {
        match self {
            Store::Own { server, .. } => match keys::handle(server, request, reply, key.as_bytes()).await {
                Next::Answered => Next::Answered,
                Next::Handed(handed) => Next::Handed(Handed::Own(handed)),
            },
            Store::Etcd { client, url } => match forwarded(client, url, request, &mut reply, key).await {
                Ok(Next::Answered) => Next::Answered,
                Ok(Next::Handed(passing)) => Next::Handed(Handed::Passing(passing)),
                Err(error) => {
                    let text = format!(
                        "the etcd that keeps the tokens does not answer: {}; try again",
                        reason(&error)
                    );
                    log::error!("discovery", "{} {}: {text} ({url})", request.method, request.target);
                    refuse(&mut reply, 502, None, &text);
                    Next::Answered
                }
            },
        }
    }
}

async fn forwarded(
    client: &reqwest::Client,
    url: &str,
    request: &Request<'_>,
    reply: &mut Reply<'_>,
    key: &str,
) -> Result<Next<forward::Passing>, reqwest::Error> {
    let query = request.split_target().1;
    let mark = if query.is_empty() { "" } else { "?" };
    let method = Method::from_bytes(request.method.as_bytes()).unwrap_or(Method::GET);
    let response = client
        .request(method, format!("{url}/v2/keys{key}{mark}{query}"))
        .headers(forward::headers(request))
        .body(request.body_bytes().to_vec())
        .send()
        .await?;
    forward::begin(request, reply, response).await
}

async fn propose(server: &Server, command: Command) -> Result<(), String> {
    match server.member.propose(command).await {
        Ok(outcome) => outcome.result.map(|_| ()).map_err(|error| error.to_string()),
        Err(error) => Err(format!("{error:?}")),
    }
}

async fn own(options: &Options) -> Result<Store, String> {
    let dir = options.data_dir.display().to_string();
    log::info!("discovery", "tokens are kept in {dir}");
    let args = [
        "--name=discovery",
        &format!("--data-dir={dir}"),
        &format!("--initial-cluster=discovery={NO_PEER}"),
        &format!("--initial-advertise-peer-urls={NO_PEER}"),
    ];
    let config = match config::parse(&args.map(str::to_string), &[]) {
        Outcome::Run(config, _) => *config,
        Outcome::Exit { stderr, .. } => return Err(format!("cannot keep tokens in {dir}: {stderr}")),
    };
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let Bootstrap {
        opened,
        options,
        first_members,
        lock,
        ..
    } = bootstrap::bootstrap(&config, &Security::new(&config)?, &[], &disk)
        .await
        .map_err(|failure| match failure {
            Failure::Text(text) => format!("cannot keep tokens in {dir}: {text}"),
            other => format!("cannot keep tokens in {dir}: {other:?}"),
        })?;
    let meta = opened.meta();
    let transport = Arc::new(TcpTransport::new(
        meta.member_id,
        meta.cluster_id,
        Connector::new(tls::Files::default()),
        |_, _| (),
    ));
    let text = |error: std::io::Error| error.to_string();
    let member = Member::start(opened, options, disk, transport).await.map_err(text)?;
    if let Some(members) = first_members {
        member.initialize(members).await.map_err(text)?;
    }
    let server = Arc::new(Server::new(config, member, meta.cluster_id));
    tokio::spawn(server.clone().follow_leadership());
    // Once this is through, there is a leader.
    server.publish().await;
    Ok(Store::Own { server, _lock: lock })
}
