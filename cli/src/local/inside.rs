//! Commands in a node, without a network or an ssh of its own: through its namespaces.
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// The node's own, then the host's: nsenter is the host's.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What timeout ends with when the time was over.
const OVER: i32 = 124;
/// After its time a command is asked to end, then made to.
const KILL: Duration = Duration::from_secs(2);

/// Runs it as root in the node whose first process is `pid`; nobody waits for it longer than this.
///
/// The limit is kept inside: a process of the node's whose parent is killed out here would be nobody's, and what is left
/// of it would keep the node from ending.
pub async fn run(pid: i32, command: &[&str], input: &[u8], limit: Duration) -> io::Result<Output> {
    run_for(pid, command, input, limit, std::future::pending()).await
}

/// The same, for somebody who may go: then it ends early.
pub async fn run_for(
    pid: i32,
    command: &[&str],
    input: &[u8],
    limit: Duration,
    gone: impl Future<Output = ()>,
) -> io::Result<Output> {
    let path = format!("{PATH}:{}", std::env::var("PATH").unwrap_or_default());
    let mut child = Command::new("nsenter")
        // Those that a node has of its own: of others an ordinary user may not even enter his own again.
        .args(["--target", &pid.to_string()])
        .args(["--user", "--mount", "--pid", "--net", "--uts", "--ipc"])
        .args(["--", "timeout"])
        .arg(format!("--kill-after={}", KILL.as_secs()))
        .arg(format!("{:.3}", limit.as_secs_f64()))
        .args(command)
        .env_clear()
        .env("PATH", path)
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("nsenter: {error}")))?;
    let nsenter = child.id();
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // Who does not read its input has no use for it.
            let _ = stdin.write_all(input).await;
        }
    };
    let both = async { tokio::join!(write, child.wait_with_output()).1 };
    tokio::pin!(both);
    let early = async {
        tokio::select! {
            result = &mut both => result,
            () = gone => {
                tokio::join!(end_below(nsenter), both).1
            }
        }
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no end within {limit:?}"));
    match timeout(limit + 2 * KILL, early).await {
        Ok(Ok(output)) if output.status.code() == Some(OVER) => Err(late()),
        Ok(result) => result,
        Err(_) => Err(late()),
    }
}

/// Asks what nsenter has started to end: that is timeout, which passes it on to the command and all its kin.
async fn end_below(nsenter: Option<u32>) {
    let Some(pid) = nsenter else { return };
    // It may be about to start it.
    while let Ok(children) = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = Pid::from_raw(child).map(|child| kill_process(child, Signal::TERM));
        }
        if !children.is_empty() {
            return;
        }
        tokio::time::sleep(KILL / 100).await;
    }
}

/// The same, where anything but success is an error; its output.
pub async fn must(pid: i32, command: &[&str], limit: Duration) -> io::Result<String> {
    let output = run(pid, command, b"", limit).await?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            let why = if why.trim().is_empty() {
                "it says nothing"
            } else {
                why.trim()
            };
            Err(io::Error::other(format!("{}: {why}", command.join(" "))))
        }
    }
}
