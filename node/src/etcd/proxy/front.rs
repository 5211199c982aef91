//! What a proxy does with a client's request: which endpoint it goes to, and what is said when there is none.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, Response, Url};
use serde::Serialize;
use tokio::time::timeout;

use super::director::Director;
use super::forward::{self, Passing};
use crate::client::reason;
use crate::etcd::api::{allow, json, redirect, refuse};
use crate::etcd::http::conn::{Handler, Next};
use crate::etcd::http::reply::JSON;
use crate::etcd::http::{Body, Reply, Request, path};
use crate::log;

/// How long a read other than a watch may take to begin its answer before another endpoint is asked. A member answers
/// after 7 s at the latest.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Front {
    pub director: Arc<Director>,
    pub readonly: bool,
    pub cors: Arc<BTreeSet<String>>,
    pub client: Option<SocketAddr>,
}

/// Why an endpoint gave no answer.
struct NoAnswer {
    why: String,
    /// It cannot have seen the request.
    unsent: bool,
}

impl Handler for Front {
    type Handed = Passing;

    async fn handle(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Next<Passing> {
        if let Some(origin) = request.header("Origin")
            && (self.cors.contains("*") || self.cors.contains(origin))
        {
            reply.cors(origin);
        }
        if self.readonly && request.method != "GET" {
            reply.start(501).body(b"");
            return Next::Answered;
        }
        if request.method == "OPTIONS" {
            reply.start(200).body(b"");
            return Next::Answered;
        }
        let (raw_path, query) = request.split_target();
        let Some(path) = path::unescape(raw_path) else {
            reply.error(400, "400 Bad Request");
            return Next::Answered;
        };
        if let Some(clean) = path::cleaned(&path) {
            redirect(request, &mut reply, &clean, query);
            return Next::Answered;
        }
        if path == b"/v2/config/local/proxy" {
            self.own(request, &mut reply);
            return Next::Answered;
        }
        let (Ok(method), Body::Bytes(body)) = (Method::from_bytes(request.method.as_bytes()), request.body) else {
            let status = if request.body == Body::TooLarge { 413 } else { 400 };
            refuse(
                &mut reply,
                status,
                None,
                "proxy: the request is too large to be handed on, or has no proper method",
            );
            return Next::Answered;
        };
        if method == Method::CONNECT {
            reply.method_not_allowed("GET,HEAD,PUT,POST,PATCH,DELETE");
            return Next::Answered;
        }
        self.pass(request, &mut reply, method, Bytes::copy_from_slice(body))
            .await
    }
}

impl Front {
    fn own(&self, request: &Request<'_>, reply: &mut Reply<'_>) {
        #[derive(Serialize)]
        struct Own {
            endpoints: Vec<String>,
        }
        if !allow(request, reply, "GET") {
            return;
        }
        let mut body = json::marshal(&Own {
            endpoints: self.director.available(),
        });
        body.push(b'\n');
        reply.start(200).header("Content-Type", JSON).body(&body);
    }

    async fn pass(&self, request: &Request<'_>, reply: &mut Reply<'_>, method: Method, body: Bytes) -> Next<Passing> {
        let candidates = self.director.candidates();
        if candidates.is_empty() {
            log::debug!("proxy", "zero endpoints currently available");
            refuse(reply, 503, None, "proxy: zero endpoints currently available");
            return Next::Answered;
        }
        let mut headers = forward::headers(request);
        if let Some(client) = self.client.and_then(|client| client.ip().to_string().parse().ok()) {
            headers.append("x-forwarded-for", client);
        }
        let mut tried = 0;
        let mut unknown = None;
        for endpoint in candidates {
            tried += 1;
            let sent = self
                .send(request, &endpoint, method.clone(), headers.clone(), body.clone())
                .await;
            let failed = match sent {
                Ok(response) => match forward::begin(request, reply, response).await {
                    Ok(next) => return next,
                    Err(error) => NoAnswer {
                        why: reason(&error),
                        unsent: false,
                    },
                },
                Err(failed) => failed,
            };
            self.director.failed(&endpoint, &failed.why);
            // A write may have been done although nobody says so: it must not be done twice.
            if !failed.unsent && !matches!(request.method, "GET" | "HEAD") {
                unknown = Some(format!(
                    " ({endpoint} took the request and did not answer: it may or may not have been done)"
                ));
                break;
            }
        }
        let text = format!(
            "proxy: unable to get response from {tried} endpoint(s){}",
            unknown.unwrap_or_default()
        );
        log::warning!("proxy", "{} {}: {text}", request.method, request.target);
        refuse(reply, 502, None, &text);
        Next::Answered
    }

    async fn send(
        &self,
        request: &Request<'_>,
        endpoint: &str,
        method: Method,
        headers: reqwest::header::HeaderMap,
        body: Bytes,
    ) -> Result<Response, NoAnswer> {
        let bad = |why: String| NoAnswer { why, unsent: true };
        let (path, query) = request.split_target();
        let mut url = Url::parse(endpoint).map_err(|error| bad(error.to_string()))?;
        url.set_path(path);
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let mut outgoing = self.director.client.request(method.clone(), url).headers(headers);
        if !body.is_empty() || !matches!(method, Method::GET | Method::HEAD) {
            outgoing = outgoing.body(body);
        }
        let sent = outgoing.send();
        let waits = query.split('&').any(|field| field.starts_with("wait="));
        let answer = match method {
            Method::GET | Method::HEAD if !waits => timeout(PATIENCE, sent).await.map_err(|_| NoAnswer {
                why: format!("no answer within {PATIENCE:?}"),
                unsent: false,
            })?,
            _ => sent.await,
        };
        answer.map_err(|error| NoAnswer {
            why: reason(&error),
            unsent: error.is_connect(),
        })
    }
}
