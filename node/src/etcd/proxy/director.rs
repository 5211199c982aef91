//! Which endpoints there are and which of them answer.
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::seq::SliceRandom;
use reqwest::Url;
use tokio::time::{Instant, sleep};

use super::write;
use crate::client::reason;
use crate::etcd::cluster::MemberInfo;
use crate::etcd::config::Proxy;
use crate::log;

/// How often to look for members while no endpoint answers.
const IMPATIENT: Duration = Duration::from_secs(1);
/// How long a peer has to name the members.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a failed endpoint is asked whether it is back.
const PROBE: Duration = Duration::from_millis(250);

struct Endpoint {
    url: String,
    failed: Option<Instant>,
}

pub struct Director {
    pub client: reqwest::Client,
    endpoints: Mutex<Vec<Endpoint>>,
    failure_wait: Duration,
    /// Where this proxy lets clients in.
    own: Vec<SocketAddr>,
}

impl Director {
    pub fn new(config: &Proxy, own: Vec<SocketAddr>, tls: rustls::ClientConfig) -> Result<Director, String> {
        let limit = |time: Duration| Some(time).filter(|time| !time.is_zero());
        let mut builder = reqwest::Client::builder()
            .use_preconfigured_tls(tls)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_user_timeout(limit(config.write_timeout))
            .no_proxy();
        if let Some(time) = limit(config.dial_timeout) {
            builder = builder.connect_timeout(time);
        }
        if let Some(time) = limit(config.read_timeout) {
            builder = builder.read_timeout(time);
        }
        let client = builder
            .build()
            .map_err(|error| format!("cannot make an HTTP client: {error}"))?;
        Ok(Director {
            client,
            endpoints: Mutex::default(),
            failure_wait: config.failure_wait,
            own,
        })
    }

    /// Those to try, in this order: the ones that answer, then those that failed long enough ago. The order stays as
    /// it is, so that a client keeps reading from one member.
    pub fn candidates(&self) -> Vec<String> {
        let endpoints = self.endpoints.lock().unwrap();
        let good = endpoints.iter().filter(|endpoint| endpoint.failed.is_none());
        let due = |since: &Instant| since.elapsed() >= self.failure_wait;
        let late = endpoints
            .iter()
            .filter(|endpoint| endpoint.failed.as_ref().is_some_and(due));
        good.chain(late).map(|endpoint| endpoint.url.clone()).collect()
    }

    /// The endpoints that answer, as /v2/config/local/proxy lists them.
    pub fn available(&self) -> Vec<String> {
        let endpoints = self.endpoints.lock().unwrap();
        let good = endpoints.iter().filter(|endpoint| endpoint.failed.is_none());
        good.map(|endpoint| endpoint.url.clone()).collect()
    }

    /// Leaves an endpoint out until it answers again.
    pub fn failed(self: &Arc<Self>, url: &str, why: &str) {
        let mut endpoints = self.endpoints.lock().unwrap();
        let Some(endpoint) = endpoints.iter_mut().find(|endpoint| endpoint.url == url) else {
            return;
        };
        if endpoint.failed.replace(Instant::now()).is_none() {
            log::warning!("proxy", "marked endpoint {url} unavailable: {why}");
            tokio::spawn(self.clone().probe(url.to_string()));
        }
    }

    async fn probe(self: Arc<Self>, url: String) {
        loop {
            sleep(PROBE).await;
            let answer = self.client.get(format!("{url}/version")).timeout(ANSWER).send().await;
            let mut endpoints = self.endpoints.lock().unwrap();
            let Some(endpoint) = endpoints.iter_mut().find(|endpoint| endpoint.url == url) else {
                return;
            };
            if endpoint.failed.is_none() {
                return;
            }
            if answer.is_ok() {
                endpoint.failed = None;
                log::notice!("proxy", "marked endpoint {url} available");
                return;
            }
        }
    }

