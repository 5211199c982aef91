//! `lab ssh`, `lab exec`, `lab cp`: OpenSSH with the lab's configuration.
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

use crate::args::{Cp, Exec, Ssh};
use crate::commands::{ssh_config, vagrant};
use crate::failure::{Exit, Failure};
use crate::lab::Lab;
use crate::ui;
use crate::vagrant::Vagrant;

pub fn ssh(args: &Ssh) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let name = args.node.clone().unwrap_or_else(|| lab.nodes[0].name.clone());
    lab.named(std::slice::from_ref(&name))?;
    if let Some(vagrant) = Vagrant::of(&lab) {
        let command = args.command.iter().flat_map(|command| ["-c", command.as_str()]);
        let rest = args.rest.iter().map(String::as_str);
        let dashes = (!args.rest.is_empty()).then_some("--");
        let words: Vec<&str> = ["ssh", name.as_str()]
            .into_iter()
            .chain(command)
            .chain(dashes)
            .chain(rest)
            .collect();
        return Err(vagrant.become_it(&words));
    }
    lab.running()?;
    // As with Vagrant: what follows the dashes is ssh's, its options first.
    let split = args
        .rest
        .iter()
        .position(|word| !word.starts_with('-'))
        .unwrap_or(args.rest.len());
    let (options, command) = args.rest.split_at(split);
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(ssh_config::path(&lab)).args(options);
    if command.is_empty() && stdin_is_terminal() {
        ssh.arg("-t");
    }
    ssh.arg(&name).args(command);
    if let Some(command) = &args.command {
        ssh.arg(command);
    }
    let error = ssh.exec();
    Err(missing(&error))
}

/// The same command on many nodes at once; whose line it is stands before each line.
pub fn exec(args: &Exec) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    let names: Vec<String> = match args.nodes.as_str() {
        "all" => Vec::new(),
        list => list.split(',').map(str::to_string).collect(),
    };
    let nodes = lab.named(&names)?;
    reachable(&lab)?;
    let mut children = Vec::new();
    for node in &nodes {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(ssh_config::path(&lab))
            .arg(&node.name)
            .arg("--")
            .args(&args.command);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = ssh.spawn().map_err(|error| missing(&error))?;
        children.push((node.name.clone(), child));
    }
    let alone = nodes.len() == 1;
    let mut worst = 0;
    std::thread::scope(|scope| {
        for (name, child) in &mut children {
            let prefix = if alone { String::new() } else { format!("{name}: ") };
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let of_errors = prefix.clone();
            scope.spawn(move || out.map(|out| each_line(out, |line| ui::lines(&format!("{prefix}{line}")))));
            scope.spawn(move || err.map(|err| each_line(err, |line| ui::note(&format!("{of_errors}{line}")))));
        }
    });
    for (_, mut child) in children {
        worst = worst.max(child.wait().map_or(1, code));
    }
    match worst {
        0 => Ok(()),
        code => Err(Failure::status(code)),
    }
}

/// scp, with nodes as hosts: `lab cp file core-01:`.
pub fn cp(args: &Cp) -> Result<(), Failure> {
    let lab = Lab::existing()?;
    reachable(&lab)?;
    let mut scp = Command::new("scp");
    scp.arg("-q").arg("-F").arg(ssh_config::path(&lab));
    if args.recursive {
        scp.arg("-r");
    }
    let error = scp.args(&args.paths).exec();
    Err(missing(&error))
}

/// OpenSSH finds its configuration, and somebody who would answer.
fn reachable(lab: &Lab) -> Result<(), Failure> {
    match Vagrant::of(lab) {
        Some(vagrant) => vagrant::write_ssh_config(lab, &vagrant),
        None => lab.running().map(drop),
    }
}

fn each_line(from: impl Read, mut each: impl FnMut(&str)) {
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        each(&String::from_utf8_lossy(&line));
    }
}

fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn missing(error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Missing,
        "OpenSSH's client cannot be run",
        "the PATH",
        error,
        "apt-get install -y openssh-client",
    )
}
