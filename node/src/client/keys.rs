//! The keys API: reads, writes and watches.
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::cluster::{Answer, Client, Request, escape_path, form};
use super::error::Error;

/// Between a watch that ended without an event and the next one.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    pub key: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dir: bool,
    pub value: String,
    pub nodes: Option<Vec<Node>>,
    pub created_index: u64,
    pub modified_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Response {
    pub action: String,
    pub node: Option<Node>,
    pub prev_node: Option<Node>,
    #[serde(skip)]
    pub index: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Get {
    pub recursive: bool,
    pub sorted: bool,
    pub quorum: bool,
}

/// What a write depends on and carries.
#[derive(Clone, Debug, Default)]
pub struct Set {
    pub prev_value: Option<String>,
    pub prev_index: u64,
    pub prev_exist: Option<bool>,
    pub ttl: u64,
    pub dir: bool,
    /// Renews the TTL without telling watchers.
    pub refresh: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Delete {
    pub prev_value: Option<String>,
    pub prev_index: u64,
    pub recursive: bool,
    pub dir: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    error_code: u64,
    message: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    index: u64,
}

fn path(key: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in key.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut path = "/v2/keys".to_string();
    for part in parts {
        path = format!("{path}/{}", escape_path(part));
    }
    path
}

fn pair(name: &str, value: impl ToString) -> (String, String) {
    (name.to_string(), value.to_string())
}

fn response(answer: Answer) -> Result<Response, Error> {
    if matches!(answer.status, 200 | 201) {
        let response = serde_json::from_slice::<Response>(&answer.body);
        let mut response =
            response.map_err(|error| Error::Other(format!("the server's answer is not JSON: {error}")))?;
        response.index = answer.index;
        return Ok(response);
    }
    let refusal: Refusal = serde_json::from_slice(&answer.body)
        .map_err(|_| Error::Other(format!("unexpected status code {}", answer.status)))?;
    Err(Error::Etcd {
        code: refusal.error_code,
        message: refusal.message,
        cause: refusal.cause,
        index: refusal.index,
    })
}

impl Client {
    async fn keys(&self, request: Request) -> Result<Response, Error> {
        response(self.send(request).await?)
    }

    pub async fn get(&self, key: &str, get: &Get) -> Result<Response, Error> {
        let mut request = Request::new(Method::GET, path(key));
        request.query = vec![
            pair("quorum", get.quorum),
            pair("recursive", get.recursive),
            pair("sorted", get.sorted),
        ];
        self.keys(request).await
    }

    /// Writes a key; with `prev_*`, only if they hold: create, update and compare-and-swap in one.
    pub async fn set(&self, key: &str, value: &str, set: &Set) -> Result<Response, Error> {
        let mut request = Request::new(Method::PUT, path(key));
        if set.dir {
            request.query.push(pair("dir", true));
        }
        if let Some(exist) = set.prev_exist {
            request.query.push(pair("prevExist", exist));
        }
        if set.prev_index != 0 {
            request.query.push(pair("prevIndex", set.prev_index));
        }
        if let Some(value) = set.prev_value.as_deref().filter(|value| !value.is_empty()) {
            request.query.push(pair("prevValue", value));
        }
        if set.refresh {
            request.query.push(pair("refresh", true));
        }
        let mut body = Vec::new();
        if set.ttl > 0 {
            body.push(pair("ttl", set.ttl));
        }
        if !set.dir && !set.refresh {
            body.push(pair("value", value));
        }
        request.body = Some(("application/x-www-form-urlencoded", form(&body)));
        self.keys(request).await
    }

    pub async fn create_in_order(&self, dir: &str, value: &str, ttl: u64) -> Result<Response, Error> {
        let mut request = Request::new(Method::POST, path(dir));
        let mut body = Vec::new();
        if ttl > 0 {
            body.push(pair("ttl", ttl));
        }
        body.push(pair("value", value));
        request.body = Some(("application/x-www-form-urlencoded", form(&body)));
        self.keys(request).await
    }

    pub async fn delete(&self, key: &str, delete: &Delete) -> Result<Response, Error> {
        let mut request = Request::new(Method::DELETE, path(key));
        if delete.dir {
            request.query.push(pair("dir", true));
        }
        if delete.prev_index != 0 {
            request.query.push(pair("prevIndex", delete.prev_index));
        }
        if let Some(value) = delete.prev_value.as_deref().filter(|value| !value.is_empty()) {
            request.query.push(pair("prevValue", value));
        }
        if delete.recursive {
            request.query.push(pair("recursive", true));
        }
        self.keys(request).await
    }

    /// Follows all below a key over one connection, from the index after `after` on, for who follows so much that a
    /// request for each change is too many. A server that says nothing of a change is not noticed here.
    pub async fn stream(&self, key: &str, after: u64) -> Result<Stream, Error> {
        let mut request = Request::new(Method::GET, path(key));
        request.query = ["recursive", "wait", "stream"].map(|name| pair(name, true)).into();
        if after > 0 {
            request.query.push(pair("waitIndex", after + 1));
        }
        let answer = match self.open(request).await? {
            Ok(answer) => answer,
            Err(refused) => return response(refused).and_then(|_| Err(Error::Other("the watch was answered".into()))),
        };
        Ok(Stream {
            answer,
            buffer: Vec::new(),
        })
    }

    /// Follows a key from the index after `after` on; 0 is from now on.
    pub fn watch<'a>(&'a self, key: &str, recursive: bool, after: u64) -> Watcher<'a> {
        Watcher {
            client: self,
            path: path(key),
            recursive,
            next: if after > 0 { after + 1 } else { 0 },
            under_way: false,
        }
    }
}

