//! The instance's metadata service (IMDSv2): who this instance is, where it is, and its role's credentials.
use std::time::Duration;

use serde::Deserialize;

use super::credentials::{Credentials, Environment};
use crate::client::reason;
use crate::tls;

const BASE: &str = "http://169.254.169.254";
/// It is on the same host: where it does not answer soon, there is none.
const PATIENCE: Duration = Duration::from_secs(1);
const TOKEN_SECONDS: &str = "300";

pub struct Metadata {
    /// None: not to be asked.
    base: Option<String>,
    http: reqwest::Client,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleKeys {
    access_key_id: String,
    secret_access_key: String,
    token: String,
}

impl Metadata {
    pub fn new(environment: &Environment) -> Result<Metadata, String> {
        let disabled = environment.get("AWS_EC2_METADATA_DISABLED");
        let disabled = disabled.is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let base = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(BASE);
        let base = base.trim_end_matches('/').to_string();
        Ok(Metadata {
            base: (!disabled).then_some(base),
            http: crate::client::http(&tls::Files::default())?,
        })
    }

    /// None where nobody answers: not every machine is an instance.
    pub async fn instance_id(&self) -> Option<String> {
        self.read("instance-id").await.ok()
    }

    pub async fn region(&self) -> Result<String, String> {
        self.read("placement/region").await
    }

    pub async fn credentials(&self) -> Result<Credentials, String> {
        let roles = self.read("iam/security-credentials/").await?;
        let role = roles.lines().next().unwrap_or_default().trim();
        let text = self.read(&format!("iam/security-credentials/{role}")).await?;
        let keys: RoleKeys = serde_json::from_str(&text)
            .map_err(|_| format!("the metadata service has no keys for the role {role:?}"))?;
        Ok(Credentials {
            source: format!("the instance's role {role:?}"),
            ..Credentials::new(&keys.access_key_id, &keys.secret_access_key, Some(&keys.token))
        })
    }

    async fn read(&self, path: &str) -> Result<String, String> {
        let base = self
            .base
            .as_ref()
            .ok_or("the metadata service is not asked (AWS_EC2_METADATA_DISABLED)")?;
        match tokio::time::timeout(PATIENCE, self.ask(base, path)).await {
            Ok(answer) => answer.map_err(|why| format!("the metadata service at {base}: {why}")),
            Err(_) => Err(format!("the metadata service at {base} does not answer")),
        }
    }

    async fn ask(&self, base: &str, path: &str) -> Result<String, String> {
        let token = self
            .http
            .put(format!("{base}/latest/api/token"))
            .header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS);
        let token = text(token, "a token").await?;
        let url = format!("{base}/latest/meta-data/{path}");
        text(self.http.get(url).header("X-aws-ec2-metadata-token", token), path).await
    }
}

async fn text(request: reqwest::RequestBuilder, what: &str) -> Result<String, String> {
    let answer = request.send().await.map_err(|error| reason(&error))?;
    if !answer.status().is_success() {
        return Err(format!("it answers {} to the question for {what}", answer.status()));
    }
    answer.text().await.map_err(|error| reason(&error))
}
