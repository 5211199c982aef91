//! Members that find each other by a tag of their instances (`--discovery-ec2`).
//!
//! EC2 says which instances carry the tag, and not to all of them the same at the same time. So the instances ask each
//! other as well: one without data answers `GET /members` at its peer URL with what it waits for (`waiting`), one that
//! runs with the cluster's members. Each looks, asks, decides (`decide`), and looks again:
//!
//! 1. Where one runs, its cluster is joined. Nothing else is begun then.
//! 2. A cluster that has this member declared and unstarted is started in: it is one of those the cluster began with,
//!    or was added before. A member at our URL that has run is of an instance that was here before, or its data is lost:
//!    it is removed, and this one added under a new id.
//! 3. A cluster begins when at least `min` instances are there, each of them answers, and all have told the same list of
//!    all of them. An instance that does not answer may hold the data of a cluster: nobody begins without it.
//!
//! Why instances that see different lists end in one cluster: a list is only begun with after each one on it has told
//! it, and whoever has seen an instance has it on every later list. So once a list is begun with, no other one can be:
//! it would have to be told by one of those that begin. Who has meanwhile seen more finds the cluster running and, being
//! on its list, follows by 2; who is not on it joins by 1. (`decide/tests.rs` tries it in all disorder.) What is left
//! is two lists without a common instance, when EC2 shows each half of the instances to that half only: those would be
//! two clusters, which the next one to look says and leaves alone.
//!
//! A member is removed for being gone only if no instance with the tag has its address, running or stopped, it does not
//! answer, and those that stay can go on without it: the cluster itself refuses otherwise (`clean`). One that has been
//! declared and never started has ten minutes to come.
pub mod answer;
mod api;
mod change;
pub mod clean;
mod credentials;
mod decide;
mod metadata;
mod sigv4;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use super::bootstrap::{Failure, resolve, texts};
use super::config::{ClusterState, Config, DEFAULT_NAME, Ec2};
use super::ids;
use super::listen::Bound;
use super::remote::Remote;
use super::security::Security;
use super::urls;
use crate::log;
use crate::raft::disk::{OsDisk, write_atomically};
use crate::raft::types::Peer;
use crate::raft::wal::Meta;
use answer::Instance;
use api::{Api, Failed};
use credentials::Environment;
use decide::{Founders, Other, Said, Step, View, Waiting};

/// Between two looks. A cluster begins two looks after its last instance is up.
const LOOK: Duration = Duration::from_secs(2);
/// While EC2 does not answer, waits double up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// The file in the data directory with the name of a member that is called like its instance: a restart needs no EC2.
const NAME: &str = "ec2-instance";

/// A member to be made.
pub struct Begun {
    pub meta: Meta,
    /// Those that the cluster begins with, if it does.
    pub first: Option<BTreeMap<u64, Peer>>,
    pub name: String,
}