pub struct Watcher<'a> {
    client: &'a Client,
    path: String,
    recursive: bool,
    next: u64,
    /// A server has accepted the watch before.
    under_way: bool,
}

/// A watch that goes on over one connection.
pub struct Stream {
    answer: reqwest::Response,
    buffer: Vec<u8>,
}

/// What a watch tells of a key.
#[derive(Debug, Deserialize)]
pub struct Change {
    pub action: String,
    pub node: Node,
}

impl Stream {
    /// The next changes, all that have come; None once the server has ended the watch.
    pub async fn next(&mut self) -> Result<Option<Vec<Change>>, Error> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Change>();
            let mut changes = Vec::new();
            let mut used = 0;
            let wrong = loop {
                match values.next() {
                    Some(Ok(change)) => changes.push(change),
                    Some(Err(error)) if error.is_eof() => break false,
                    Some(Err(_)) => break true,
                    None => break false,
                }
                used = values.byte_offset();
            };
            self.buffer.drain(..used);
            if !changes.is_empty() {
                return Ok(Some(changes));
            }
            if wrong {
                // A refusal in the place of a change, or no JSON at all.
                let refused = Answer {
                    status: 400,
                    index: 0,
                    body: std::mem::take(&mut self.buffer),
                };
                return response(refused).map(|_| None);
            }
            match self.answer.chunk().await {
                Ok(Some(bytes)) => self.buffer.extend_from_slice(&bytes),
                Ok(None) => return Ok(None),
                Err(error) => return Err(Error::Other(super::reason(&error))),
            }
        }
    }
}

impl Watcher<'_> {
    /// The next event; goes on where the last one was.
    pub async fn next(&mut self) -> Result<Response, Error> {
        loop {
            let mut request = Request::new(Method::GET, self.path.clone());
            request.query = vec![pair("recursive", self.recursive), pair("wait", true)];
            if self.next > 0 {
                request.query.push(pair("waitIndex", self.next));
            }
            let ended_at = match self.client.send(request).await {
                Ok(answer) if answer.body.is_empty() && matches!(answer.status, 200 | 201) => answer.index,
                Ok(answer) => {
                    let response = response(answer)?;
                    if let Some(node) = &response.node {
                        self.next = node.modified_index + 1;
                    }
                    self.under_way = true;
                    return Ok(response);
                }
                Err(Error::CutOff { index, .. }) => index,
                Err(error) => return Err(error),
            };
            // Nothing had happened up to where this one began. The next one begins right after that, wherever it is
            // sent: "from now on" would miss what happens in between.
            self.next = self.next.max(ended_at + 1);
            self.under_way = true;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// After `error`, which says that the server has forgotten what is asked for: goes on with the oldest change that
    /// it knows. Returns the indexes that are skipped; none for another error, and for a watch that never began, whose
    /// index its user chose.
    pub fn skip_forgotten(&mut self, error: &Error) -> Option<std::ops::RangeInclusive<u64>> {
        let Error::Etcd {
            code: 401,
            cause,
            index,
            ..
        } = error
        else {
            return None;
        };
        if !self.under_way {
            return None;
        }
        let oldest = oldest(cause).unwrap_or(index + 1);
        let missed = self.next..=oldest.saturating_sub(1);
        self.next = oldest;
        Some(missed)
    }
}

/// "the requested history has been cleared [OLDEST/ASKED]"
fn oldest(cause: &str) -> Option<u64> {
    let (_, numbers) = cause.rsplit_once('[')?;
    let (oldest, _) = numbers.split_once('/')?;
    oldest.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cluster::Options;

    fn client() -> Client {
        let options = Options {
            endpoints: vec!["http://127.0.0.1:1".into()],
            tls: Default::default(),
            user: None,
            header_timeout: PAUSE,
            trace: None,
        };
        Client::new(options).unwrap()
    }

    fn outdated(cause: &str) -> Error {
        Error::Etcd {
            code: 401,
            message: "The event in requested index is outdated and cleared".into(),
            cause: cause.into(),
            index: 60,
        }
    }

    #[test]
    fn a_watch_that_fell_behind_goes_on_with_the_oldest_change_and_knows_what_it_missed() {
        let client = client();
        let mut watcher = client.watch("/a", false, 9);
        let error = outdated("the requested history has been cleared [41/10]");
        assert_eq!(watcher.skip_forgotten(&error), None, "its user asked for that index");
        watcher.under_way = true;
        assert_eq!(watcher.skip_forgotten(&error), Some(10..=40));
        assert_eq!(watcher.next, 41);
        watcher.next = 10;
        assert_eq!(watcher.skip_forgotten(&outdated("in other words")), Some(10..=60));
        assert_eq!(watcher.next, 61);
        assert_eq!(watcher.skip_forgotten(&Error::Deadline), None);
    }
}
