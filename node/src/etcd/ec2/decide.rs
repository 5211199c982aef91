//! What a member without data does next, from what EC2 and the other instances say. Pure; `super` says why it is so.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::answer::{Instance, PEER_URL_TAG, State};
use crate::etcd::cluster::MemberInfo;
use crate::etcd::config::same;
use crate::etcd::ids;
use crate::etcd::remote::Known;
use crate::etcd::urls::Url;

/// Peer URLs by name: the members that a cluster is to begin with.
pub type Founders = BTreeMap<String, Vec<String>>;

/// What a member that waits tells whoever asks at its peer URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub name: String,
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// Empty while it does not know all of them.
    pub founders: Founders,
}

/// What an instance answers at its peer URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// And why.
    Nothing(String),
    Waits(Waiting),
    Runs(Known),
}

/// Another instance, and what it says.
#[derive(Clone, Debug)]
pub struct Other {
    pub id: String,
    pub url: String,
    pub said: Said,
}

pub struct View<'a> {
    /// What we have told the others so far.
    pub own: &'a Waiting,
    pub others: &'a [Other],
    pub min: usize,
    /// May we begin a cluster, or only join one?
    pub may_found: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Tell the others this list, and look again.
    Wait { why: String, founders: Founders },
    /// All have told the same list: begin.
    Found(Founders),
    /// A cluster has this member declared. `first`: the members it began with, if they are the same still.
    Be {
        member: u64,
        cluster: u64,
        first: Option<BTreeMap<u64, Vec<String>>>,
    },
    /// A cluster runs that does not have it: have these removed, which are this member's own from before, and be added.
    Join { known: Known, replace: Vec<u64> },
}

pub fn decide(view: &View<'_>, resolve: &dyn Fn(&str) -> Option<IpAddr>) -> Step {
    let wait = |why: String| Step::Wait {
        why,
        founders: Founders::new(),
    };
    let running: Vec<(&Other, &Known)> = view
        .others
        .iter()
        .filter_map(|other| match &other.said {
            Said::Runs(known) => Some((other, known)),
            _ => None,
        })
        .collect();
    let clusters: BTreeSet<u64> = running.iter().map(|(_, known)| known.cluster_id).collect();
    if clusters.len() > 1 {
        let each = running
            .iter()
            .map(|(other, known)| format!("{} is of {:x}", other.id, known.cluster_id));
        return wait(format!(
            "the instances with the tag are of several clusters ({}): give each cluster a tag of its own",
            each.collect::<Vec<_>>().join(", ")
        ));
    }
    // One that has just joined knows nobody yet; of the others, the one that knows most is not behind.
    if let Some((_, known)) = running.iter().max_by_key(|(_, known)| known.members.len()) {
        return join(view.own, known, resolve);
    }
    found(view)
}

fn join(own: &Waiting, known: &Known, resolve: &dyn Fn(&str) -> Option<IpAddr>) -> Step {
    if known.members.is_empty() {
        return Step::Wait {
            why: "a member is joining its cluster and does not know the others yet".into(),
            founders: Founders::new(),
        };
    }
    let mine: Vec<&MemberInfo> = known
        .members
        .iter()
        .filter(|member| at_same_urls(&own.peer_urls, &member.peer_urls, resolve))
        .collect();
    match mine[..] {
        [mine] if !mine.has_run() => {
            let ids: Vec<u64> = known.members.iter().map(|member| member.id).collect();
            let first = || known.members.iter().map(|member| (member.id, member.peer_urls.clone()));
            Step::Be {
                member: mine.id,
                cluster: known.cluster_id,
                first: (ids::cluster_id(&ids) == known.cluster_id).then(|| first().collect()),
            }
        }
        _ => Step::Join {
            known: known.clone(),
            replace: mine.iter().map(|member| member.id).collect(),
        },
    }
}

