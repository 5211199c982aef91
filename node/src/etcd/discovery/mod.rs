//! The discovery client: registers this member under a token's URL and waits until all members are there.
//!
//! Works with the public protocol and with a directory of any etcd (`http://host/v2/keys/discovery/TOKEN`).
pub mod answer;
mod srv;

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};

use super::bootstrap::Failure;
use super::config::{Config, Members};
use super::ids;
use crate::client::reason;
use crate::log;
use crate::raft::disk::{OsDisk, write_atomically};
use crate::tls;
use answer::{Body, Entry, entries, explain, values};
pub use srv::srv;

const CONNECT: Duration = Duration::from_secs(5);
/// How long a question other than a watch may take.
const ANSWER: Duration = Duration::from_secs(30);
/// Waits double from 2 s up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// A watch that ends sooner than that is not asked again at once.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_REDIRECTS: usize = 10;
/// In the data directory from before this member registers until it has a log: only with it may a member go on with
/// a registration of its own in a cluster that is complete.
pub const MARK: &str = "discovery";

/// Registers this member and returns all members, once they are complete.
pub async fn join(config: &Config, files: &tls::Files) -> Result<Members, Failure> {
    let token = Token::new(config, files)?;
    let own = Registration::of(config);
    let size = token.size().await?;
    let (entries, _) = token.list().await?;
    let there = entries.iter().take(size).any(|entry| entry.id == own.id);
    if !there && entries.len() >= size {
        return Err(Failure::ClusterFull(token.url));
    }
    token.register(config, &own, size).await?;
    log::info!("discovery", "registered as {} at {}", own.value, token.url);
    let entries = token.wait(size).await?;
    if !entries.iter().any(|entry| entry.id == own.id) {
        return Err(Failure::ClusterFull(token.url));
    }
    Ok(answer::members(&entries, &token.url)?)
}

/// The members of a token's cluster, once they are complete, without being one of them.
pub async fn look(config: &Config, files: &tls::Files) -> Result<Members, Failure> {
    let token = Token::new(config, files)?;
    let size = token.size().await?;
    let entries = token.wait(size).await?;
    Ok(answer::members(&entries, &token.url)?)
}

/// What this member writes: its id, and `name=url[,name=url]`.
struct Registration {
    id: String,
    value: String,
}

impl Registration {
    fn of(config: &Config) -> Registration {
        let peer_urls: Vec<String> = config
            .initial_advertise_peer_urls
            .iter()
            .map(|url| url.as_str().to_string())
            .collect();
        let each: Vec<String> = peer_urls.iter().map(|url| format!("{}={url}", config.name)).collect();
        Registration {
            id: ids::hex(ids::member_id(&peer_urls, &config.discovery.url, None)),
            value: each.join(","),
        }
    }
}

struct Token {
    url: String,
    client: reqwest::Client,
}

/// What the service said.
struct Said {
    status: StatusCode,
    index: u64,
    body: Body,
}

enum Failed {
    /// Worth another try.
    Unreachable(String),
    Bad(String),
}

/// A client for a service outside the cluster, by way of `--discovery-proxy`.
pub fn http(config: &Config, files: &tls::Files, connect: Duration) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .use_preconfigured_tls(tls::client::config(files)?)
        .connect_timeout(connect)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    let proxy = &config.discovery.proxy;
    if !proxy.is_empty() {
        let text = if proxy.contains("://") {
            proxy.clone()
        } else {
            format!("http://{proxy}")
        };
        let through = reqwest::Proxy::all(&text)
            .map_err(|error| format!("--discovery-proxy {proxy:?} is no URL of an HTTP proxy: {error}"))?;
        builder = builder.proxy(through);
    }
    builder
        .build()
        .map_err(|error| format!("cannot make an HTTP client: {error}"))
}

