//! Connecting: the way there, the host's key, and who we are, in this order.
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{AuthResult, ChannelOpenHandle, Handle, Handler, Msg, Session};
use russh::keys::agent::AgentIdentity;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg, PublicKeyBase64, PublicKeyOrCertificate};
use russh::{Channel, Preferred, client};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::agent::{self, Agent};
use super::known_hosts::{self, HostKey, KnownHosts, Verdict};
use super::proxy::{Link, Proxy};
use super::{Error, console};
use crate::cloudconfig::go::errno;
use crate::sys::print;

/// What becomes of a host that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checking {
    Ask,
    Refuse,
    /// Any key will do, and none is kept.
    Off,
}

/// A host, and everything that is needed to log in there.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub known_hosts: PathBuf,
    pub checking: Checking,
    pub agent: Option<PathBuf>,
    pub identities: Vec<PathBuf>,
    /// The agent's keys are not tried.
    pub identities_only: bool,
    pub proxy: Option<Proxy>,
    /// For getting there, and again for being let in.
    pub timeout: Duration,
    /// The agent is lent to the host.
    pub forward_agent: bool,
    /// Told of lines of known_hosts that are skipped.
    pub warn: fn(&str),
}

pub struct Connection {
    pub(super) handle: Handle<Client>,
    pub(super) forward_agent: bool,
}

/// What russh asks us while it runs a connection.
pub struct Client {
    /// The key that the host has shown. It is judged before anything of the user's is sent, not while russh waits: a
    /// person who reads a fingerprint needs longer than a connection may take.
    shown: Arc<Mutex<Option<HostKey>>>,
    agent: Option<PathBuf>,
}

impl Handler for Client {
    type Error = Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Ok(false);
        };
        let algorithm = match key.algorithm() {
            // How it signs is not what it is.
            Algorithm::Rsa { .. } => "ssh-rsa".to_string(),
            other => other.as_str().to_string(),
        };
        let blob = key.public_key_bytes();
        let key = HostKey { algorithm, blob };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // Keys are exchanged again in a long connection: it has to stay the host that was judged.
        Ok(*shown.get_or_insert_with(|| key.clone()) == key)
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        if let Some(socket) = &self.agent {
            agent::lend(socket, channel, reply).await;
        }
        Ok(())
    }
}

/// Connects to a host and logs in.
pub async fn connect(target: &Target) -> Result<Connection, Error> {
    let credentials = Credentials::get(target).await?;
    let (link, host) = within(target.timeout, dial(target)).await?;
    log_in(target, &host, link, credentials).await
}

/// Logs in at a host that is reached already.
pub async fn connect_over<S>(target: &Target, stream: S) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let credentials = Credentials::get(target).await?;
    log_in(target, &target.host, stream, credentials).await
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || Error("timed out while initiating SSH connection".into());
    timeout(limit, Box::pin(work)).await.unwrap_or_else(|_| Err(late()))
}

/// The connection, and the host's name in known_hosts: the address that was dialled, or what a proxy was told.
async fn dial(target: &Target) -> Result<(Link, String), Error> {
    if let Some(proxy) = &target.proxy {
        let link = proxy.connect().await.map_err(|error| Error(errno(&error)))?;
        return Ok((link, target.host.clone()));
    }
    let place = match target.host.contains(':') {
        true => format!("[{}]:{}", target.host, target.port),
        false => format!("{}:{}", target.host, target.port),
    };
    let named = || tokio::net::lookup_host((target.host.as_str(), target.port));
    let addresses = named()
        .await
        .map_err(|_| Error(format!("dial tcp: lookup {}: no such host", target.host)))?;
    let mut failed = Error(format!("dial tcp {place}: no such host"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Keys that are typed go out one by one.
                let _ = stream.set_nodelay(true);
                return Ok((Link::Tcp(stream), address.ip().to_string()));
            }
            Err(error) => failed = Error(format!("dial tcp {address}: connect: {}", errno(&error))),
        }
    }
    Err(failed)
}

