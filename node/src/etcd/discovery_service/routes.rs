//! The service's paths: /new, /TOKEN and what is below it, /health, /metrics, /robots.txt.
use std::sync::atomic::Ordering;

use super::metrics::Metrics;
use super::store::{REGISTRY, Store};
use crate::etcd::api;
use crate::etcd::http::conn::{Handler, Next};
use crate::etcd::http::form::Form;
use crate::etcd::http::reply::TEXT;
use crate::etcd::http::{Reply, Request};
use crate::etcd::proxy::forward::Passing;
use crate::log;

const DOCS: &str = "https://etcd.io/docs/v2.3/clustering/";
const DEFAULT_SIZE: i64 = 3;
const TOKEN_DIGITS: usize = 32;

pub struct Service {
    host: Option<String>,
    pub store: Store,
    metrics: Metrics,
}

/// A connection whose answer goes on.
pub enum Handed {
    Own(api::Handed),
    Passing(Passing),
}

impl Service {
    pub fn new(host: Option<String>, store: Store) -> Service {
        Service {
            host,
            store,
            metrics: Metrics::default(),
        }
    }
}

impl Handler for Service {
    type Handed = Handed;

    async fn handle(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Next<Handed> {
        let path = request.split_target().0;
        match path {
            "/new" => {
                let (status, text) = self.new_token(request).await;
                self.metrics.count("new", status, request.method);
                answer(&mut reply, status, &text);
            }
            "/health" => {
                let (status, text) = self.health().await;
                self.metrics.count("health", status, request.method);
                answer(&mut reply, status, text);
            }
            "/metrics" => reply
                .start(200)
                .header("Content-Type", "text/plain; version=0.0.4")
                .body(self.metrics.text().as_bytes()),
            "/robots.txt" => answer(&mut reply, 200, "User-agent: *\nDisallow: /\n"),
            "/" => reply.start(301).header("Location", DOCS).body(b""),
            _ => match token_key(path) {
                None => reply.not_found(),
                Some((_, methods)) if !methods.contains(&request.method) => {
                    self.metrics.count("token", 405, request.method);
                    reply.start(405).header("Allow", &methods.join(",")).body(b"");
                }
                Some((key, _)) => {
                    let status = reply.status_cell();
                    let next = self.store.pass(request, reply, &key).await;
                    self.metrics
                        .count("token", status.load(Ordering::Relaxed), request.method);
                    return next;
                }
            },
        }
        Next::Answered
    }
}

impl Service {
    async fn new_token(&self, request: &Request<'_>) -> (u16, String) {
        let form = match Form::of(request) {
            Ok(form) => form,
            Err(why) => return (400, format!("{why}\n")),
        };
        let size = match form.get("size").filter(|size| !size.is_empty()) {
            None => DEFAULT_SIZE,
            Some(text) => match size(&String::from_utf8_lossy(text)) {
                Ok(size) => size,
                Err(why) => return (400, format!("{why}\n")),
            },
        };
        let token = token();
        if let Err(why) = self.store.create(&token, size).await {
            log::error!("discovery", "cannot make a token: {why}");
            return (400, "Unable to generate token\n".into());
        }
        let host = match (&self.host, request.header("Host")) {
            (Some(host), _) => host.clone(),
            (None, Some(host)) => format!("http://{host}"),
            (None, None) => {
                let text = "a request without a Host header needs a service started with --host\n";
                return (400, text.into());
            }
        };
        log::info!("discovery", "new cluster created {token} for {size} members");
        (200, format!("{host}/{token}"))
    }

    /// Is a token made and gone again?
    async fn health(&self) -> (u16, &'static str) {
        let token = token();
        let made = match self.store.create(&token, 0).await {
            Ok(()) => self.store.delete(&token).await,
            failed => failed,
        };
        match made {
            Ok(()) => (200, "OK"),
            Err(why) => {
                log::error!("discovery", "health failed: {why}");
                (400, "health failed to setupToken\n")
            }
        }
    }
}

fn answer(reply: &mut Reply<'_>, status: u16, text: &str) {
    reply.start(status).header("Content-Type", TEXT).body(text.as_bytes());
}

fn token() -> String {
    // From the system's random source: tokens are not to be guessed.
    let mut bytes = [0; TOKEN_DIGITS / 2];
    let filled = rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut bytes);
    debug_assert!(filled.is_ok());
    if filled.is_err() {
        rand::fill(&mut bytes);
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many members there shall be, in the words of Go's strconv for what is no number.
fn size(text: &str) -> Result<i64, String> {
    let bad = |why: &str| format!("strconv.Atoi: parsing {text:?}: {why}");
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("invalid syntax"));
    }
    match text.parse::<i64>() {
        Err(_) => Err(bad("value out of range")),
        Ok(size) if size < 1 => Err(format!("size {size} is refused: a cluster has at least 1 member")),
        Ok(size) => Ok(size),
    }
}

/// The key behind a path, and the methods it takes. None where there is no such path.
fn token_key(path: &str) -> Option<(String, &'static [&'static str])> {
    let rest = path.strip_prefix('/')?;
    let (token, below) = match rest.split_once('/') {
        Some((token, below)) => (token, Some(below)),
        None => (rest, None),
    };
    let is_hex = token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if token.len() != TOKEN_DIGITS || !is_hex {
        return None;
    }
    let key = |below: &str| format!("{REGISTRY}/{token}{below}");
    match below {
        None => Some((key(""), &["GET", "PUT"])),
        Some("") => Some((key("/"), &["GET", "PUT"])),
        Some("_config/size") => Some((key("/_config/size"), &["GET"])),
        Some(machine) if is_segment(machine) => Some((key(&format!("/{machine}")), &["GET", "PUT", "DELETE"])),
        Some(_) => None,
    }
}

/// One name that leads nowhere else, escaped or not. The sizes of tokens are not for clients to change.
fn is_segment(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    !name.starts_with('.') && name != "_config" && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn sizes_are_numbers_from_1_on() {
        assert_eq!(size("5"), Ok(5));
        assert_eq!(size("+5"), Ok(5));
        assert_eq!(size("abc"), Err("strconv.Atoi: parsing \"abc\": invalid syntax".into()));
        assert_eq!(
            size("99999999999999999999"),
            Err("strconv.Atoi: parsing \"99999999999999999999\": value out of range".into())
        );
        for refused in ["0", "-1"] {
            assert!(size(refused).is_err_and(|why| why.contains("at least 1 member")));
        }
    }

    #[test]
    fn tokens_are_32_hex_digits_and_each_is_new() {
        assert!(token_key(&format!("/{}", token())).is_some());
        assert_ne!(token(), token());
    }

    #[test]
    fn a_path_is_a_key_or_nothing() {
        let of = |below: &str| token_key(&format!("/{TOKEN}{below}"));
        assert_eq!(of("").unwrap().0, format!("{REGISTRY}/{TOKEN}"));
        assert_eq!(of("/_config/size").unwrap().1, ["GET"]);
        assert_eq!(of("/abc").unwrap().1, ["GET", "PUT", "DELETE"]);
        for nothing in ["/a/b", "/..", "/%2e%2e", "/_config", "/a%2fb"] {
            assert!(of(nothing).is_none(), "{nothing}");
        }
        for nothing in ["/", "/abc", "/0123456789ABCDEF0123456789ABCDEF"] {
            assert!(token_key(nothing).is_none(), "{nothing}");
        }
    }
}
