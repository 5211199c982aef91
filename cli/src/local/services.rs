//! What the host serves to its nodes: the lab's own discovery service.
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::netns::Netns;
use super::supervisor::HOST;

pub const DISCOVERY_PORT: u16 = 8087;
const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Services {
    discovery: Option<Child>,
}

impl Services {
    /// Has the discovery service run in the nodes' network, its tokens in `dir`.
    pub fn discovery(&mut self, labnode: &Path, dir: &Path, netns: &Netns) -> io::Result<()> {
        if let Some(child) = &mut self.discovery
            && child.try_wait()?.is_none()
        {
            return Ok(());
        }
        fs::create_dir_all(dir)?;
        let log = fs::File::options().create(true).append(true).open(dir.join("log"))?;
        let mut command = std::process::Command::new(labnode);
        command
            .arg0("labnode")
            .args(["discovery", "--addr", &format!("{HOST}:{DISCOVERY_PORT}"), "--data-dir"])
            .arg(dir.join("data"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // A process is born into the network namespace of the thread that makes it.
        let runtime = tokio::runtime::Handle::current();
        self.discovery = Some(netns.run(|| {
            let _entered = runtime.enter();
            Command::from(command).kill_on_drop(true).spawn()
        })?);
        Ok(())
    }

    /// Returns when it takes connections, or has ended without.
    pub async fn answers(&mut self, dir: &Path, netns: &Netns) -> io::Result<()> {
        let began = Instant::now();
        while let Err(error) = netns.connect(HOST, DISCOVERY_PORT).await {
            let ended = self.discovery.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || began.elapsed() > PATIENCE {
                let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it says nothing").to_string();
                let kind = match ended {
                    Some(_) => io::ErrorKind::Other,
                    None => io::ErrorKind::TimedOut,
                };
                let why = format!("the lab's discovery service does not answer ({error}): {last}");
                return Err(io::Error::new(kind, why));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    pub async fn end(&mut self) {
        if let Some(child) = &mut self.discovery {
            let _ = child.kill().await;
        }
    }
}
