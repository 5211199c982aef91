//! Discovery tokens: which one a cluster has, and how it is fetched.
//!
//! A token belongs to one generation of a lab. Nodes that live keep theirs, whatever is typed; nodes that are made from
//! nothing get a fresh one: a used token knows members that are gone.
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Discovery;
use crate::failure::{Exit, Failure};

pub const PUBLIC: &str = "https://discovery.etcd.io/new";
/// A service that has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// A token that was given out, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub url: String,
    /// The service that it is of, or itself.
    pub from: String,
    pub size: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Keep(Token),
    /// From this service.
    Fetch(String),
    /// The URL is the token.
    Given(String),
    /// Nobody needs one.
    Nothing,
    /// Living nodes have another one.
    Conflict(Token),
}

/// Which token the nodes get. `living`: there are nodes, running or not, that were made with the kept one.
pub fn decide(kept: Option<&Token>, living: bool, wanted: &Discovery) -> Decision {
    let wanted = match wanted {
        Discovery::Own | Discovery::None => None,
        Discovery::Public => Some(PUBLIC),
        Discovery::Url(url) => Some(url.as_str()),
    };
    match (kept.filter(|_| living), wanted) {
        (Some(kept), Some(wanted)) if kept.from == wanted => Decision::Keep(kept.clone()),
        (Some(kept), _) => Decision::Conflict(kept.clone()),
        (None, None) => Decision::Nothing,
        (None, Some(url)) if is_service(url) => Decision::Fetch(url.to_string()),
        (None, Some(url)) => Decision::Given(url.to_string()),
    }
}

/// Does the URL hand out tokens, or is it one?
fn is_service(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.trim_end_matches('/').ends_with("/new")
}

/// What is asked of a service for a cluster of that size.
fn request(service: &str, size: u8) -> String {
    match service.split_once('?') {
        Some((_, query)) if query.split('&').any(|pair| pair.starts_with("size=")) => service.to_string(),
        Some(_) => format!("{service}&size={size}"),
        None => format!("{service}?size={size}"),
    }
}

/// The token in a service's answer: a URL and nothing else.
fn read(status: u16, body: &str) -> Result<String, String> {
    let text = body.trim();
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    match status == 200 && is_url && !text.contains(char::is_whitespace) {
        true => Ok(text.to_string()),
        false => {
            let begin: String = text.chars().take(200).collect();
            Err(format!("it answered {status} and no token: {begin}"))
        }
    }
}

pub fn fetch(service: &str, size: u8) -> Result<Token, Failure> {
    let url = request(service, size);
    let failure = |exit: Exit, why: String| {
        let what = format!("no token for {size} members");
        let todo = "lab token --url URL for another service; `discovery: own` in lab.yaml needs none from outside";
        Failure::new(exit, what, &url, why, todo)
    };
    let answer = crate::http::text(&url, PATIENCE).map_err(|error| {
        let exit = if error.is_timeout { Exit::Timeout } else { Exit::Failed };
        failure(exit, error.why)
    })?;
    let token = read(answer.0, &answer.1).map_err(|why| failure(Exit::Failed, why))?;
    Ok(Token {
        url: token,
        from: service.to_string(),
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "http://10.0.0.1:8087/new";

    fn token() -> Token {
        Token {
            url: "http://10.0.0.1:8087/abc".into(),
            from: SERVICE.into(),
            size: 3,
        }
    }

    #[test]
    fn living_nodes_keep_their_token_and_new_ones_get_a_fresh_one() {
        let wanted = Discovery::Url(SERVICE.into());
        assert_eq!(decide(None, false, &wanted), Decision::Fetch(SERVICE.into()));
        assert_eq!(decide(Some(&token()), true, &wanted), Decision::Keep(token()));
        assert_eq!(
            decide(Some(&token()), false, &wanted),
            Decision::Fetch(SERVICE.into()),
            "never used again"
        );
        assert_eq!(
            decide(Some(&token()), true, &Discovery::Public),
            Decision::Conflict(token())
        );
        assert_eq!(
            decide(Some(&token()), true, &Discovery::None),
            Decision::Conflict(token())
        );
        assert_eq!(decide(Some(&token()), false, &Discovery::Own), Decision::Nothing);
        assert_eq!(decide(None, false, &Discovery::Public), Decision::Fetch(PUBLIC.into()));
    }

    #[test]
    fn a_url_that_ends_in_new_is_a_service_and_any_other_a_token() {
        for (url, service) in [
            ("http://h/new", true),
            ("http://h/new/?size=3", true),
            ("http://h/new?size=3", true),
            ("http://h/renew", false),
            ("http://h/v2/keys/discovery/abc", false),
        ] {
            assert_eq!(is_service(url), service, "{url}");
        }
        let given = Decision::Given("http://h/abc".into());
        assert_eq!(decide(None, false, &Discovery::Url("http://h/abc".into())), given);
    }

    #[test]
    fn the_size_is_asked_for_unless_the_url_has_one() {
        assert_eq!(request("http://h/new", 3), "http://h/new?size=3");
        assert_eq!(request("http://h/new?size=5", 3), "http://h/new?size=5");
        assert_eq!(request("http://h/new?a=b", 3), "http://h/new?a=b&size=3");
    }

    #[test]
    fn an_answer_is_a_token_only_if_it_is_a_url() {
        assert_eq!(read(200, "http://h/abc\n"), Ok("http://h/abc".into()));
        for (status, body) in [(200, "<html>"), (500, "http://h/abc"), (200, ""), (200, "http://h/a b")] {
            assert!(read(status, body).is_err(), "{status} {body}");
        }
    }
}
