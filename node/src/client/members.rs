//! The members API, and the health of one endpoint.
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::cluster::{Answer, Client, Request};
use super::error::Error;

/// How long a member may take to find out how it is: longer than an election.
const HEALTH: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Clone, Debug, Deserialize)]
pub struct Member {
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default, rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    #[serde(default, rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Other(format!("the server's answer is not JSON: {error}")))
}

/// The server's message, or else the status.
pub(super) fn refusal(answer: &Answer) -> Error {
    let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let message = body.as_ref().and_then(|body| body["message"].as_str());
    let other = || format!("unexpected status code {}", answer.status);
    Error::Other(message.map_or_else(other, str::to_string))
}

fn unexpected(answer: &Answer) -> Error {
    match answer.status {
        404 | 409 | 412 => refusal(answer),
        status => Error::Other(format!("unexpected status code {status}")),
    }
}

impl Client {
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let answer = self.send(Request::new(Method::GET, "/v2/members")).await?;
        if answer.status != 200 {
            return Err(unexpected(&answer));
        }
        Ok(read::<Members>(&answer.body)?.members)
    }

    pub async fn leader(&self) -> Result<Member, Error> {
        let answer = self.send(Request::new(Method::GET, "/v2/members/leader")).await?;
        if answer.status != 200 {
            return Err(unexpected(&answer));
        }
        read(&answer.body)
    }

    pub async fn add_member(&self, peer_url: &str) -> Result<Member, Error> {
        let request = Request::new(Method::POST, "/v2/members").json(&json!({ "peerURLs": [peer_url] }));
        let answer = self.send(request).await?;
        if answer.status != 201 {
            return Err(unexpected(&answer));
        }
        read(&answer.body)
    }

    /// `force` removes it even if those that stay are too few to go on.
    pub async fn remove_member(&self, id: &str, force: bool) -> Result<(), Error> {
        let mut request = Request::new(Method::DELETE, format!("/v2/members/{id}"));
        if force {
            request.query.push(("force".into(), "true".into()));
        }
        let answer = self.send(request).await?;
        match answer.status {
            204 | 410 => Ok(()),
            _ => Err(unexpected(&answer)),
        }
    }

    pub async fn update_member(&self, id: &str, peer_urls: &[String]) -> Result<(), Error> {
        let request = Request::new(Method::PUT, format!("/v2/members/{id}")).json(&json!({ "peerURLs": peer_urls }));
        let answer = self.send(request).await?;
        match answer.status {
            204 => Ok(()),
            _ => Err(unexpected(&answer)),
        }
    }

    /// Does this endpoint say that it is healthy?
    pub async fn health(&self, endpoint: &str) -> Result<bool, Error> {
        let answer = self
            .send_to(endpoint, &Request::new(Method::GET, "/health"), HEALTH)
            .await?;
        let body: serde_json::Value = read(&answer.body)?;
        Ok(body["health"] == "true" || body["health"] == true)
    }
}
