//! What a running cluster says of itself at its members' peer URLs.
use std::time::Duration;

use super::cluster::MemberInfo;
use crate::client;

/// How long a peer has to say who its members are.
const PATIENCE: Duration = Duration::from_secs(1);
const MAX_ANSWER: u64 = 16 << 20;

pub struct Remote(reqwest::Client);

/// A cluster as one of its members knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub cluster_id: u64,
    pub members: Vec<MemberInfo>,
}

impl Remote {
    pub fn new(client: reqwest::Client) -> Remote {
        Remote(client)
    }

    /// Asks one peer URL after the other. The error says what each of them answered.
    pub async fn members(&self, urls: &[&str]) -> Result<Known, String> {
        let mut errors = Vec::new();
        for url in urls {
            match tokio::time::timeout(PATIENCE, self.ask(url)).await {
                Ok(Ok(known)) => return Ok(known),
                Ok(Err(error)) => errors.push(format!("{url}: {error}")),
                Err(_) => errors.push(format!("{url}: no answer within {PATIENCE:?}")),
            }
        }
        Err(errors.join("; "))
    }

    async fn ask(&self, url: &str) -> Result<Known, String> {
        known(self.get(url).await?).await
    }

    /// Asks one peer URL; whoever is there may answer anything.
    pub async fn get(&self, url: &str) -> Result<reqwest::Response, String> {
        let url = format!("{}/members", url.trim_end_matches('/'));
        self.0.get(url).send().await.map_err(|error| client::reason(&error))
    }
}

/// Reads what a member answers.
pub async fn known(answer: reqwest::Response) -> Result<Known, String> {
    if !answer.status().is_success() || answer.content_length().is_some_and(|len| len > MAX_ANSWER) {
        return Err(format!(
            "it is no peer URL of an etcd member (answer {})",
            answer.status()
        ));
    }
    let cluster_id = answer.headers().get("X-Etcd-Cluster-Id");
    let cluster_id = cluster_id.and_then(|id| u64::from_str_radix(id.to_str().ok()?, 16).ok());
    let body = answer.bytes().await.map_err(|error| client::reason(&error))?;
    let members = serde_json::from_slice(&body).map_err(|_| "its list of members is unreadable".to_string())?;
    let cluster_id = cluster_id.ok_or("it does not say which cluster it is of")?;
    Ok(Known { cluster_id, members })
}