impl Token {
    fn new(config: &Config, files: &tls::Files) -> Result<Token, Failure> {
        let url = config.discovery.url.trim_end_matches('/').to_string();
        let parsed = reqwest::Url::parse(&url).map_err(|error| {
            Failure::Text(format!(
                "--discovery {url:?} is no URL: {error}; it is the URL of a token, as http://HOST/TOKEN"
            ))
        })?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.path().len() < 2 {
            let text = format!("--discovery {url:?} names no token: it has to be like http://HOST/TOKEN");
            return Err(Failure::Text(text));
        }
        let client = http(config, files, CONNECT)?;
        Ok(Token { url, client })
    }

    /// Asks until there is an answer.
    async fn ask(
        &self,
        method: Method,
        rest: &str,
        form: Option<&str>,
        limit: Option<Duration>,
    ) -> Result<Said, Failure> {
        let mut wait = Duration::from_secs(2);
        loop {
            match self.try_ask(method.clone(), rest, form, limit).await {
                Ok(said) => return Ok(said),
                Err(Failed::Bad(text)) => return Err(Failure::Text(text)),
                Err(Failed::Unreachable(why)) => {
                    log::error!(
                        "discovery",
                        "error connecting to {}{rest}: {why}; retrying in {wait:?}",
                        self.url
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    async fn try_ask(
        &self,
        method: Method,
        rest: &str,
        form: Option<&str>,
        limit: Option<Duration>,
    ) -> Result<Said, Failed> {
        let mut url = format!("{}{rest}", self.url);
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.client.request(method.clone(), &url);
            if let Some(limit) = limit {
                request = request.timeout(limit);
            }
            if let Some(form) = form {
                request = request
                    .header("Content-Type", "application/x-www-form-urlencoded")
                    .body(form.to_string());
            }
            let response = request
                .send()
                .await
                .map_err(|error| Failed::Unreachable(reason(&error)))?;
            let status = response.status();
            if status.is_redirection() {
                let target = response.headers().get("Location").and_then(|to| to.to_str().ok());
                let joined = target.and_then(|to| response.url().join(to).ok());
                let Some(joined) = joined else {
                    return Err(Failed::Bad(format!(
                        "bad discovery endpoint: {url} redirects to nowhere"
                    )));
                };
                url = joined.to_string();
                continue;
            }
            let index = response
                .headers()
                .get("X-Etcd-Index")
                .and_then(|index| index.to_str().ok()?.parse().ok());
            let text = response
                .bytes()
                .await
                .map_err(|error| Failed::Unreachable(reason(&error)))?;
            if let Ok(body) = serde_json::from_slice::<Body>(&text)
                && (body.node.is_some() || body.code.is_some())
            {
                // An etcd without a quorum, or without a leader at the moment.
                if body.code.is_some_and(|code| (300..400).contains(&code)) {
                    return Err(Failed::Unreachable(explain(&body)));
                }
                return Ok(Said {
                    status,
                    index: index.unwrap_or(0),
                    body,
                });
            }
            if status.is_server_error() {
                return Err(Failed::Unreachable(format!("the service answers {status}")));
            }
            // An empty answer is how a watch ends that has waited for long.
            if text.is_empty() && status.is_success() {
                return Err(Failed::Unreachable("the service ended the answer early".into()));
            }
            return Err(Failed::Bad(format!(
                "bad discovery endpoint: {url} answers {status} and no etcd JSON; --discovery takes the URL of a token"
            )));
        }
        Err(Failed::Bad(format!(
            "bad discovery endpoint: {url} redirects again and again"
        )))
    }

    async fn size(&self) -> Result<usize, Failure> {
        let said = self.ask(Method::GET, "/_config/size", None, Some(ANSWER)).await?;
        let Some(node) = said.body.node else {
            return Err(Failure::Text(format!(
                "discovery: no size at {}/_config/size: {}; get a new token from the service's /new?size=N, or put the number of members there",
                self.url,
                explain(&said.body)
            )));
        };
        match node.value.parse() {
            Ok(size) if size > 0 => Ok(size),
            _ => Err(Failure::Text(format!(
                "discovery: size key is bad: {}/_config/size holds {:?} instead of the number of members",
                self.url, node.value
            ))),
        }
    }

    /// Who has registered, in that order, and the index of this moment.
    async fn list(&self) -> Result<(Vec<Entry>, u64), Failure> {
        let said = self.ask(Method::GET, "", None, Some(ANSWER)).await?;
        match said.body.node {
            Some(node) => Ok((entries(node), said.index)),
            None => Err(Failure::Text(format!(
                "discovery: no such token at {}: {}",
                self.url,
                explain(&said.body)
            ))),
        }
    }

    async fn register(&self, config: &Config, own: &Registration, size: usize) -> Result<(), Failure> {
        let mark = config.data_dir.join(MARK);
        let marked = std::fs::read_to_string(&mark).is_ok_and(|text| text == config.discovery.url);
        if !marked {
            put_mark(&mark, &config.discovery.url)?;
        }
        let forget = || {
            if !marked {
                let _ = std::fs::remove_file(&mark);
            }
        };
        let (path, form) = (
            format!("/{}?prevExist=false", own.id),
            format!("value={}", escape(&own.value)),
        );
        let said = match self.ask(Method::PUT, &path, Some(&form), Some(ANSWER)).await {
            Ok(said) => said,
            Err(failure) => {
                forget();
                return Err(failure);
            }
        };
        if said.status.is_success() {
            return Ok(());
        }
        if said.body.code != Some(105) {
            forget();
            let why = explain(&said.body);
            return Err(Failure::Text(format!(
                "discovery: cannot register at {}/{}: {why}",
                self.url, own.id
            )));
        }
        // Somebody with these peer URLs was here before.
        let (entries, _) = self.list().await?;
        let there = entries
            .iter()
            .find(|entry| entry.id == own.id)
            .map_or("", |entry| entry.value.as_str());
        if there != own.value {
            forget();
            return Err(Failure::Text(format!(
                "discovery: member {} has previously registered with discovery service token ({}) as {there:?}, and this one is {:?}: another member used these peer URLs; give each member its own --initial-advertise-peer-urls and --name, or get a new token",
                own.id, self.url, own.value
            )));
        }
        if entries.len() >= size && !marked {
            forget();
            return Err(Failure::Text(format!(
                "discovery: the token {} is spent: member {} has previously registered with it, its cluster has all {size} members, and its data is not in {}; start with the data directory it had, or remove the member from the cluster and add it again, or get a new token for a new cluster",
                self.url,
                own.id,
                config.data_dir.display()
            )));
        }
        log::info!("discovery", "member {} is registered already, going on", own.id);
        Ok(())
    }

    /// Waits until `size` members are there and returns them.
    async fn wait(&self, size: usize) -> Result<Vec<Entry>, Failure> {
        let mut told = usize::MAX;
        loop {
            let (mut entries, index) = self.list().await?;
            if entries.len() >= size {
                log::notice!("discovery", "found all {size} members: {}", values(&entries));
                entries.truncate(size);
                return Ok(entries);
            }
            if told != entries.len() {
                told = entries.len();
                let missing = size - told;
                log::notice!(
                    "discovery",
                    "found {told} of {size} members ({}), waiting for {missing} more",
                    values(&entries)
                );
            }
            let rest = format!("?wait=true&recursive=true&waitIndex={}", index + 1);
            let began = tokio::time::Instant::now();
            // However it ends, the list says what has changed.
            if let Err(Failed::Unreachable(why)) = self.try_ask(Method::GET, &rest, None, None).await {
                log::debug!("discovery", "the watch ended: {why}");
            }
            if began.elapsed() < PAUSE {
                tokio::time::sleep(PAUSE / 4).await;
            }
        }
    }
}

fn put_mark(path: &Path, url: &str) -> Result<(), Failure> {
    write_atomically(&OsDisk, path, url.as_bytes())
        .map_err(|error| Failure::Text(format!("cannot write {}: {error}", path.display())))
}

fn escape(value: &str) -> String {
    super::http::path::escape(value.as_bytes())
        .replace('&', "%26")
        .replace('+', "%2B")
        .replace(';', "%3B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_a_form() {
        assert_eq!(escape("a&b=http://h:1,c;d+e"), "a%26b=http://h:1,c%3Bd%2Be");
    }
}
