//! `lab ssh-config`: how OpenSSH reaches the nodes, in Vagrant's format, with keys that are true.
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::args::SshConfig;
use crate::failure::Failure;
use crate::lab::{Lab, USER};
use crate::topology::Node;
use crate::ui;

pub fn run(args: &SshConfig) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let nodes = lab.named(&args.nodes)?;
    let blocks: Vec<String> = nodes.into_iter().map(|node| block(&lab, node)).collect();
    ui::lines(blocks.join("\n").trim_end());
    Ok(())
}

/// The file that `lab ssh` and its kin use; with the known hosts beside it.
pub fn path(lab: &Lab) -> PathBuf {
    lab.project.ssh().join("config")
}

pub fn write(lab: &Lab) -> Result<(), Failure> {
    let write = || {
        let known = lab.known_hosts()?;
        put(&lab.project.ssh().join("known_hosts"), &known)?;
        let blocks: Vec<String> = lab.nodes.iter().map(|node| block(lab, node)).collect();
        put(&path(lab), &blocks.join("\n"))
    };
    write().map_err(|error: io::Error| lab.cannot("write the ssh configuration", error))
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let new = path.with_extension("new");
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(new, path)
}

fn block(lab: &Lab, node: &Node) -> String {
    let ssh = lab.project.ssh();
    let quoted = |path: PathBuf| match path.display().to_string() {
        path if path.contains(' ') => format!("\"{path}\""),
        path => path,
    };
    let lab_program = std::env::current_exe().unwrap_or_else(|_| "lab".into());
    format!(
        "Host {name}\n  HostName {address}\n  User {USER}\n  Port 22\n  UserKnownHostsFile {known}\n  \
         StrictHostKeyChecking yes\n  PasswordAuthentication no\n  IdentityFile {key}\n  IdentitiesOnly yes\n  \
         LogLevel FATAL\n  ForwardAgent yes\n  ProxyCommand {program} proxy --fdpass --state {state} %h %p\n  ProxyUseFdpass yes\n",
        name = node.name,
        address = node.address,
        known = quoted(ssh.join("known_hosts")),
        key = quoted(ssh.join("id_ed25519")),
        program = quoted(lab_program),
        state = quoted(lab.state.clone()),
    )
}
