//! backup: a copy of a member's data that can be started as a member of its own.
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Context, Failure};
use crate::client::cluster::Client;
use crate::log::{self, Level};
use crate::raft::backup::{self, DataDir};

pub async fn run(context: &Context) -> Result<(), Failure> {
    let dir = |name: &str, wal: &str| DataDir {
        data_dir: context.command.text(name).unwrap_or_default().into(),
        wal_dir: context.command.text(wal).map(Into::into),
    };
    let to = dir("backup-dir", "backup-wal-dir");
    if context.command.is("online") {
        if context.command.text("backup-dir").is_none() {
            return Err(Failure::usage("Error:  backup-dir required"));
        }
        let client = context.client().await?;
        let made = backup::backup_online(&to, async |file| fetch(&client, file).await);
        return made.await.map_err(|error| failure(&error));
    }
    let from = dir("data-dir", "wal-dir");
    // A directory that is copied onto itself has its snap directory made first: so it is the log that is missed.
    if !from.snap().is_dir() && from.snap() != to.snap() {
        return Err(missing(&from.snap()));
    }
    if !from.wal().is_dir() {
        return Err(missing(&from.wal()));
    }
    backup::backup(&from, &to).map_err(|error| failure(&error))
}

async fn fetch(client: &Client, path: &Path) -> io::Result<()> {
    let mut answer = client.download("/v2/backup").await.map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    while let Some(piece) = answer.chunk().await.map_err(io::Error::other)? {
        file.write_all(&piece)?;
    }
    Ok(())
}

fn missing(dir: &Path) -> Failure {
    failure(&format!("open {}: no such file or directory", dir.display()))
}

fn failure(what: &dyn std::fmt::Display) -> Failure {
    Failure(1, log::line(Level::Info, &what.to_string()))
}
