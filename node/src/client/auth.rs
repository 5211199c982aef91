//! The auth API: users, roles, and whether they count.
use reqwest::Method;
use serde_json::{Value, json};

use super::cluster::{Client, Request, escape_path};
use super::error::Error;
use super::members::refusal;

impl Client {
    /// Calls `/v2/auth/PATH`; an answer without a body is `null`.
    async fn auth(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Error> {
        let mut request = Request::new(method, format!("/v2/auth/{}", escape_path(path)));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = self.send(request).await?;
        if !matches!(answer.status, 200 | 201) {
            return Err(refusal(&answer));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| Error::Other(format!("the server's answer is not JSON: {error}")))
    }

    pub async fn enable_auth(&self, enable: bool) -> Result<(), Error> {
        let method = if enable { Method::PUT } else { Method::DELETE };
        self.auth(method, "enable", None).await.map(drop)
    }

    /// `kind` is "users" or "roles".
    pub async fn auth_list(&self, kind: &str) -> Result<Vec<String>, Error> {
        let list = self.auth(Method::GET, kind, None).await?;
        let field = kind.trim_end_matches('s');
        let names = list[kind].as_array().cloned().unwrap_or_default();
        let name = |entry: &Value| entry.as_str().or(entry[field].as_str()).map(str::to_string);
        Ok(names.iter().filter_map(name).collect())
    }

    pub async fn auth_get(&self, kind: &str, name: &str) -> Result<Value, Error> {
        self.auth(Method::GET, &format!("{kind}/{name}"), None).await
    }

    pub async fn auth_remove(&self, kind: &str, name: &str) -> Result<(), Error> {
        self.auth(Method::DELETE, &format!("{kind}/{name}"), None)
            .await
            .map(drop)
    }

    /// Creates or changes a user: `change` has `password`, `grant` or `revoke`.
    pub async fn put_user(&self, name: &str, mut change: Value) -> Result<Value, Error> {
        change["user"] = json!(name);
        self.auth(Method::PUT, &format!("users/{name}"), Some(change)).await
    }

    /// Creates or changes a role: `change` has `permissions`, `grant` or `revoke`.
    pub async fn put_role(&self, name: &str, mut change: Value) -> Result<Value, Error> {
        change["role"] = json!(name);
        self.auth(Method::PUT, &format!("roles/{name}"), Some(change)).await
    }
}
