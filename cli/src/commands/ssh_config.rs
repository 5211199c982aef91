//! `lab ssh-config`: how OpenSSH reaches the nodes, in Vagrant's format, with keys that are true.
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::args::SshConfig;
use crate::commands::vagrant;
use crate::failure::{Exit, Failure};
use crate::lab::Lab;
use crate::render::known_hosts;
use crate::render::ssh_config::{self, Entry, quoted};
use crate::topology::Node;
use crate::ui;
use crate::vagrant::Vagrant;

pub fn run(args: &SshConfig) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    if args.install || args.uninstall {
        let change = if args.install {
            ssh_config::install
        } else {
            ssh_config::uninstall
        };
        let config = edit_config(&lab, change)?;
        let done = if args.install { "includes" } else { "no longer includes" };
        ui::lines(&format!("{} {done} {}", config.display(), path(&lab).display()));
        return Ok(());
    }
    if let Some(vagrant) = Vagrant::of(&lab) {
        let host = args.host.iter().flat_map(|host| ["--host", host.as_str()]);
        let words: Vec<&str> = ["ssh-config"].into_iter().chain(host).collect();
        return vagrant::verb(&vagrant, &lab, &words, &args.nodes);
    }
    let mut entries: Vec<Entry> = lab
        .named(&args.nodes)?
        .into_iter()
        .map(|node| entry(&lab, node))
        .collect();
    if let Some(host) = &args.host {
        let [entry] = entries.as_mut_slice() else {
            return Err(Failure::new(
                Exit::Usage,
                "--host is one node's name",
                lab.project.root.display(),
                format!("{} nodes are meant", entries.len()),
                ui::command(&format!("ssh-config {} --host {host}", lab.nodes[0].name)),
            ));
        };
        entry.host.clone_from(host);
    }
    // Each block ends with an empty line, the last one too.
    let text = ssh_config::render(&entries);
    ui::lines(text.strip_suffix('\n').unwrap_or(&text));
    Ok(())
}

/// The file that `lab ssh` and its kin use; with the known hosts beside it.
pub fn path(lab: &Lab) -> PathBuf {
    lab.project.ssh().join("config")
}

pub fn write(lab: &Lab) -> Result<(), Failure> {
    let write = || {
        let hosts = lab.hosts_known()?;
        put(&lab.project.ssh().join("known_hosts"), &known_hosts::render(&hosts))?;
        let entries: Vec<Entry> = lab.nodes.iter().map(|node| by_address_too(entry(lab, node))).collect();
        put(&path(lab), &ssh_config::render(&entries))?;
        edit_fleetctls(|text| known_hosts::replace(text, &hosts))
    };
    write().map_err(|error: io::Error| lab.cannot("write the ssh configuration", error))
}

/// What `--install` includes: who has a node's address from elsewhere types that.
fn by_address_too(mut entry: Entry) -> Entry {
    entry.host = format!("{} {}", entry.host, entry.host_name);
    entry
}

/// Takes the lab out of the user's files: it is going.
pub fn forget(lab: &Lab) -> Result<(), Failure> {
    edit_config(lab, ssh_config::uninstall)?;
    let forget = || {
        let hosts = lab.hosts_known()?;
        edit_fleetctls(|text| known_hosts::forget(text, &hosts))
    };
    forget().map_err(|error: io::Error| lab.cannot("change fleetctl's known hosts", error))
}

/// fleetctl has known hosts of its own, and refuses a rebuilt node for them. A file that is not there stays so.
fn edit_fleetctls(change: impl Fn(&str) -> String) -> io::Result<()> {
    let path = home().join(".fleetctl/known_hosts");
    match fs::read_to_string(&path) {
        Ok(text) => match change(&text) {
            new if new == text => Ok(()),
            new => put(&path, &new),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Changes ~/.ssh/config, if it has to be.
fn edit_config(lab: &Lab, change: fn(&str, &str) -> String) -> Result<PathBuf, Failure> {
    let dir = home().join(".ssh");
    let config = dir.join("config");
    let text = match fs::read_to_string(&config) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::io("read", &config, &error)),
    };
    let new = change(&text, &path(lab).display().to_string());
    if new != text {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        // A link, to a file of a collection for one, stays a link.
        let place = fs::canonicalize(&config).unwrap_or_else(|_| config.clone());
        let written = made.and_then(|()| put(&place, &new));
        written.map_err(|error| Failure::io("write", &config, &error))?;
    }
    Ok(config)
}

fn home() -> PathBuf {
    std::env::var_os("HOME").unwrap_or_else(|| "/".into()).into()
}

/// Whoever reads the file sees the old text or the new one.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    if let Ok(metadata) = fs::metadata(path) {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    fs::rename(new, path)
}

fn entry(lab: &Lab, node: &Node) -> Entry {
    let ssh = lab.project.ssh();
    let text = |path: &Path| path.display().to_string();
    let program = std::env::current_exe().unwrap_or_else(|_| "lab".into());
    let (program, state) = (quoted(&text(&program)), quoted(&text(&lab.state)));
    Entry {
        host: node.name.clone(),
        host_name: node.address.to_string(),
        port: 22,
        known_hosts: text(&ssh.join("known_hosts")),
        identity: text(&ssh.join("id_ed25519")),
        proxy_command: Some(format!("{program} proxy --fdpass --state {state} %h %p")),
    }
}
