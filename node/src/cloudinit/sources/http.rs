//! HTTP as the original does it: a GET may take 10 seconds, and is tried again while the server fails.
use std::fmt;
use std::time::Duration;

use crate::client::reason;
use crate::cloudinit::log::say;
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(10);
const TRIES: u32 = 15;
const BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server says that there is no such thing.
    NotFound(String),
    /// Trying again may help.
    Passing(String),
    Final(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Error::NotFound(text) | Error::Passing(text) | Error::Final(text)) = self;
        f.write_str(text)
    }
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Once. Redirects are followed.
pub async fn get(url: &str, headers: Headers<'_>) -> Result<Vec<u8>, Error> {
    let tls = tls::client::config(&tls::Files::default()).map_err(Error::Final)?;
    let client = reqwest::Client::builder()
        .use_preconfigured_tls(tls)
        .timeout(TIMEOUT)
        .build();
    let client = client.map_err(|error| Error::Final(error.to_string()))?;
    let request = headers
        .iter()
        .fold(client.get(url), |request, (name, value)| request.header(*name, *value));
    let failed =
        |error: reqwest::Error| Error::Passing(format!("Unable to fetch data: Get {url:?}: {}", reason(&error)));
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    match status / 100 {
        2 => Ok(answer.bytes().await.map_err(failed)?.to_vec()),
        4 => Err(Error::NotFound(format!("Not found. HTTP status code: {status}"))),
        5 => Err(Error::Passing(format!("Server error. HTTP status code: {status}"))),
        _ => Err(Error::Final(format!("Unknown error. HTTP status code: {status}"))),
    }
}

pub async fn get_retry(url: &str) -> Result<Vec<u8>, Error> {
    get_retry_with(url, &[]).await
}

/// Up to 15 times, with longer and longer pauses.
pub async fn get_retry_with(url: &str, headers: Headers<'_>) -> Result<Vec<u8>, Error> {
    if url.is_empty() {
        return Err(Error::Final("URL is empty. Skipping.".into()));
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Error::Final(format!(
            "URL {url} does not have a valid HTTP scheme. Skipping."
        )));
    }
    let mut pause = BACKOFF;
    for attempt in 1..=TRIES {
        say(&format!("Fetching data from {url}. Attempt #{attempt}"));
        match get(url, headers).await {
            Err(Error::Passing(why)) => say(&why),
            other => return other,
        }
        pause = (pause * 2).min(MAX_BACKOFF);
        say(&format!("Sleeping for {pause:?}..."));
        tokio::time::sleep(pause).await;
    }
    Err(Error::Final(format!(
        "Unable to fetch data. Maximum retries reached: {TRIES}"
    )))
}

/// Nothing where there is nothing.
pub async fn fetch(url: &str, headers: Headers<'_>) -> Result<Vec<u8>, String> {
    match get_retry_with(url, headers).await {
        Ok(data) => Ok(data),
        Err(Error::NotFound(_)) => Ok(Vec::new()),
        Err(error) => Err(error.to_string()),
    }
}
