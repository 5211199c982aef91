//! Sends a request to the first endpoint of a cluster that answers it.
use std::error::Error as _;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};

use super::error::Error;
use crate::tls;

/// How much longer than others a change of members may take.
const CHANGE_FACTOR: u32 = 5;

/// What a client is made from.
#[derive(Clone, Debug)]
pub struct Options {
    pub endpoints: Vec<String>,
    pub tls: tls::Files,
    pub user: Option<(String, String)>,
    /// How long an endpoint may take until its header is there.
    pub header_timeout: Duration,
    /// Is told every request as a curl command line, without the credentials.
    pub trace: Option<fn(&str)>,
}

pub struct Client {
    http: reqwest::Client,
    endpoints: Mutex<(Vec<String>, usize)>,
    user: Option<(String, String)>,
    header_timeout: Duration,
    trace: Option<fn(&str)>,
}

/// A request without its endpoint.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// Escaped, from the root on.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Option<(&'static str, String)>,
}

impl Request {
    pub fn new(method: Method, path: impl Into<String>) -> Request {
        Request {
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
        }
    }

    /// The members that would stay are asked before the answer to such a request.
    fn changes_members(&self) -> bool {
        self.method != Method::GET && self.path.starts_with("/v2/members")
    }

    fn is_watch(&self) -> bool {
        self.query.iter().any(|(name, value)| name == "wait" && value == "true")
    }

    pub fn json(mut self, body: &serde_json::Value) -> Request {
        self.body = Some(("application/json", body.to_string()));
        self
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// X-Etcd-Index; 0 where there is none.
    pub index: u64,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(options: Options) -> Result<Client, Error> {
        let http = super::http(&options.tls).map_err(Error::Other);
        Client::over(http?, options)
    }

    /// Over an HTTP client that has its certificates already.
    pub fn over(http: reqwest::Client, options: Options) -> Result<Client, Error> {
        for endpoint in &options.endpoints {
            check_escapes(endpoint)?;
        }
        Ok(Client {
            http,
            endpoints: Mutex::new((options.endpoints, 0)),
            user: options.user,
            header_timeout: options.header_timeout,
            trace: options.trace,
        })
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .0
            .clone()
    }

    pub fn set_endpoints(&self, endpoints: Vec<String>) {
        *self.endpoints.lock().unwrap_or_else(|broken| broken.into_inner()) = (endpoints, 0);
    }

    /// Learns the endpoints from the cluster itself; a 0.4 server has them under /v2/machines.
    pub async fn sync(&self) -> Result<(), Error> {
        let found = match self.members().await {
            Ok(members) => members.into_iter().flat_map(|member| member.client_urls).collect(),
            Err(error @ (Error::Cluster(_) | Error::Deadline | Error::NoEndpoints)) => return Err(error),
            Err(error) => {
                let answer = self.send(Request::new(Method::GET, "/v2/machines")).await?;
                if answer.status != 200 {
                    return Err(error);
                }
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                text.split(',').map(|url| url.trim().to_string()).collect::<Vec<_>>()
            }
        };
        let found: Vec<String> = found.into_iter().filter(|url| !url.is_empty()).collect();
        if found.is_empty() {
            return Err(Error::NoEndpoints);
        }
        self.set_endpoints(found);
        Ok(())
    }

    /// Sends to one endpoint after the other, starting with the one that answered last.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        let (endpoints, pinned) = self
            .endpoints
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .clone();
        if endpoints.is_empty() {
            return Err(Error::NoEndpoints);
        }
        let one_shot = request.method == Method::POST;
        let limit = match request.changes_members() {
            true => CHANGE_FACTOR * self.header_timeout,
            false => self.header_timeout,
        };
        let mut errors = Vec::new();
        for at in 0..endpoints.len() {
            let k = (pinned + at) % endpoints.len();
            let failed = match self.send_to(&endpoints[k], &request, limit).await {
                Ok(answer) if answer.status / 100 != 5 => {
                    self.endpoints.lock().unwrap_or_else(|broken| broken.into_inner()).1 = k;
                    return Ok(answer);
                }
                Ok(answer) if matches!(answer.status, 500 | 503) => {
                    format!("client: etcd member {} has no leader", endpoints[k])
                }
                Ok(answer) => {
                    let reason = StatusCode::from_u16(answer.status)
                        .ok()
                        .and_then(|status| status.canonical_reason());
                    format!(
                        "client: etcd member {} returns server error [{}]",
                        endpoints[k],
                        reason.unwrap_or_default()
                    )
                }
                Err(Error::Other(text)) if text.starts_with("unsupported protocol") || text.starts_with("x509") => {
                    return Err(Error::Other(text));
                }
                // Sent as it is to the next one it could miss what has happened: whoever watches knows since when.
                Err(error @ Error::CutOff { .. }) if request.is_watch() => {
                    self.endpoints.lock().unwrap_or_else(|broken| broken.into_inner()).1 = (k + 1) % endpoints.len();
                    return Err(error);
                }
                Err(error) => error.to_string(),
            };
            if one_shot {
                return Err(Error::Other(failed));
            }
            errors.push(failed);
        }
        Err(Error::Cluster(errors))
    }

