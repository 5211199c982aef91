//! Where catalogs and boxes are: a path, a `file://` or an HTTP address.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::catalog::{self, Catalog};
use crate::http;

/// A catalog is small: a service that has not sent it by then will not.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    Url(String),
}

impl Source {
    pub fn parse(text: &str) -> Source {
        match text.split_once("://") {
            Some(("http" | "https", _)) => Source::Url(text.to_string()),
            Some(("file", path)) => Source::File(path.into()),
            _ => Source::File(text.into()),
        }
    }

    /// What a catalog at this place means by `text`.
    pub fn join(&self, text: &str) -> Result<Source, String> {
        if text.contains("://") || text.starts_with('/') && matches!(self, Source::File(_)) {
            return Ok(Source::parse(text));
        }
        match self {
            Source::File(path) => Ok(Source::File(path.parent().unwrap_or(Path::new(".")).join(text))),
            Source::Url(url) => {
                let joined = reqwest::Url::parse(url).and_then(|url| url.join(text));
                joined
                    .map(|url| Source::Url(url.to_string()))
                    .map_err(|error| format!("{text}: {error}"))
            }
        }
    }

    /// For later, from any directory.
    pub fn absolute(&self) -> String {
        match self {
            Source::File(path) => fs::canonicalize(path)
                .unwrap_or_else(|_| path.clone())
                .display()
                .to_string(),
            Source::Url(url) => url.clone(),
        }
    }

    /// The catalog there; none, if it is something else.
    pub fn catalog(&self) -> Result<Option<Catalog>, String> {
        let bytes = match self {
            Source::File(path) => {
                let mut begin = [0; 64];
                let read = fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut begin));
                let length = read.map_err(|error| error.to_string())?;
                match catalog::is_catalog(&begin[..length]) {
                    true => fs::read(path).map_err(|error| error.to_string())?,
                    false => return Ok(None),
                }
            }
            Source::Url(url) if is_box(url) => return Ok(None),
            Source::Url(url) => match http::text(url, PATIENCE).map_err(|error| error.why)? {
                (200, text) => text.into_bytes(),
                (status, _) => return Err(format!("it answered {status}")),
            },
        };
        if !catalog::is_catalog(&bytes) {
            return Err("it is no catalog: JSON with name and versions is expected".to_string());
        }
        catalog::read(&String::from_utf8_lossy(&bytes)).map(Some)
    }
}

/// Gigabytes are not fetched to see what they begin with.
fn is_box(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    [".box", ".tar", ".tar.gz", ".tgz"]
        .iter()
        .any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalogs_addresses_may_be_relative_to_it() {
        let file = Source::parse("/boxes/x.json");
        assert_eq!(file.join("a/1.box"), Ok(Source::File("/boxes/a/1.box".into())));
        assert_eq!(file.join("/b/1.box"), Ok(Source::File("/b/1.box".into())));
        let url = Source::parse("http://h/boxes/x.json?y");
        assert_eq!(url.join("a/1.box"), Ok(Source::Url("http://h/boxes/a/1.box".into())));
        assert_eq!(url.join("/1.box"), Ok(Source::Url("http://h/1.box".into())));
        assert_eq!(url.join("file:///b/1.box"), Ok(Source::File("/b/1.box".into())));
    }

    #[test]
    fn boxes_are_told_from_catalogs_by_their_name() {
        assert!(is_box("http://h/a.box?token=1") && is_box("http://h/a.tar.gz"));
        assert!(!is_box("http://h/a.json") && !is_box("http://h/mine"));
    }
}