    /// Asks the peers for the members again and again, and remembers both.
    pub async fn follow(self: Arc<Self>, mut peer_urls: Vec<String>, file: PathBuf, interval: Duration) {
        let mut told: Vec<String> = Vec::new();
        let mut silent = String::new();
        loop {
            match self.members(&peer_urls).await {
                Ok(members) => {
                    let all = members.iter().flat_map(|member| member.client_urls.clone());
                    let (ours, others): (Vec<String>, Vec<String>) = all.partition(|url| leads_to(&self.own, url));
                    self.replace(&others);
                    if !ours.is_empty() && ours != told {
                        log::warning!(
                            "proxy",
                            "a member tells its clients {}, which leads to this proxy itself and is left out: \
                             give it --advertise-client-urls that others reach",
                            ours.join(",")
                        );
                    }
                    told = ours;
                    silent.clear();
                    let mut found: Vec<String> = members.into_iter().flat_map(|member| member.peer_urls).collect();
                    found.sort();
                    if !found.is_empty() && found != peer_urls {
                        match write(&file, &found) {
                            Ok(()) => log::info!("proxy", "updated peer urls to {}", found.join(",")),
                            Err(why) => log::error!("proxy", "{why}"),
                        }
                        peer_urls = found;
                    }
                }
                Err(why) if why == silent => {}
                Err(why) => {
                    log::warning!("proxy", "no peer names the members: {why}");
                    silent = why;
                }
            }
            let next = Instant::now() + interval;
            loop {
                let left = next.saturating_duration_since(Instant::now());
                sleep(left.min(IMPATIENT).max(PROBE)).await;
                // Members that are known and do not answer may have moved.
                if Instant::now() >= next || self.available().is_empty() {
                    break;
                }
            }
        }
    }

    async fn members(&self, peer_urls: &[String]) -> Result<Vec<MemberInfo>, String> {
        let mut failures = Vec::new();
        for url in peer_urls {
            let asked = self.client.get(format!("{url}/members")).timeout(ANSWER).send().await;
            let answer = async { asked?.error_for_status()?.json::<Vec<MemberInfo>>().await };
            match answer.await {
                Ok(members) if !members.is_empty() => return Ok(members),
                Ok(_) => failures.push(format!("{url} knows none yet")),
                Err(error) => failures.push(format!("{url}: {}", reason(&error))),
            }
        }
        Err(failures.join("; "))
    }

    /// Keeps what is known of the endpoints that stay; new ones come behind them, in random order.
    fn replace(&self, urls: &[String]) {
        let mut urls: Vec<&String> = urls.iter().collect();
        urls.shuffle(&mut rand::rng());
        let mut endpoints = self.endpoints.lock().unwrap();
        endpoints.retain(|endpoint| urls.contains(&&endpoint.url));
        for url in urls {
            if !endpoints.iter().any(|endpoint| endpoint.url == *url) {
                endpoints.push(Endpoint {
                    url: url.clone(),
                    failed: None,
                });
            }
        }
    }
}

/// Whether who asks there asks one of these listeners.
fn leads_to(own: &[SocketAddr], url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let local = host == "localhost";
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let loopback = local || ip.is_some_and(|ip| ip.is_loopback());
    own.iter().any(|own| {
        let at = own.ip();
        let there = ip == Some(at) || loopback && at.is_unspecified() || local && at.is_loopback();
        there && url.port_or_known_default() == Some(own.port())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_localhost_is_not_taken_for_the_member() {
        let own = |text: &str| [text.parse().unwrap()];
        for (listens, url, ours) in [
            ("0.0.0.0:2379", "http://localhost:2379", true),
            ("0.0.0.0:2379", "http://127.0.0.1:2379", true),
            ("127.0.0.1:2379", "http://localhost:2379", true),
            ("[::]:2379", "https://[::1]:2379", true),
            ("172.17.8.102:2379", "http://172.17.8.102:2379", true),
            ("0.0.0.0:80", "http://localhost", true),
            ("0.0.0.0:2379", "http://localhost:4001", false),
            ("0.0.0.0:2379", "http://172.17.8.101:2379", false),
            ("172.17.8.102:2379", "http://localhost:2379", false),
            ("127.0.0.1:2379", "http://127.0.0.2:2379", false),
            ("0.0.0.0:2379", "localhost", false),
        ] {
            assert_eq!(leads_to(&own(listens), url), ours, "{listens} {url}");
        }
    }
}