fn found(view: &View<'_>) -> Step {
    let mut founders = Founders::from([(view.own.name.clone(), view.own.peer_urls.clone())]);
    let wait = |why, founders| Step::Wait { why, founders };
    let mut silent = Vec::new();
    for other in view.others {
        match &other.said {
            Said::Waits(waiting) => {
                let twice = founders.insert(waiting.name.clone(), waiting.peer_urls.clone());
                if twice.is_some() {
                    let why = format!(
                        "{} and another instance both have the name {:?}: give each its own --name, or none",
                        other.id, waiting.name
                    );
                    return wait(why, Founders::new());
                }
            }
            Said::Nothing(why) => silent.push(format!("{} at {} ({why})", other.id, other.url)),
            Said::Runs(_) => {}
        }
    }
    let there = view.others.len() + 1;
    if there < view.min {
        let why = format!("{there} of {} instances are there", view.min);
        return wait(why, Founders::new());
    }
    if !silent.is_empty() {
        let why = format!(
            "no answer from {}: each instance with the tag may have the cluster's data; start etcd there, or terminate it or take its tag",
            silent.join(", ")
        );
        return wait(why, Founders::new());
    }
    if !view.may_found {
        let why =
            "no cluster runs on the instances with the tag, and with --initial-cluster-state existing none is begun";
        return wait(why.into(), Founders::new());
    }
    let urls: BTreeSet<&String> = founders.values().flatten().collect();
    if urls.len() < founders.values().map(Vec::len).sum() {
        let why = "two instances advertise the same peer URL: see --initial-advertise-peer-urls of each".to_string();
        return wait(why, Founders::new());
    }
    let agree = |other: &Other| matches!(&other.said, Said::Waits(waiting) if waiting.founders == founders);
    if view.own.founders == founders && view.others.iter().all(agree) {
        return Step::Found(founders);
    }
    let why = format!("all {there} instances answer; agreeing on the list");
    wait(why, founders)
}

/// Where others look for an instance's member: at what its tag says, or at its private address and the port and scheme
/// of our own peer URL.
pub fn peer_url(instance: &Instance, like: &Url) -> Option<String> {
    if let Some(url) = instance.tag(PEER_URL_TAG) {
        return Url::parse(url).ok().map(|url| url.as_str().to_string());
    }
    let address = instance.address.as_deref()?;
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_string()
    };
    let scheme = match like.scheme {
        crate::etcd::urls::Scheme::Http => "http",
        crate::etcd::urls::Scheme::Https => "https",
    };
    Some(format!("{scheme}://{host}:{}", like.port))
}

/// Which instance this is: by its id if we know it, or by where others look for it.
pub fn own<'a>(
    instances: &'a [Instance],
    id: Option<&str>,
    advertised: &[Url],
    resolve: &dyn Fn(&str) -> Option<IpAddr>,
) -> Option<&'a Instance> {
    let by_id = instances.iter().find(|instance| Some(instance.id.as_str()) == id);
    by_id.or_else(|| {
        instances
            .iter()
            .find(|instance| advertises(instance, advertised, resolve))
    })
}

/// Is one of these URLs where others look for the instance?
pub fn advertises(instance: &Instance, advertised: &[Url], resolve: &dyn Fn(&str) -> Option<IpAddr>) -> bool {
    let Some(like) = advertised.first() else { return false };
    let Some(looked) = peer_url(instance, like).and_then(|url| Url::parse(&url).ok()) else {
        return false;
    };
    let mut advertised = advertised.iter();
    advertised.any(|url| same(std::slice::from_ref(url), std::slice::from_ref(&looked), resolve))
}

/// The members whose instances are gone: at none of their URLs is an instance that is there or may come back. Nobody,
/// as long as the list lacks ourselves: then it is not this cluster's.
pub fn gone<'a>(
    members: &'a [MemberInfo],
    own: &[Url],
    instances: &[Instance],
    resolve: &dyn Fn(&str) -> Option<IpAddr>,
) -> Vec<&'a MemberInfo> {
    if !instances.iter().any(|instance| advertises(instance, own, resolve)) {
        return Vec::new();
    }
    let own_urls: Vec<String> = own.iter().map(|url| url.as_str().to_string()).collect();
    let at = |url: &Url| {
        // A name that means nothing here now is nobody's to remove.
        let Some(host) = resolve(&url.host) else { return true };
        let at_address =
            |instance: &Instance| instance.address.as_ref().and_then(|text| text.parse().ok()) == Some(host);
        instances
            .iter()
            .any(|instance| at_address(instance) || advertises(instance, std::slice::from_ref(url), resolve))
    };
    let is_there = |member: &MemberInfo| {
        let mut urls = member.peer_urls.iter();
        at_same_urls(&own_urls, &member.peer_urls, resolve)
            || urls.any(|url| Url::parse(url).ok().is_none_or(|url| at(&url)))
    };
    members.iter().filter(|member| !is_there(member)).collect()
}

fn at_same_urls(own: &[String], theirs: &[String], resolve: &dyn Fn(&str) -> Option<IpAddr>) -> bool {
    let parse = |urls: &[String]| urls.iter().map(|url| Url::parse(url)).collect::<Result<Vec<_>, _>>();
    matches!((parse(own), parse(theirs)), (Ok(own), Ok(theirs)) if same(&own, &theirs, resolve))
}

/// Can the instance be asked, or must we wait for it?
pub fn runs(instance: &Instance) -> bool {
    instance.state == State::Running
}

#[cfg(test)]
mod tests;