async fn log_in<S>(target: &Target, host: &str, stream: S, credentials: Credentials) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let name = known_hosts::name(host, target.port);
    let known = match target.checking {
        Checking::Off => KnownHosts::default(),
        _ => read_known(target),
    };
    let shown = Arc::default();
    let handler = Client {
        shown: Arc::clone(&shown),
        agent: target.agent.clone().filter(|_| target.forward_agent),
    };
    let preferred = Preferred {
        key: algorithms(&known.algorithms(&name)).into(),
        ..Default::default()
    };
    let config = client::Config {
        preferred,
        ..Default::default()
    };
    let handshake = async {
        let handle = client::connect_stream(Arc::new(config), stream, handler).await;
        handle.map_err(|error| Error(format!("ssh: handshake failed: {error}")))
    };
    let mut handle = within(target.timeout, handshake).await?;
    let key = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let key = key.ok_or_else(|| Error("ssh: handshake failed: the host has shown no key".into()))?;
    if target.checking != Checking::Off {
        judge(target, &known, &name, &key).await?;
    }
    within(target.timeout, credentials.present(&mut handle, &target.user)).await?;
    Ok(Connection {
        handle,
        forward_agent: target.forward_agent,
    })
}

fn read_known(target: &Target) -> KnownHosts {
    let file = &target.known_hosts;
    // Bytes that are no text spoil their own lines only.
    let text = match fs::read(file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        // A file that is not there knows nobody; nor does a directory.
        Err(_) => return KnownHosts::default(),
    };
    let known = KnownHosts::parse(&text);
    for (line, why) in &known.skipped {
        (target.warn)(&format!("{}:{line} - {why}", file.display()));
    }
    known
}

/// The kinds of key that the host may show, those first that are known of it.
fn algorithms(known: &[&str]) -> Vec<Algorithm> {
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let rsa = |hash| Algorithm::Rsa { hash };
    let mut all = vec![
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        Algorithm::Ed25519,
        rsa(Some(HashAlg::Sha512)),
        rsa(Some(HashAlg::Sha256)),
        rsa(None),
    ];
    let is_known = |algorithm: &Algorithm| match algorithm {
        Algorithm::Rsa { .. } => known.contains(&"ssh-rsa"),
        other => known.contains(&other.as_str()),
    };
    all.sort_by_key(|algorithm| !is_known(algorithm));
    all
}

async fn judge(target: &Target, known: &KnownHosts, name: &str, key: &HostKey) -> Result<(), Error> {
    let file = target.known_hosts.display().to_string();
    match known.check(name, key) {
        Verdict::Known => return Ok(()),
        Verdict::Changed => {
            print("", &known_hosts::changed(key, &file));
            return Err(Error("ssh: handshake failed: host key mismatch".into()));
        }
        Verdict::Unknown => {}
    }
    let trusted = target.checking == Checking::Ask && {
        print("", &known_hosts::question(name, key));
        let answer = console::input().await.line().await.trim().to_ascii_lowercase();
        answer == "yes" || answer == "y"
    };
    if !trusted {
        print("", "Host key verification failed.\n");
        return Err(Error("ssh: handshake failed: unauthorized host".into()));
    }
    let said = match remember(&target.known_hosts, &known_hosts::line(name, key)) {
        Ok(()) => format!(
            "Warning: Permanently added '{name}' ({}) to the list of known hosts.\n",
            key.kind()
        ),
        Err(_) => format!("Failed to add the host to the list of known hosts ({file}).\n"),
    };
    print("", &said);
    Ok(())
}

fn remember(file: &Path, line: &str) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let whole = fs::read(file).map_or(true, |text| text.is_empty() || text.ends_with(b"\n"));
    let mut options = fs::File::options();
    let mut out = options.append(true).create(true).mode(0o644).open(file)?;
    // A last line without an end stays a line of its own.
    let begin = if whole { "" } else { "\n" };
    out.write_all(format!("{begin}{line}").as_bytes())
}

/// What can be shown to a host.
struct Credentials {
    agent: Option<Agent>,
    identities: Vec<PathBuf>,
}

