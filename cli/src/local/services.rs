//! What the host serves to its nodes: the lab's own discovery service.
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::netns::Netns;
use super::supervisor::HOST;

pub const DISCOVERY_PORT: u16 = 8087;

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

    pub async fn end(&mut self) {
        if let Some(child) = &mut self.discovery {
            let _ = child.kill().await;
        }
    }
}