/// Finds a member's place; returns when it has one.
pub async fn begin(config: &Config, tag: &Ec2, security: &Security, peers: &[Bound]) -> Result<Begun, Failure> {
    let api = Api::new(config, tag, Environment::of_process()).await?;
    let own = Waiting {
        peer_urls: texts(&config.initial_advertise_peer_urls),
        ..Waiting::default()
    };
    let told = waiting::Answers::start(peers, security.peers.clone(), own)?;
    let mut finder = Finder {
        instance_id: api.metadata.instance_id().await,
        config,
        tag,
        api,
        remote: Remote::new(security.peer_client()?),
        told,
        logged: String::new(),
    };
    log::info!("discovery", "looking for instances with the tag {tag}");
    let begun = finder.begin(security).await?;
    if begun.name != config.name {
        let path = config.data_dir.join(NAME);
        write_atomically(&OsDisk, &path, begun.name.as_bytes())
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(begun)
}

/// What a member with data is called.
pub fn name(config: &Config) -> String {
    if config.name != DEFAULT_NAME {
        return config.name.clone();
    }
    let kept = std::fs::read_to_string(config.data_dir.join(NAME)).ok();
    let kept = kept.filter(|name| !name.is_empty());
    kept.unwrap_or_else(|| config.name.clone())
}

/// The peer URLs of the instances with the tag, for who is no member itself.
pub async fn look(config: &Config, tag: &Ec2) -> Result<Vec<String>, Failure> {
    let api = Api::new(config, tag, Environment::of_process()).await?;
    let mut logged = String::new();
    loop {
        let instances = list(&api, &mut logged).await?;
        let running = instances.iter().filter(|instance| decide::runs(instance));
        let like = &config.initial_advertise_peer_urls[0];
        let urls: Vec<String> = running
            .filter_map(|instance| decide::peer_url(instance, like))
            .collect();
        if !urls.is_empty() {
            return Ok(urls);
        }
        tell(&mut logged, &format!("no instance with the tag {tag} runs"));
        tokio::time::sleep(LOOK).await;
    }
}

/// The instances, once EC2 answers.
async fn list(api: &Api, logged: &mut String) -> Result<Vec<Instance>, Failure> {
    let mut wait = LOOK;
    loop {
        match api.instances().await {
            Ok(instances) => return Ok(instances),
            Err(Failed::Never(why)) => return Err(Failure::Text(format!("discovery: {why}"))),
            Err(Failed::Later(why)) => {
                logged.clear();
                log::error!("discovery", "{why}; retrying in {wait:?}");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

/// Says what is being waited for, when it is something else than before.
fn tell(logged: &mut String, why: &str) {
    if logged != why {
        log::notice!("discovery", "waiting: {why}");
        *logged = why.to_string();
    }
}

struct Finder<'a> {
    config: &'a Config,
    tag: &'a Ec2,
    api: Api,
    remote: Remote,
    told: waiting::Answers,
    /// As the metadata service has it.
    instance_id: Option<String>,
    /// What was last waited for.
    logged: String,
}

impl Finder<'_> {
    async fn begin(&mut self, security: &Security) -> Result<Begun, Failure> {
        let advertised = &self.config.initial_advertise_peer_urls;
        loop {
            let instances = list(&self.api, &mut self.logged).await?;
            let Some(own) = decide::own(&instances, self.instance_id.as_deref(), advertised, &resolve) else {
                let why = self.who_am_i(&instances);
                tell(&mut self.logged, &why);
                self.told.tell(|told| told.founders.clear());
                tokio::time::sleep(LOOK).await;
                continue;
            };
            self.check(own)?;
            let name = match self.config.name.as_str() {
                DEFAULT_NAME => own.id.clone(),
                given => given.to_string(),
            };
            if self.told.told().name.is_empty() {
                log::info!(
                    "discovery",
                    "this is the instance {}; its member is called {name}",
                    own.id
                );
                self.told.tell(|told| told.name = name.clone());
            }
            let others = self.ask(&instances, own).await;
            let told = self.told.told();
            let view = View {
                own: &told,
                others: &others,
                min: self.tag.min,
                may_found: self.config.initial_cluster_state == ClusterState::New,
            };
            match decide::decide(&view, &resolve) {
                Step::Wait { why, founders } => {
                    tell(&mut self.logged, &why);
                    self.told.tell(|told| told.founders = founders);
                }
                Step::Found(founders) => return Ok(self.found(&founders, name)),
                Step::Be { member, cluster, first } => {
                    let member_id = member;
                    log::info!(
                        "discovery",
                        "member {member_id:x} of the cluster {cluster:x} is this one"
                    );
                    let peers = |first: BTreeMap<u64, Vec<String>>| {
                        let peer = |(id, peer_urls)| (id, Peer { peer_urls });
                        first.into_iter().map(peer).collect()
                    };
                    return Ok(Begun {
                        meta: Meta {
                            member_id,
                            cluster_id: cluster,
                        },
                        first: first.map(peers),
                        name,
                    });
                }
                Step::Join { known, replace } => {
                    self.told.tell(|told| told.founders.clear());
                    let mut gone = decide::gone(&known.members, advertised, &instances, &resolve);
                    // The others are for `clean`, which has time.
                    gone.retain(|member| member.has_run());
                    let mut remove = replace;
                    for member in clean::silent(&self.remote, gone).await {
                        remove.push(member.id);
                    }
                    let http = security.member_client()?;
                    if let Err(why) = change::join(&http, &known, &remove, &told.peer_urls).await {
                        tell(&mut self.logged, &why);
                    } else {
                        // At once: the next look finds this member declared.
                        continue;
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn found(&self, founders: &Founders, name: String) -> Begun {
        let each = founders.iter().map(|(name, urls)| format!("{name}={}", urls.join(",")));
        let each: Vec<String> = each.collect();
        log::notice!("discovery", "found all {} members: {}", each.len(), each.join(","));
        let token = &self.config.initial_cluster_token;
        let id = |urls: &[String]| ids::member_id(urls, token, None);
        let first: BTreeMap<u64, Peer> = founders
            .values()
            .map(|urls| {
                (
                    id(urls),
                    Peer {
                        peer_urls: urls.clone(),
                    },
                )
            })
            .collect();
        let all: Vec<u64> = first.keys().copied().collect();
        Begun {
            meta: Meta {
                member_id: id(&texts(&self.config.initial_advertise_peer_urls)),
                cluster_id: ids::cluster_id(&all),
            },
            first: Some(first),
            name,
        }
    }

    /// The others look for us where EC2 says we are.
    fn check(&self, own: &Instance) -> Result<(), Failure> {
        let advertised = &self.config.initial_advertise_peer_urls;
        if decide::advertises(own, advertised, &resolve) {
            return Ok(());
        }
        let (id, advertised) = (&own.id, urls::join(advertised));
        let tag = answer::PEER_URL_TAG;
        Err(Failure::Text(
            match decide::peer_url(own, &self.config.initial_advertise_peer_urls[0]) {
                Some(url) => format!(
                    "discovery: this is the instance {id}, and others look for its member at {url}, but --initial-advertise-peer-urls is {advertised}: advertise {url}, or give the instance the tag {tag} with the URL advertised"
                ),
                None => format!(
                    "discovery: the instance {id} has no private address, or a tag {tag} that is no URL: give it that tag with the value {advertised}"
                ),
            },
        ))
    }

    fn who_am_i(&self, instances: &[Instance]) -> String {
        let listed = instances.iter().map(|instance| match &instance.address {
            Some(address) => format!("{} at {address}", instance.id),
            None => instance.id.clone(),
        });
        let listed: Vec<String> = listed.collect();
        let who = match &self.instance_id {
            Some(id) => format!("this instance, {id},"),
            None => format!(
                "the instance at {} (--initial-advertise-peer-urls)",
                urls::join(&self.config.initial_advertise_peer_urls)
            ),
        };
        let listed = match listed.is_empty() {
            true => "no instance has".to_string(),
            false => format!("these have: {}", listed.join(", ")),
        };
        format!("{who} does not carry the tag {}; {listed}", self.tag)
    }

    /// What each of the others says.
    async fn ask(&self, instances: &[Instance], own: &Instance) -> Vec<Other> {
        let others = instances
            .iter()
            .filter(|other| other.id != own.id && decide::runs(other));
        let ask = |other: &Instance| {
            let url = decide::peer_url(other, &self.config.initial_advertise_peer_urls[0]);
            let id = other.id.clone();
            async move {
                let said = match &url {
                    Some(url) => waiting::ask(&self.remote, url).await,
                    None => Said::Nothing(format!(
                        "it has no private address: give it the tag {}",
                        answer::PEER_URL_TAG
                    )),
                };
                let url = url.unwrap_or_else(|| "no address".into());
                Other { id, url, said }
            }
        };
        futures_util::future::join_all(others.map(ask)).await
    }
}
