//! A member that starts again removes those whose instances are gone.
use std::sync::Arc;
use std::time::Duration;

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
    loop {
        let instances = list(&api, &mut logged).await?;
        if decide::own(&instances, None, own, &resolve).is_none() {
            return Err(Failure::Text(format!(
                "this member's instance does not carry the tag {tag}, so the list of those that do is not this cluster's"
            )));
        }
        let members = cluster::members(&server.member.state.store.lock().unwrap());
        let gone = silent(remote, decide::gone(&members, own, &instances, &resolve)).await;
        let mut refused = false;
        for member in gone {
            let id = ids::hex(member.id);
            match members::remove_id(server, member.id, false).await {
                Ok(()) => log::notice!(
                    "discovery",
                    "removed member {id} ({}): its instance is gone",
                    member.name
                ),
                Err((404 | 410, _)) => {}
                Err((_, why)) => {
                    refused = true;
                    log::warning!(
                        "discovery",
                        "member {id} ({}) is gone and stays: {why}; trying again in {wait:?}",
                        member.name
                    );
                }
            }
        }
        if !refused {
            log::info!("discovery", "every member's instance is there");
            return Ok(());
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
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
