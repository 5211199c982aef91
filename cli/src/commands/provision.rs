//! `lab provision`: applies user data to nodes that run, and says what is new in it.
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::args::Nodes;
use crate::commands::{render, ssh_config, vagrant};
use crate::failure::{Exit, Failure};
use crate::lab::Lab;
use crate::topology::Node;
use crate::ui;
use crate::vagrant::Vagrant;

pub const USER_DATA: &str = "/var/lib/coreos-vagrant/vagrantfile-user-data";
/// The unit that applies it, with its name escaped as systemd does.
const UNIT: &str = r"user-cloudinit@var-lib-coreos\x2dvagrant-vagrantfile\x2duser\x2ddata.service";

pub fn run(args: &Nodes) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let _lock = lab.project.lock()?;
    if let Some(vagrant) = Vagrant::of(&lab) {
        render::again(&lab)?;
        return vagrant::verb(&vagrant, &lab, &["provision"], &args.nodes);
    }
    lab.running()?;
    for node in lab.named(&args.nodes)? {
        let Some(user_data) = lab.user_data(node)? else {
            ui::lines(&format!("{} has no user data", node.name));
            continue;
        };
        say_changes(&lab, node);
        let began = Instant::now();
        // In its place only when it is whole.
        let script = format!(
            "sudo sh -c 'cat > {USER_DATA}.new && mv {USER_DATA}.new {USER_DATA}' && sudo systemctl restart '{UNIT}'"
        );
        if let Err(why) = ssh(&lab, node, &script, &user_data) {
            return Err(Failure::new(
                Exit::Failed,
                format!("the user data of {} cannot be applied", node.name),
                UNIT,
                why,
                ui::command(&format!(
                    "ssh {} -- sudo journalctl -n 20 -u 'user-cloudinit@*'",
                    node.name
                )),
            ));
        }
        remember(&lab, node)?;
        ui::phase(&format!("{} provisioned", node.name), began.elapsed());
    }
    Ok(())
}

/// The node has the user data of now.
pub fn remember(lab: &Lab, node: &Node) -> Result<(), Failure> {
    let mut record = lab.project.existing()?;
    let made = lab.made(node)?;
    let known = record.made.entry(node.name.clone()).or_insert_with(|| made.clone());
    known.metadata = made.metadata;
    known.user_data = made.user_data;
    lab.project.save(&record)
}

/// What a node's user data has that it had not, and the other way round.
pub fn say_changes(lab: &Lab, node: &Node) {
    let (Ok(Some(new)), Ok(old)) = (
        lab.user_data(node),
        ssh(lab, node, &format!("sudo cat {USER_DATA}"), ""),
    ) else {
        return;
    };
    if old == new {
        ui::lines(&format!("{}: its user data has not changed", node.name));
        return;
    }
    ui::lines(&format!("{}: its user data changes", node.name));
    let (old, new) = (without_keys(&old), without_keys(&new));
    for (sign, from, without) in [("-", &old, &new), ("+", &new, &old)] {
        for line in from.lines().filter(|line| !without.lines().any(|other| other == *line)) {
            ui::lines(&format!("  {sign} {line}"));
        }
    }
}

/// Nobody wants keys on the screen.
fn without_keys(text: &str) -> String {
    let mut inside = false;
    let line = |line: &str| {
        let (begins, ends) = (line.contains("-----BEGIN "), line.contains("-----END "));
        let shown = !inside;
        inside = (inside || begins && line.contains("PRIVATE KEY-----")) && !ends;
        shown.then(|| format!("{line}\n"))
    };
    text.lines().filter_map(line).collect()
}

pub fn ssh(lab: &Lab, node: &Node, script: &str, input: &str) -> Result<String, String> {
    let run = || {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(ssh_config::path(lab))
            .arg(&node.name)
            .arg("--")
            .arg(script);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn()?;
        child.stdin.take().expect("piped").write_all(input.as_bytes())?;
        child.wait_with_output()
    };
    let output = run().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
    }
}