    /// Sends to this endpoint only, which has `limit` until its header is there.
    pub async fn send_to(&self, endpoint: &str, request: &Request, limit: Duration) -> Result<Answer, Error> {
        let mut text = format!("{}{}", endpoint.trim_end_matches('/'), request.path);
        if !request.query.is_empty() {
            text = format!("{text}?{}", form(&request.query));
        }
        if let Some(trace) = self.trace {
            let mut curl = format!("curl -X {} {text}", request.method);
            if let Some((kind, body)) = &request.body {
                // A JSON body may hold a password.
                let body = if *kind == "application/json" { "..." } else { body };
                curl = format!("{curl} -d \"{body}\"");
            }
            trace(&format!("cURL Command: {curl}\n"));
        }
        let bad = |error: &dyn std::fmt::Display| Error::Other(format!("parse \"{text}\": {error}"));
        let url = Url::parse(&text).map_err(|error| bad(&error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Other(format!(
                "unsupported protocol scheme \"{}\"",
                url.scheme()
            )));
        }
        let mut http = self.http.request(request.method.clone(), url.clone());
        if let Some((name, password)) = &self.user {
            http = http.basic_auth(name, Some(password));
        }
        if let Some((kind, body)) = &request.body {
            http = http.header("Content-Type", *kind).body(body.clone());
        }
        let answer = match tokio::time::timeout(limit, http.send()).await {
            Err(_) => {
                let text = format!("client: endpoint {endpoint} exceeded header timeout");
                return Err(Error::Other(text));
            }
            Ok(Err(error)) => return Err(Error::Other(explain(&url, &error))),
            Ok(Ok(answer)) => answer,
        };
        let status = answer.status().as_u16();
        let index = answer.headers().get("X-Etcd-Index");
        let index = index.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        let location = answer.headers().get("Location");
        if status == 307
            && let Some(location) = location.and_then(|value| value.to_str().ok())
        {
            let target = Url::parse(location).map_err(|error| bad(&error))?;
            let base = target.origin().ascii_serialization();
            if !endpoint.starts_with(&base) {
                return Box::pin(self.send_to(&base, request, limit)).await;
            }
        }
        let body = answer.bytes().await.map_err(|error| Error::CutOff {
            index,
            text: explain(&url, &error),
        })?;
        Ok(Answer {
            status,
            index,
            body: body.to_vec(),
        })
    }
}

