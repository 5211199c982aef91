//! Members that find each other by a domain's SRV records.
use crate::etcd::bootstrap::{self, Failure};
use crate::etcd::config::{Config, Members, ProxyMode};
use crate::etcd::urls::{self, Url};
use crate::log;

/// The members that a domain's SRV records name. Others have no name there: they are numbered.
pub async fn srv(config: &Config) -> Result<Members, Failure> {
    let domain = &config.discovery.srv;
    let own = |host: &str, port: u16| {
        let target = bootstrap::resolve(host);
        let mut advertised = config.initial_advertise_peer_urls.iter();
        advertised.any(|url| {
            url.port == port && (url.host == host || target.is_some() && bootstrap::resolve(&url.host) == target)
        })
    };
    let mut members = Members::new();
    let mut failures = Vec::new();
    let mut number = 0;
    for (service, scheme) in [("etcd-server-ssl", "https"), ("etcd-server", "http")] {
        let records = match crate::dns::srv(service, domain).await {
            Ok(records) => records,
            Err(why) => {
                failures.push(why);
                continue;
            }
        };
        for (host, port) in records {
            let url = Url::parse(&format!("{scheme}://{host}:{port}"))?;
            log::notice!("discovery", "got bootstrap from DNS for {service} at {url}");
            let name = if own(&host, port) {
                config.name.clone()
            } else {
                number += 1;
                (number - 1).to_string()
            };
            let list = members.entry(name).or_default();
            list.push(url);
            list.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        }
    }
    if members.is_empty() {
        return Err(Failure::Text(format!(
            "error setting up initial cluster: {}; --discovery-srv needs SRV records of one of these names",
            failures.join("; ")
        )));
    }
    if !members.contains_key(&config.name) && config.proxy.mode == ProxyMode::Off {
        let advertised = urls::join(&config.initial_advertise_peer_urls);
        return Err(Failure::Text(format!(
            "cannot find local etcd member {:?} in SRV records: none of those of {domain} leads to {advertised}; set --initial-advertise-peer-urls to the URL that its record names",
            config.name
        )));
    }
    Ok(members)
}
