//! backup and import: what works on a member's files.
use super::{Context, Failure};
use crate::sys::print;

/// Which directories a backup reads and writes.
struct BackupPaths {
    data_dir: String,
    wal_dir: Option<String>,
    backup_dir: String,
    backup_wal_dir: Option<String>,
}

pub fn backup(context: &Context) -> Result<(), Failure> {
    let text = |name: &str| context.command.text(name).map(str::to_string);
    copy(&BackupPaths {
        data_dir: text("data-dir").unwrap_or_default(),
        wal_dir: text("wal-dir"),
        backup_dir: text("backup-dir").unwrap_or_default(),
        backup_wal_dir: text("backup-wal-dir"),
    })
}

/// MERGE: `crate::raft::backup::backup` takes this function's place.
fn copy(paths: &BackupPaths) -> Result<(), Failure> {
    let wal = paths
        .wal_dir
        .clone()
        .unwrap_or_else(|| format!("{}/member/wal", paths.data_dir));
    let target = paths.backup_wal_dir.as_ref().unwrap_or(&paths.backup_dir);
    Err(Failure::usage(&format!(
        "cannot back up {wal} to {target}: this build has no backup"
    )))
}

pub async fn import(context: &Context) -> Result<(), Failure> {
    match context.command.text("snap") {
        None => {
            print("no snapshot file provided (use --snap)\n", "");
            Err(Failure(1, String::new()))
        }
        Some(path) => Err(Failure::usage(&format!(
            "cannot import {path}: this build does not read snapshots of etcd 0.4"
        ))),
    }
}
