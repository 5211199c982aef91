//! --initial-cluster: its form, and whether it agrees with the other flags. A member with a data directory does not ask.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::table::{DEFAULT_INITIAL_CLUSTER, DEFAULT_NAME, DEFAULT_PEER_URLS};
use super::{ClusterState, Config};
use crate::etcd::urls::{self, Url};
use crate::log::{Level, LogLine};

/// Peer URLs by member name.
pub type Members = BTreeMap<String, Vec<Url>>;

pub fn default_for(name: &str) -> String {
    let name = if name.is_empty() { DEFAULT_NAME } else { name };
    DEFAULT_INITIAL_CLUSTER.replace("default=", &format!("{name}="))
}

/// `NAME=URL,NAME=URL`; a name that comes twice has two URLs.
pub fn parse(text: &str) -> Result<Members, String> {
    let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in text.split(',').filter(|e| !e.is_empty()) {
        let (name, url) = entry.split_once('=').unwrap_or((entry, ""));
        lists.entry(name).or_default().push(url);
    }
    lists
        .into_iter()
        .map(|(name, list)| Ok((name.to_string(), urls::sorted(list.into_iter())?)))
        .collect()
}

impl Config {
    /// For a start without a data directory: own name and URLs must be in --initial-cluster, and no URL twice. The lines are
    /// for the log, and the exit code is 1. A member that joins has told its URLs to the cluster already: they are not compared.
    /// `resolve` gives a host's first address: `localhost` and `127.0.0.1` agree.
    pub fn verify_bootstrap(&self, resolve: &dyn Fn(&str) -> Option<IpAddr>) -> Result<(), Vec<LogLine>> {
        let critical = |text: String| vec![LogLine::new(Level::Critical, "etcdmain", text)];
        let Some(own) = self.initial_cluster.get(&self.name) else {
            return Err(critical(format!(
                "couldn't find local name {:?} in the initial cluster configuration",
                self.name
            )));
        };
        let new = self.initial_cluster_state == ClusterState::New;
        if new && !same(own, &self.initial_advertise_peer_urls, resolve) {
            return Err(self.hints());
        }
        let mut seen = BTreeSet::new();
        if !self
            .initial_cluster
            .values()
            .flatten()
            .all(|url| seen.insert(url.as_str()))
        {
            return Err(critical(format!(
                "initial cluster {} has duplicate url",
                show(&self.initial_cluster)
            )));
        }
        Ok(())
    }

    fn hints(&self) -> Vec<LogLine> {
        let advertised = urls::join(&self.initial_advertise_peer_urls);
        let own = Members::from([(self.name.clone(), self.initial_advertise_peer_urls.clone())]);
        let cluster_is_default = self.initial_cluster_text == default_for(&self.name);
        let mut texts = vec![format!(
            "--initial-cluster must include {} given --initial-advertise-peer-urls={advertised}",
            show(&own)
        )];
        if cluster_is_default {
            texts.push("forgot to set --initial-cluster flag?".into());
        }
        if advertised == DEFAULT_PEER_URLS {
            texts.push("forgot to set --initial-advertise-peer-urls flag?".into());
        }
        if cluster_is_default {
            texts.push("if you want to use discovery service, please set --discovery flag.".into());
        }
        texts
            .into_iter()
            .map(|text| LogLine::new(Level::Info, "etcdmain", text))
            .collect()
    }
}

/// The same URLs, or the same addresses behind them.
pub fn same(a: &[Url], b: &[Url], resolve: &dyn Fn(&str) -> Option<IpAddr>) -> bool {
    let texts = |list: &[Url]| list.iter().map(|url| url.as_str().to_string()).collect::<BTreeSet<_>>();
    if a.len() == b.len() && texts(a) == texts(b) {
        return true;
    }
    let resolved = |list: &[Url]| {
        let one = |url: &Url| resolve(&url.host).map(|ip| (url.scheme, ip, url.port));
        let mut all = list.iter().map(one).collect::<Option<Vec<_>>>()?;
        all.sort_unstable();
        Some(all)
    };
    a.len() == b.len() && resolved(a).is_some_and(|a| Some(a) == resolved(b))
}

fn show(members: &Members) -> String {
    let each = members
        .iter()
        .flat_map(|(name, list)| list.iter().map(move |url| format!("{name}={url}")));
    each.collect::<Vec<_>>().join(",")
}
