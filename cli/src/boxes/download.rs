//! Gets a file by HTTP, and goes on where an earlier attempt stopped.
//!
//! `NAME.part` holds what has arrived, `NAME.tag` the server's tag of that very file: with `If-Range` a server that has
//! another one by now sends it from its beginning.
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Response, StatusCode};
use sha2::{Digest, Sha256};

use crate::http;

/// Nothing at all for that long: the server is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// A file that has arrived, and goes away unless it is kept.
pub struct Download {
    path: PathBuf,
    tag: PathBuf,
}

impl Download {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It has been used, or is wrong.
    pub fn remove(&self) {
        for path in [&self.path, &self.tag] {
            let _ = fs::remove_file(path);
        }
    }
}

/// `progress` is told how much there is, and of how much.
pub fn get(url: &str, dir: &Path, progress: impl Fn(u64, Option<u64>)) -> Result<Download, String> {
    let digest = Sha256::digest(url.as_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let download = Download {
        path: dir.join(format!("{name}.part")),
        tag: dir.join(format!("{name}.tag")),
    };
    let client = http::client()?;
    http::block_on(async {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let have = fs::metadata(&download.path).map_or(0, |metadata| metadata.len());
        let tag = fs::read_to_string(&download.tag).ok().filter(|_| have > 0);
        let mut request = client.get(url);
        if let Some(tag) = &tag {
            request = request.header(RANGE, format!("bytes={have}-")).header(IF_RANGE, tag);
        }
        let mut answer = request.send().await.map_err(|error| http::reason(&error))?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // It has arrived as a whole already, or has become shorter.
            answer = client.get(url).send().await.map_err(|error| http::reason(&error))?;
        }
        let from = match answer.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(answer.headers(), have) => have,
            StatusCode::OK => 0,
            status => return Err(format!("it answered {status}")),
        };
        store(answer, &download, from, progress).await
    })?;
    Ok(download)
}

fn begins_at(headers: &HeaderMap, at: u64) -> bool {
    let range = headers.get("content-range").and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}

async fn store(
    mut answer: Response,
    download: &Download,
    from: u64,
    progress: impl Fn(u64, Option<u64>),
) -> Result<(), String> {
    let disk = |error: io::Error| format!("{}: {error}", download.path.display());
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&download.path)
        .map_err(disk)?;
    file.set_len(from).map_err(disk)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(from)).map_err(disk)?;
    // A weak tag does not promise the same bytes.
    let tags = [ETAG, LAST_MODIFIED]
        .into_iter()
        .filter_map(|name| answer.headers().get(name)?.to_str().ok());
    let tag = tags.map(String::from).find(|tag| !tag.starts_with("W/"));
    match tag {
        Some(tag) => fs::write(&download.tag, tag).map_err(disk)?,
        None => drop(fs::remove_file(&download.tag)),
    }
    let total = answer.content_length().map(|rest| from + rest);
    let mut have = from;
    loop {
        let next = tokio::time::timeout(SILENCE, answer.chunk()).await;
        let next = next.map_err(|_| format!("nothing has come for {} s", SILENCE.as_secs()))?;
        let chunk = next.map_err(|error| {
            format!(
                "it stopped after {have} bytes, which are kept: {}",
                http::reason(&error)
            )
        })?;
        let Some(chunk) = chunk else { break };
        file.write_all(&chunk).map_err(disk)?;
        have += chunk.len() as u64;
        progress(have, total);
    }
    match total.is_none_or(|total| total == have) {
        true => Ok(()),
        false => Err(format!("it stopped after {have} bytes, which are kept")),
    }
}
