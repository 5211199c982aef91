//! A running cluster's members changed from outside, through its clients' API: who joins has no other way in.
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::client::reason;
use crate::etcd::ids;
use crate::etcd::remote::Known;
use crate::log;

/// Longer than a member looks for a quorum before it gives up.
const ANSWER: Duration = Duration::from_secs(10);

/// Has members removed, as far as the cluster lets them go, and this one added.
pub async fn join(http: &reqwest::Client, known: &Known, remove: &[u64], own: &[String]) -> Result<(), String> {
    for id in remove {
        let id = ids::hex(*id);
        match ask(http, known, Method::DELETE, &format!("/{id}"), None).await {
            Ok(204) => log::notice!(
                "discovery",
                "removed member {id}: its instance is gone, or this one took its place"
            ),
            // Somebody else was faster.
            Ok(_) => {}
            Err(why) => log::warning!("discovery", "cannot remove member {id}, which is gone: {why}"),
        }
    }
    let body = json!({ "peerURLs": own }).to_string();
    let added = ask(http, known, Method::POST, "", Some(body)).await;
    added.map_err(|why| {
        format!(
            "the cluster {} does not add this member: {why}",
            ids::hex(known.cluster_id)
        )
    })?;
    log::notice!(
        "discovery",
        "added {} to the cluster {}",
        own.join(","),
        ids::hex(known.cluster_id)
    );
    Ok(())
}

/// Asks one member after the other, until one knows. A member to be removed may be gone already.
async fn ask(
    http: &reqwest::Client,
    known: &Known,
    method: Method,
    rest: &str,
    body: Option<String>,
) -> Result<u16, String> {
    let mut errors = Vec::new();
    for base in known.members.iter().flat_map(|member| &member.client_urls) {
        let url = format!("{}/v2/members{rest}", base.trim_end_matches('/'));
        let mut request = http.request(method.clone(), &url).timeout(ANSWER);
        if let Some(body) = &body {
            request = request.header("Content-Type", "application/json").body(body.clone());
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                errors.push(format!("{method} {url}: {}", reason(&error)));
                continue;
            }
        };
        let status = answer.status().as_u16();
        match status {
            201 | 204 => return Ok(status),
            404 | 410 if method == Method::DELETE => return Ok(status),
            _ => {}
        }
        let text = answer.text().await.unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let message = json["message"].as_str().unwrap_or_default().to_string();
        let error = format!("{method} {url} is answered with {status} {message}");
        match status {
            401 => {
                return Err(format!(
                    "{error}: users are enabled, so add it as root: etcdctl --username root member add NAME PEER-URL"
                ));
            }
            400..500 => return Err(error),
            _ => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Err("no member has told its client URLs yet".into()),
        false => Err(errors.join("; ")),
    }
}
