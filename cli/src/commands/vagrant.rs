//! The verbs of a lab whose machines are vagrant's.
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use crate::args::{BoxVerb, Format, Up};
use crate::commands::{render, ssh_config};
use crate::failure::{Exit, Failure};
use crate::flags::Render;
use crate::lab::Lab;
use crate::ui;
use crate::vagrant::{DIR, Vagrant, has_machines};

/// Renders what the settings say, and has vagrant bring it up.
pub fn up(args: &Up, lab: Lab) -> Result<(), Failure> {
    let vagrant = of(&lab)?;
    lab.named(&args.nodes)?;
    if args.dry_run {
        ui::lines(&format!(
            "{} is rendered, then there:\n  vagrant {}",
            vagrant.dir.display(),
            up_words(args, &vagrant).join(" ")
        ));
        return Ok(());
    }
    let _lock = lab.project.lock()?;
    lab.project.save(&lab.record)?;
    let render = Render {
        dir: lab.project.root.join(DIR),
        force: false,
        settings: args.settings.clone(),
    };
    render::write_all(&render)?;
    vagrant.run(&up_words(args, &vagrant))?;
    if args.reload {
        vagrant.run(&["reload", "--provision"])?;
    }
    write_ssh_config(&lab, &vagrant)
}

fn up_words<'a>(args: &'a Up, vagrant: &'a Vagrant) -> Vec<&'a str> {
    let names = args.nodes.iter().map(String::as_str);
    ["up"]
        .into_iter()
        .chain(names)
        .chain(vagrant.provider_words())
        .collect()
}

fn of(lab: &Lab) -> Result<Vagrant, Failure> {
    Vagrant::of(lab).ok_or_else(|| lab.cannot("run vagrant", std::io::Error::other("the nodes are not its")))
}

/// With the words of the verb, and the nodes that are meant.
pub fn verb(vagrant: &Vagrant, lab: &Lab, words: &[&str], nodes: &[String]) -> Result<(), Failure> {
    lab.named(nodes)?;
    let names = nodes.iter().map(String::as_str);
    let words: Vec<&str> = words.iter().copied().chain(names).collect();
    vagrant.run(&words)
}

pub fn destroy(vagrant: &Vagrant, lab: &Lab, force: bool, nodes: &[String]) -> Result<(), Failure> {
    let words: &[&str] = if force { &["destroy", "-f"] } else { &["destroy"] };
    lab.named(nodes)?;
    // Without a machine there is nobody to ask, and the provider may be what is missing.
    if has_machines(&vagrant.dir) {
        verb(vagrant, lab, words, nodes)?;
    }
    if !has_machines(&vagrant.dir) {
        ssh_config::forget(lab)?;
        lab.project.remove()?;
    }
    Ok(())
}

pub fn status(vagrant: &Vagrant, lab: &Lab, nodes: &[String], format: Format) -> Result<(), Failure> {
    let names: Vec<&str> = lab.named(nodes)?.iter().map(|node| node.name.as_str()).collect();
    let machines = vagrant.machines(&names)?;
    match format {
        Format::Table => {
            let mut rows = vec![["NODE", "STATE", "PROVIDER", "DETAIL"].map(String::from).to_vec()];
            rows.extend(machines.into_iter().map(|machine| {
                let state = machine.state.replace('_', " ");
                vec![machine.name, state, machine.provider, machine.detail]
            }));
            ui::lines(&ui::table(&rows));
        }
        Format::Json => {
            let nodes: Vec<_> = machines
                .iter()
                .map(|machine| {
                    serde_json::json!({
                        "name": machine.name,
                        "state": machine.state,
                        "provider": machine.provider,
                        "detail": machine.detail,
                    })
                })
                .collect();
            let document = serde_json::json!({ "schema": "lab.status/1", "id": lab.record.id, "nodes": nodes });
            ui::lines(&format!("{document:#}"));
        }
    }
    Ok(())
}

