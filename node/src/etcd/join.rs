//! Joining a running cluster: `--initial-cluster-state existing`, after `etcdctl member add`.
use std::net::IpAddr;

use super::bootstrap::{Failure, resolve, texts};
use super::cluster::MemberInfo;
use super::config::{self, Config};
use super::ids;
use super::remote::{Known, Remote};
use super::urls::Url;
use crate::raft::wal::Meta;

pub async fn join(config: &Config, remote: &Remote) -> Result<Meta, Failure> {
    config.verify_bootstrap(&resolve).map_err(Failure::Lines)?;
    let others = config.initial_cluster.iter().filter(|(name, _)| **name != config.name);
    let urls: Vec<&str> = others.flat_map(|(_, urls)| urls.iter().map(Url::as_str)).collect();
    let known = remote.members(&urls).await.map_err(|errors| {
        let asked = match errors.is_empty() {
            true => "--initial-cluster names no member but this one; it must be the whole list that `etcdctl member add` printed".into(),
            false => errors,
        };
        format!("cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls ({asked})")
    })?;
    let member = own(config, &known, &resolve).map_err(|what| format!("error validating peerURLs: {what}"))?;
    Ok(Meta {
        member_id: member,
        cluster_id: known.cluster_id,
    })
}

/// Which of the cluster's members this one is. The error says what the two lists disagree about, and what to do.
fn own(config: &Config, known: &Known, resolve: &dyn Fn(&str) -> Option<IpAddr>) -> Result<u64, String> {
    let own_urls = &config.initial_cluster[&config.name];
    let show = |urls: &[String]| urls.join(",");
    let declared = known.members.iter().find(|member| same(own_urls, member, resolve));
    let declare = || {
        format!(
            "declare this member first: etcdctl member add {} {}",
            config.name,
            show(&texts(own_urls))
        )
    };
    if known.members.len() != config.initial_cluster.len() {
        let what = format!(
            "member count is unequal: the running cluster has {} ({}), --initial-cluster names {}",
            known.members.len(),
            known
                .members
                .iter()
                .map(|member| show(&member.peer_urls))
                .collect::<Vec<_>>()
                .join("; "),
            config.initial_cluster.len(),
        );
        let hint = match declared {
            None => declare(),
            Some(_) => "give the whole list that `etcdctl member add` printed".to_string(),
        };
        return Err(format!("{what}; {hint}"));
    }
    for (name, urls) in &config.initial_cluster {
        if *name != config.name && !known.members.iter().any(|member| same(urls, member, resolve)) {
            return Err(format!(
                "unmatched member while checking PeerURLs: no member of the running cluster is at {}, which --initial-cluster says of {name}",
                show(&texts(urls))
            ));
        }
    }
    let declared = declared.ok_or_else(|| {
        format!(
            "unmatched member while checking PeerURLs: the running cluster has no member at {}; {}",
            show(&texts(own_urls)),
            declare()
        )
    })?;
    if declared.has_run() {
        let id = ids::hex(declared.id);
        return Err(format!(
            "member {id} has already been bootstrapped, and its data is not here: what it voted for and acknowledged is lost. Remove it and declare it again: etcdctl member remove {id}, then etcdctl member add {} {}",
            config.name,
            show(&texts(own_urls))
        ));
    }
    Ok(declared.id)
}

/// The same URLs, or the same addresses behind them.
fn same(urls: &[Url], member: &MemberInfo, resolve: &dyn Fn(&str) -> Option<IpAddr>) -> bool {
    let theirs: Result<Vec<Url>, String> = member.peer_urls.iter().map(|text| Url::parse(text)).collect();
    theirs.is_ok_and(|theirs| config::same(urls, &theirs, resolve))
}