impl Client {
    /// Sends to one endpoint after the other and hands out the answer whose body goes on; what is refused comes as a
    /// whole.
    pub(super) async fn open(&self, request: Request) -> Result<Result<reqwest::Response, Answer>, Error> {
        let mut errors = Vec::new();
        let query = form(&request.query);
        let (endpoints, pinned) = self
            .endpoints
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .clone();
        for at in 0..endpoints.len() {
            let endpoint = &endpoints[(pinned + at) % endpoints.len()];
            let url = format!("{}{}?{query}", endpoint.trim_end_matches('/'), request.path);
            let mut http = self.http.request(request.method.clone(), &url);
            if let Some((name, password)) = &self.user {
                http = http.basic_auth(name, Some(password));
            }
            match tokio::time::timeout(self.header_timeout, http.send()).await {
                Ok(Ok(answer)) if answer.status() == StatusCode::OK => return Ok(Ok(answer)),
                Ok(Ok(answer)) if answer.status().as_u16() / 100 == 5 => {
                    errors.push(format!("{url} answers {}", answer.status()));
                }
                Ok(Ok(answer)) => {
                    let status = answer.status().as_u16();
                    let body = answer
                        .bytes()
                        .await
                        .map_err(|error| Error::Other(super::reason(&error)))?;
                    let body = body.to_vec();
                    return Ok(Err(Answer { status, index: 0, body }));
                }
                Ok(Err(error)) => errors.push(format!("{url}: {}", super::reason(&error))),
                Err(_) => errors.push(format!("{url} does not answer in time")),
            }
        }
        Err(Error::Cluster(errors))
    }

    /// Begins to read something big from the first endpoint that has it.
    pub async fn download(&self, path: &str) -> Result<reqwest::Response, Error> {
        let mut errors = Vec::new();
        for endpoint in self.endpoints() {
            let url = format!("{}{path}", endpoint.trim_end_matches('/'));
            let mut request = self.http.get(&url);
            if let Some((name, password)) = &self.user {
                request = request.basic_auth(name, Some(password));
            }
            match request.send().await {
                Ok(answer) if answer.status() == StatusCode::OK => return Ok(answer),
                Ok(answer) => errors.push(format!("{url} answers {}", answer.status())),
                Err(error) => errors.push(format!("{url}: {}", super::reason(&error))),
            }
        }
        Err(Error::Cluster(errors))
    }
}

/// Pairs as a form, in their order.
pub fn form(pairs: &[(String, String)]) -> String {
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name, "", true), escape(value, "", true)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A path with its special characters escaped.
pub fn escape_path(path: &str) -> String {
    escape(path, "/$&+,:;=@", false)
}

/// Escapes all but letters, digits, `-_.~` and what is to be kept; a blank becomes a plus, or is escaped as well.
pub fn escape(text: &str, keep: &str, plus: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_.~".contains(c) || keep.contains(c) {
            out.push(c);
        } else if plus && c == ' ' {
            out.push('+');
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn check_escapes(url: &str) -> Result<(), Error> {
    for (at, _) in url.match_indices('%') {
        let code: String = url[at..].chars().take(3).collect();
        if code.len() < 3 || !code[1..].chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(Error::Other(format!("parse \"{url}\": invalid URL escape \"{code}\"")));
        }
    }
    Ok(())
}

/// Why a request failed, in few words.
fn explain(url: &Url, error: &reqwest::Error) -> String {
    let host = url.host_str().unwrap_or_default();
    let address = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        last = cause.to_string();
        if last.contains("UnknownIssuer") {
            return "x509: certificate signed by unknown authority".into();
        }
        if last.contains("failed to lookup") {
            return format!("dial tcp: lookup {host}: no such host");
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if io.kind() == std::io::ErrorKind::ConnectionRefused {
                return format!("dial tcp {address}: connect: connection refused");
            }
            if io.kind() == std::io::ErrorKind::TimedOut {
                return format!("dial tcp {address}: i/o timeout");
            }
        }
        source = cause.source();
    }
    if error.is_connect() {
        return format!("dial tcp {address}: {last}");
    }
    last
}