/// `vagrant ssh` knows no more than OpenSSH, and starts for a second each time: its configuration is kept.
pub fn write_ssh_config(lab: &Lab, vagrant: &Vagrant) -> Result<(), Failure> {
    let text = vagrant.ask(&["ssh-config"])?;
    let path = ssh_config::path(lab);
    let write = || {
        std::fs::create_dir_all(lab.project.ssh())?;
        let mut file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|error| Failure::io("write", &path, &error))
}

/// What only nodes of this machine's kernel have.
pub fn refuse(lab: &Lab, what: &str, todo: &str) -> Result<(), Failure> {
    if Vagrant::of(lab).is_none() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Unsupported,
        format!("virtual machines have no {what} here"),
        lab.project.root.join(DIR).display(),
        format!("the nodes of this lab are {}'s", lab.record.provider),
        todo,
    ))
}

/// `lab box` in such a lab is `vagrant box`.
pub fn boxes(vagrant: &Vagrant, verb: &BoxVerb) -> Result<(), Failure> {
    let words = box_words(verb);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    vagrant.run(&words)
}

fn box_words(verb: &BoxVerb) -> Vec<String> {
    let mut words = vec!["box".to_string()];
    let mut word = |text: &str| words.push(text.to_string());
    let (mut flags, mut options) = (Vec::new(), Vec::new());
    match verb {
        BoxVerb::Add(args) => {
            word("add");
            match &args.file {
                Some(file) => {
                    word(file);
                    options.push(("--name", Some(args.source.clone())));
                }
                None => word(&args.source),
            }
            options.push(("--name", args.name.clone()));
            options.push(("--provider", args.provider.clone()));
            options.push(("--box-version", args.box_version.as_ref().map(ToString::to_string)));
            options.push(("--checksum", args.checksum.clone()));
            options.push(("--checksum-type", args.checksum_type.clone()));
            flags.push(("--force", args.force));
        }
        BoxVerb::List(args) => {
            word("list");
            flags.push(("--machine-readable", matches!(args.format, Format::Json)));
        }
        BoxVerb::Update(args) => {
            word("update");
            options.push(("--box", args.name.clone()));
            options.push(("--provider", args.provider.clone()));
        }
        BoxVerb::Outdated(args) => {
            word("outdated");
            flags.push(("--global", args.global));
        }
        BoxVerb::Remove(args) => {
            word("remove");
            word(&args.name);
            options.push(("--provider", args.provider.clone().or_else(|| args.only.clone())));
            options.push(("--box-version", args.box_version.clone()));
            flags.push(("--all", args.all));
        }
        BoxVerb::Prune(args) => {
            word("prune");
            options.push(("--name", args.name.clone()));
            options.push(("--provider", args.provider.clone()));
            flags.push(("--dry-run", args.dry_run));
            flags.push(("--force", args.force));
        }
    }
    for (option, value) in options {
        words.extend(value.into_iter().flat_map(|value| [option.to_string(), value]));
    }
    words.extend(
        flags
            .into_iter()
            .filter(|(_, set)| *set)
            .map(|(flag, _)| flag.to_string()),
    );
    words
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Verb};

    #[test]
    fn box_verbs_are_vagrants() {
        for (typed, expected) in [
            ("box add mine.box --name mine", "box add mine.box --name mine"),
            ("box add mine mine.box", "box add mine.box --name mine"),
            ("box remove mine libvirt", "box remove mine --provider libvirt"),
            ("box update --box coreos-alpha", "box update --box coreos-alpha"),
            ("box outdated --global", "box outdated --global"),
            ("box prune -n", "box prune --dry-run"),
        ] {
            let words = ["lab"].into_iter().chain(typed.split(' '));
            let Verb::Box(verb) = Args::try_parse_from(words).expect(typed).verb else {
                panic!("{typed} is another verb");
            };
            assert_eq!(box_words(&verb).join(" "), expected);
        }
    }
}
