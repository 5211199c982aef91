//! fleet's HTTP API v1 from the client's side.
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

use super::super::remote::Tunnel;
use super::super::say;
use super::super::settings::{self, Settings};
use super::super::transport::Transport;
use super::{Duty, Error};
use crate::client::cluster::escape;
use crate::fleet::schema::{
    ErrorBody, Explanation, JobState, Machine, MachinePage, Unit, UnitPage, UnitState, UnitStatePage,
};
use crate::unit::UnitOption;

pub struct Api {
    transport: Transport,
    timeout: Option<Duration>,
    debug: bool,
}

impl Api {
    pub fn new(settings: &Settings, tunnel: Option<Arc<Tunnel>>) -> Result<Api, String> {
        let first = &settings.endpoints[0];
        if settings.endpoints.len() > 1 {
            let text = format!("multiple endpoints provided but only the first ({first}) is used");
            say::log("WARN", "fleetctl", &text);
        }
        let transport = Transport::new(first, &settings.tls, tunnel)?;
        settings::check_tls(&settings.tls)?;
        Ok(Api {
            transport,
            timeout: settings.request_timeout,
            debug: settings.debug,
        })
    }

    pub async fn machines(&self) -> Result<Vec<Machine>, Error> {
        let pages = self.pages("machines", |page: MachinePage| (page.machines, page.next_page_token));
        pages.await
    }

    pub async fn units(&self) -> Result<Vec<Unit>, Error> {
        let pages = self.pages("units", |page: UnitPage| (page.units, page.next_page_token));
        pages.await
    }

    pub async fn states(&self) -> Result<Vec<UnitState>, Error> {
        let pages = self.pages("state", |page: UnitStatePage| (page.states, page.next_page_token));
        pages.await
    }

    pub async fn unit(&self, name: &str) -> Result<Option<Unit>, Error> {
        found(self.get(&path("units", name), "").await)
    }

    pub async fn explain(&self, name: &str) -> Result<Option<Explanation>, Error> {
        match found(self.get(&path("explain", name), "").await)? {
            // An API that does not know the question has no such path either.
            None if self.unit(name).await?.is_some() => Err(Error::Other(format!(
                "the fleet at {} does not explain: ask one that is Corelab's",
                self.transport.base
            ))),
            found => Ok(found),
        }
    }

    pub async fn create(&self, name: &str, options: &[UnitOption]) -> Result<(), Error> {
        self.put(name, options, JobState::Inactive.name()).await
    }

    pub async fn replace(&self, name: &str, options: &[UnitOption], wanted: JobState) -> Result<(), Error> {
        self.put(name, options, wanted.name()).await
    }

    pub async fn set_wanted(&self, name: &str, wanted: JobState) -> Result<(), Error> {
        self.put(name, &[], wanted.name()).await
    }

    async fn put(&self, name: &str, options: &[UnitOption], wanted: &str) -> Result<(), Error> {
        let unit = Unit {
            name: name.into(),
            desired_state: wanted.into(),
            options: options.to_vec(),
            ..Unit::default()
        };
        let body = serde_json::to_string(&unit).map_err(|error| Error::Other(error.to_string()))?;
        let path = path("units", name);
        self.send(Method::PUT, &path, "", Some(body)).await.map(drop)
    }

    pub async fn destroy(&self, name: &str) -> Result<(), Error> {
        let path = path("units", name);
        self.send(Method::DELETE, &path, "", None).await.map(drop)
    }

    pub async fn tell(&self, machine: &str, duty: Duty) -> Result<(), Error> {
        let path = format!("{}/{}", path("machines", machine), duty.name());
        self.send(Method::POST, &path, "", None).await.map(drop)
    }

    /// All of a list, which comes in pages.
    async fn pages<P: DeserializeOwned, T>(
        &self,
        path: &str,
        open: impl Fn(P) -> (Vec<T>, String),
    ) -> Result<Vec<T>, Error> {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let query = match token.as_str() {
                "" => String::new(),
                token => format!("&nextPageToken={}", escape(token, "", true)),
            };
            let (some, next) = open(self.get(path, &query).await?);
            all.extend(some);
            if next.is_empty() {
                return Ok(all);
            }
            token = next;
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<T, Error> {
        let body = self.send(Method::GET, path, query, None).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let url = &self.transport.base;
            Error::Other(format!("{url}/fleet/v1/{path} answers what fleet does not: {error}"))
        })
    }

    async fn send(&self, method: Method, path: &str, query: &str, body: Option<String>) -> Result<Bytes, Error> {
        let target = format!("/fleet/v1/{path}?alt=json{query}");
        let url = format!("{}{target}", self.transport.base);
        if self.debug {
            say::log("DEBUG", "http", &format!("HTTP {method} {url}"));
        }
        let exchange = self.exchange(method.clone(), &target, body);
        let answer = match self.timeout {
            Some(limit) => match tokio::time::timeout(limit, exchange).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {}s (--request-timeout)", limit.as_secs_f64())),
            },
            None => exchange.await,
        };
        // Go names the method as a word in its errors: Get, Put.
        let word = format!("{}{}", &method.as_str()[..1], method.as_str()[1..].to_lowercase());
        let (status, body) = answer.map_err(|why| Error::Other(format!("{word} {url:?}: {why}")))?;
        if self.debug {
            say::log("DEBUG", "http", &format!("HTTP {method} {url} {status}"));
        }
        if status.is_success() {
            return Ok(body);
        }
        let told = serde_json::from_slice::<ErrorBody>(&body);
        Err(Error::Refused {
            code: status.as_u16(),
            message: told.map(|told| told.error.message).unwrap_or_default(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// One request over a connection of its own.
    async fn exchange(
        &self,
        method: Method,
        target: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Bytes), String> {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(target)
            .header("Host", &self.transport.host);
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|error| error.to_string())?;
        let stream = self.transport.connect().await?;
        let broken = |error: hyper::Error| match error.is_incomplete_message() {
            true => "EOF".to_string(),
            false => crate::client::reason(&error),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let talk = async move {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let status = answer.status();
            let body = answer.into_body().collect().await.map_err(broken)?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(talk, connection);
        tokio::select! {
            answer = &mut talk => answer,
            // The connection may end right behind the answer.
            _ = &mut connection => talk.await,
        }
    }
}

fn path(kind: &str, name: &str) -> String {
    format!("{kind}/{}", escape(name, "", false))
}

fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}