impl Credentials {
    /// Looked for before the host is: without any there is nothing to connect for.
    async fn get(target: &Target) -> Result<Credentials, Error> {
        let identities = target.identities.clone();
        let missing = || Error(agent::MISSING.into());
        if target.forward_agent && target.agent.is_none() {
            return Err(missing());
        }
        let agent = match &target.agent {
            Some(_) if target.identities_only && !identities.is_empty() => None,
            Some(socket) => match Agent::open(socket).await {
                Ok(agent) => Some(agent),
                Err(_) if !identities.is_empty() => None,
                Err(error) => return Err(error),
            },
            None if identities.is_empty() => return Err(missing()),
            None => None,
        };
        Ok(Credentials { agent, identities })
    }

    async fn present(self, handle: &mut Handle<Client>, user: &str) -> Result<(), Error> {
        let mut problems = String::new();
        if let Some(Agent { mut client, identities }) = self.agent {
            for identity in identities {
                let result = match identity {
                    AgentIdentity::PublicKey { key, .. } => {
                        let hash = hash(handle, &key.algorithm()).await?;
                        handle.authenticate_publickey_with(user, key, hash, &mut client).await
                    }
                    AgentIdentity::Certificate { certificate, .. } => {
                        let hash = hash(handle, &certificate.algorithm()).await?;
                        let shown = handle.authenticate_certificate_with(user, certificate, hash, &mut client);
                        shown.await
                    }
                };
                match result {
                    Ok(AuthResult::Success) => return Ok(()),
                    Ok(AuthResult::Failure { .. }) => {}
                    Err(error) => problems += &format!("; agent: {error}"),
                }
            }
        }
        for file in &self.identities {
            match russh::keys::load_secret_key(file, None) {
                Ok(key) => {
                    let hash = hash(handle, &key.algorithm()).await?;
                    let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
                    match handle.authenticate_publickey(user, key).await {
                        Ok(AuthResult::Success) => return Ok(()),
                        Ok(AuthResult::Failure { .. }) => {}
                        // A host may have enough of us.
                        Err(error) => problems += &format!("; identity {}: {error}", file.display()),
                    }
                }
                Err(russh::keys::Error::KeyIsEncrypted) => {
                    problems += &format!(
                        "; identity {}: it has a passphrase: `ssh-add` it to an ssh-agent",
                        file.display()
                    );
                }
                Err(error) => problems += &format!("; identity {}: {error}", file.display()),
            }
        }
        Err(Error(format!(
            "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey], no supported methods \
             remain{problems}"
        )))
    }
}

/// How an RSA key signs here; other keys have one way.
async fn hash(handle: &Handle<Client>, algorithm: &Algorithm) -> Result<Option<HashAlg>, Error> {
    match algorithm {
        Algorithm::Rsa { .. } => Ok(handle.best_supported_rsa_hash().await?.flatten()),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_kinds_of_keys_come_first_and_none_is_lost() {
        let names = |known: &[&str]| -> Vec<String> {
            let all = algorithms(known);
            all.iter().map(|algorithm| algorithm.to_string()).collect()
        };
        let rest = names(&[]);
        assert_eq!(rest[0], "ecdsa-sha2-nistp256");
        assert_eq!(names(&["ssh-rsa"])[..3], ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]);
        assert_eq!(names(&["ssh-ed25519"])[0], "ssh-ed25519");
        assert_eq!(names(&["ssh-rsa"]).len(), rest.len());
    }

    #[test]
    fn what_is_remembered_is_in_a_file_of_the_users() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(".fleetctl/known_hosts");
        remember(&file, "a ssh-rsa AAAA\n").expect("write");
        fs::write(&file, "a ssh-rsa AAAA").expect("cut the end off");
        remember(&file, "b ssh-rsa AAAA\n").expect("write");
        assert_eq!(
            fs::read_to_string(&file).expect("read"),
            "a ssh-rsa AAAA\nb ssh-rsa AAAA\n"
        );
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!((mode(file.parent().expect("a directory")), mode(&file)), (0o700, 0o644));
    }
}
