//! A moment of all nodes to come back to: their disks, and what their systemd ran.
//!
//! ```text
//! STATE/ID/checkpoints/NAME/NODE/upper      a copy of the disk; no such directory: the node had none
//!                                run.tar    units and states that are gone with a reboot
//!                                units      those that were active, one a line; no such file: the node was down
//! ```
//! Processes are not kept: units that were active are started again.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::inside;
use super::node::Node;
use super::protocol::State;

const PATIENCE: Duration = Duration::from_secs(30);
/// What cannot be ready without others is not waited for longer.
const READY: Duration = Duration::from_secs(20);
const UNITS: &[&str] = &[
    "systemctl",
    "list-units",
    "--state=active",
    "--type=service,socket,timer",
    "--plain",
    "--no-legend",
    "--no-pager",
    "--full",
];
const PACK: &[&str] = &[
    "tar",
    "--create",
    "--file=-",
    "--directory=/run",
    "--ignore-failed-read",
    "--warning=none",
    "systemd/system",
    "fleet",
];
/// With the units on its input, after the archive was unpacked.
const START: &str = r#"
systemctl daemon-reload
missing=
while read -r unit; do
    systemctl is-active --quiet $unit || missing="$missing $unit"
done
# What follows is to find them as they were; what needs others of its cluster starts there at the same time.
[ -z "$missing" ] || timeout 10 systemctl start $missing || :
"#;

pub async fn save(dir: &Path, nodes: &[Arc<Node>]) -> io::Result<()> {
    let making = dir.with_extension("new");
    let _ = fs::remove_dir_all(&making);
    fs::create_dir_all(&making)?;
    let nodes: Vec<Arc<Node>> = nodes.iter().filter(|node| node.disk.exists()).cloned().collect();
    let mut running = Vec::new();
    for node in &nodes {
        let place = making.join(&node.spec.name);
        fs::create_dir_all(&place)?;
        if let Ok(pid) = node.runs().await {
            running.push(node.clone());
            let units = inside::must(pid, UNITS, PATIENCE).await?;
            let names: Vec<&str> = units
                .lines()
                .filter_map(|line| line.split_whitespace().next())
                .collect();
            fs::write(place.join("units"), names.join("\n") + "\n")?;
            let packed = inside::run(pid, PACK, b"", PATIENCE).await?;
            fs::write(place.join("run.tar"), packed.stdout)?;
        }
    }
    // All stand still before the first is copied: what one of them has heard of another is then in both copies. A member
    // must not come back to a cluster that has forgotten what it knows to be decided.
    let stopped = each(&running, |node| async move { node.freeze(true).await }).await;
    let copied = match stopped {
        Ok(()) => {
            each(&nodes, |node| {
                let to = making.join(&node.spec.name).join("upper");
                async move { copy(&node.disk.upper(), &to).await }
            })
            .await
        }
        error => error,
    };
    each(&running, |node| async move { node.freeze(false).await }).await?;
    copied?;
    let _ = fs::remove_dir_all(dir);
    fs::rename(making, dir)
}

pub async fn restore(dir: &Path, nodes: &[Arc<Node>]) -> io::Result<()> {
    if !dir.is_dir() {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("there is no checkpoint {name}"),
        ));
    }
    each(nodes, |node| {
        let place = dir.join(&node.spec.name);
        async move {
            node.halt(true).await;
            match place.join("upper").is_dir() {
                true => {
                    let upper = node.disk.upper();
                    // One that was destroyed since has none.
                    match fs::remove_dir_all(&upper) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => node.disk.create(&[])?,
                    }
                    fs::remove_dir_all(&upper)?;
                    copy(&place.join("upper"), &upper).await
                }
                false => node.destroy().await,
            }
        }
    })
    .await?;
    // All at once: some need each other.
    each(nodes, |node| {
        let place = dir.join(&node.spec.name);
        async move {
            let Ok(units) = fs::read_to_string(place.join("units")) else {
                return Ok(());
            };
            node.start().await;
            let mut status = node.watch();
            let ready = status.wait_for(|status| status.state != State::Booting);
            let _ = timeout(READY, ready).await;
            let pid = node.runs().await?;
            let archive = fs::read(place.join("run.tar"))?;
            let unpack = ["tar", "--extract", "--file=-", "--directory=/run"];
            inside::run(pid, &unpack, &archive, PATIENCE).await?;
            inside::run(pid, &["sh", "-c", START], units.as_bytes(), PATIENCE).await?;
            Ok(())
        }
    })
    .await
}

/// With all of them at once; returns when it is over with each.
async fn each<F>(nodes: &[Arc<Node>], act: impl Fn(Arc<Node>) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let all: Vec<_> = nodes.iter().cloned().map(|node| tokio::spawn(act(node))).collect();
    let mut result = Ok(());
    for one in all {
        result = result.and(one.await.map_err(io::Error::other).flatten());
    }
    result
}

/// With owners, attributes and holes.
async fn copy(from: &Path, to: &PathBuf) -> io::Result<()> {
    let output = Command::new("cp")
        .args(["--archive", "--sparse=always", "--reflink=auto"])
        .arg(from)
        .arg(to)
        .kill_on_drop(true)
        .output()
        .await?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_string(),
        )),
    }
}
