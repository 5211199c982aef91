//! A member that starts removes those whose instances are gone.
//!
//! One that has never started is left in peace for a while: somebody may have declared it for an instance that is to
//! come. It takes no part in decisions, so it costs nothing.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::api::Api;
use super::credentials::Environment;
use super::decide::{self, Said};
use super::{list, waiting};
use crate::etcd::api::members;
use crate::etcd::bootstrap::{Failure, resolve};
use crate::etcd::cluster::{self, MemberInfo};
use crate::etcd::config::Ec2;
use crate::etcd::ids;
use crate::etcd::remote::Remote;
use crate::etcd::server::Server;
use crate::log;

/// Waits double from the first to the second while the cluster cannot let one go.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long an instance may take to be there after its member has been declared.
const DECLARED: Duration = Duration::from_secs(600);

/// Returns when none is left that is gone.
pub async fn clean(server: Arc<Server>, tag: Ec2, remote: Remote) {
    if let Err(Failure::Text(why)) = try_clean(&server, &tag, &remote).await {
        log::error!(
            "discovery",
            "members whose instances are gone stay in the cluster: {why}"
        );
    }
}

async fn try_clean(server: &Arc<Server>, tag: &Ec2, remote: &Remote) -> Result<(), Failure> {
    let config = &server.config;
    let api = Api::new(config, tag, Environment::of_process()).await?;
    let own = &config.initial_advertise_peer_urls;
    let (mut wait, mut logged) = (FIRST_WAIT, String::new());
    let mut since = BTreeMap::new();
    loop {
        let instances = list(&api, &mut logged).await?;
        if decide::own(&instances, None, own, &resolve).is_none() {
            return Err(Failure::Text(format!(
                "this member's instance does not carry the tag {tag}, so the list of those that do is not this cluster's"
            )));
        }
        let members = cluster::members(&server.member.state.store.lock().unwrap());
        let gone = silent(remote, decide::gone(&members, own, &instances, &resolve)).await;
        let (due, early) = due(gone, &mut since, Instant::now());
        let mut again = early > 0;
        for member in due {
            let id = ids::hex(member.id);
            match members::remove_id(server, member.id, false).await {
                Ok(()) => log::notice!(
                    "discovery",
                    "removed member {id} ({}): its instance is gone",
                    member.name
                ),
                Err((404 | 410, _)) => {}
                Err((_, why)) => {
                    again = true;
                    log::warning!(
                        "discovery",
                        "member {id} ({}) is gone and stays: {why}; trying again in {wait:?}",
                        member.name
                    );
                }
            }
        }
        if !again {
            log::info!("discovery", "every member's instance is there");
            return Ok(());
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Those that are to be removed now, and how many it is too early for.
fn due(gone: Vec<MemberInfo>, since: &mut BTreeMap<u64, Instant>, now: Instant) -> (Vec<MemberInfo>, usize) {
    since.retain(|id, _| gone.iter().any(|member| member.id == *id));
    let is_due = |member: &MemberInfo| {
        let first = *since.entry(member.id).or_insert(now);
        member.has_run() || now.saturating_duration_since(first) >= DECLARED
    };
    let (due, early): (Vec<_>, Vec<_>) = gone.into_iter().partition(is_due);
    (due, early.len())
}

/// Those of them that do not answer.
pub async fn silent(remote: &Remote, gone: Vec<&MemberInfo>) -> Vec<MemberInfo> {
    let ask = |member: &MemberInfo| {
        let member = member.clone();
        async move {
            for url in &member.peer_urls {
                if !matches!(waiting::ask(remote, url).await, Said::Nothing(_)) {
                    let id = ids::hex(member.id);
                    log::warning!(
                        "discovery",
                        "member {id} answers at {url}, where no instance with the tag is; it stays"
                    );
                    return None;
                }
            }
            Some(member)
        }
    };
    let asked = futures_util::future::join_all(gone.into_iter().map(ask)).await;
    asked.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_never_started_is_removed_when_its_instance_does_not_come() {
        let member = |id, name: &str| MemberInfo {
            id,
            name: name.into(),
            ..MemberInfo::default()
        };
        let ids = |list: &[MemberInfo]| -> Vec<u64> { list.iter().map(|member| member.id).collect() };
        let (began, mut since) = (Instant::now(), BTreeMap::new());
        let (removed, early) = due(vec![member(1, "ran"), member(2, "")], &mut since, began);
        assert_eq!((ids(&removed), early), (vec![1], 1));
        // It was there for a moment: the time begins again.
        let late = began + DECLARED;
        assert_eq!(due(Vec::new(), &mut since, late).1, 0);
        assert_eq!(due(vec![member(2, "")], &mut since, late).1, 1);
        let (removed, early) = due(vec![member(2, "")], &mut since, late + DECLARED);
        assert_eq!((ids(&removed), early), (vec![2], 0));
    }
}
