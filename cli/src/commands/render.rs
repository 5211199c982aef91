//! `lab render`: a directory that plain vagrant brings up, with no lab at all.
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::args::Render;
use crate::config::Discovery;
use crate::config::resolved::Settings;
use crate::discovery::{self, Decision, Token};
use crate::failure::{Exit, Failure};
use crate::lab::Lab;
use crate::project::Project;
use crate::render::changes::{Change, Manifest, changes, digest};
use crate::render::user_data::{self, Bootstrap, Services};
use crate::render::{config_rb, vagrantfile};
use crate::topology::{self, Node};
use crate::vagrant::{DIR, has_machines};
use crate::{config, lab, ui};

/// Remembers what was rendered, and the nodes' token.
const RECORD: &str = ".lab-rendered.json";
const USER_DATA: &str = "user-data";
/// The CA of what was rendered, with its nodes' certificates.
const TLS: &str = ".lab-tls";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    token: Option<Token>,
    files: Manifest,
}

pub fn run(args: &Render) -> Result<(), Failure> {
    write_all(args)?;
    ui::lines(&format!("\nNext:\n  cd {} && vagrant up", args.dir.display()));
    Ok(())
}

/// Without a word of what to type then.
pub fn write_all(args: &Render) -> Result<(), Failure> {
    let project = Project::find()?;
    let record = project.record()?.unwrap_or_default();
    let settings = lab::settings(&project, &record, &args.settings.said())?;
    let root = project.root;
    let nodes = topology::nodes(&settings, topology::none_given, |_| true);
    let mut record = read_record(&args.dir)?;
    let (bootstrap, token) = bootstrap(&settings, &nodes, &record, &args.dir)?;
    let wanted = files(&root, &settings, &nodes, &bootstrap, &args.dir.join(TLS))?;
    let existing = existing(&args.dir, wanted.keys().chain(record.files.keys()))?;
    let changes = changes(&wanted, &existing, &record.files);
    refuse_foreign(args, &changes)?;
    refuse_other_kind(&args.dir, &wanted, &changes)?;
    // First what goes: a directory may become a file.
    for path in changes.keys().filter(|path| !wanted.contains_key(*path)) {
        remove(&args.dir, path)?;
    }
    for (path, change) in changes.iter().filter(|(_, change)| **change != Change::Same) {
        if let Some(text) = wanted.get(path) {
            write(&args.dir.join(path), text)?;
        }
        ui::lines(&describe(path, change));
    }
    record.token = token;
    record.files = wanted.iter().map(|(path, text)| (path.clone(), digest(text))).collect();
    let text = serde_json::to_string_pretty(&record).unwrap_or_default();
    write(&args.dir.join(RECORD), &(text + "\n"))?;
    let same = changes.values().filter(|change| **change == Change::Same).count();
    ui::lines(&format!("{} files, {same} as they were", wanted.len()));
    Ok(())
}

/// What vagrant is to see of settings that have changed since.
pub fn again(lab: &Lab) -> Result<(), Failure> {
    write_all(&Render {
        dir: lab.project.root.join(DIR),
        force: false,
        settings: crate::flags::Settings::default(),
    })
}

/// How the nodes find each other, and the token to remember.
fn bootstrap(
    settings: &Settings,
    nodes: &[Node],
    record: &Record,
    dir: &Path,
) -> Result<(Bootstrap, Option<Token>), Failure> {
    let wanted = match settings.bare.value {
        true => &Discovery::None,
        false => &settings.discovery.value,
    };
    let token = match discovery::decide(record.token.as_ref(), has_machines(dir), wanted) {
        Decision::Keep(token) => token,
        Decision::Fetch(service) => discovery::fetch(&service, settings.num_instances.value)?,
        Decision::Given(url) => Token {
            from: url.clone(),
            url,
            size: settings.num_instances.value,
        },
        Decision::Nothing => {
            let bootstrap = match wanted {
                Discovery::Own => Bootstrap::all(nodes, &settings.certificates.value),
                _ => Bootstrap::Alone,
            };
            return Ok((bootstrap, None));
        }
        Decision::Conflict(token) => {
            return Err(Failure::new(
                Exit::Conflict,
                "the machines that are there have another token",
                dir.join(".vagrant/machines").display(),
                format!("{} is of {}, and now discovery is {wanted}", token.url, token.from),
                format!(
                    "(cd {} && vagrant destroy), then {}",
                    dir.display(),
                    ui::command("render")
                ),
            ));
        }
    };
    Ok((Bootstrap::Token(token.url.clone()), Some(token)))
}

fn files(
    root: &Path,
    settings: &Settings,
    nodes: &[Node],
    bootstrap: &Bootstrap,
    tls: &Path,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut files = BTreeMap::from([
        ("Vagrantfile".to_string(), vagrantfile::render(settings, nodes)),
        ("config.rb".to_string(), config_rb::render(settings)),
    ]);
    let texts: Vec<String> = nodes
        .iter()
        .map(|node| user_data(root, settings, node, bootstrap, tls))
        .collect::<Result<_, _>>()?;
    // coreos-vagrant's one file, where the nodes do not differ.
    if texts.iter().all(|text| *text == texts[0]) {
        files.insert(USER_DATA.to_string(), texts[0].clone());
    } else {
        files.extend(
            nodes
                .iter()
                .zip(texts)
                .map(|(node, text)| (format!("{USER_DATA}/{}", node.name), text)),
        );
    }
    Ok(files)
}

fn user_data(
    root: &Path,
    settings: &Settings,
    node: &Node,
    bootstrap: &Bootstrap,
    tls: &Path,
) -> Result<String, Failure> {
    let certificate = lab::certificate(settings, node, tls)?;
    match &node.user_data {
        Some(file) => {
            let path = root.join(file);
            let text = fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
            user_data::personal(file, &text, node, bootstrap, certificate.as_ref())
        }
        None => {
            let started = !settings.bare.value;
            Ok(user_data::default(
                node,
                bootstrap,
                Services {
                    etcd: started,
                    fleet: started,
                },
                certificate.as_ref(),
            ))
        }
    }
}

fn read_record(dir: &Path) -> Result<Record, Failure> {
    let Some(text) = config::file(dir, RECORD)? else {
        return Ok(Record::default());
    };
    serde_json::from_str(&text).map_err(|error| {
        let path = dir.join(RECORD);
        let todo = format!("rm {}, then {} --force", path.display(), ui::command("render"));
        Failure::new(
            Exit::Failed,
            "the record of what was rendered cannot be read",
            path.display(),
            error,
            todo,
        )
    })
}

/// What is there of these files. A file that is no text is somebody else's, whatever it holds.
fn existing<'a>(dir: &Path, paths: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    for path in paths {
        let full = dir.join(path);
        match fs::read(&full) {
            Ok(bytes) => {
                found.insert(path.clone(), String::from_utf8_lossy(&bytes).into_owned());
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
                ) => {}
            Err(error) => return Err(Failure::io("read", &full, &error)),
        }
    }
    Ok(found)
}

fn refuse_foreign(args: &Render, changes: &BTreeMap<String, Change>) -> Result<(), Failure> {
    let foreign = changes
        .iter()
        .filter(|(_, change)| matches!(change, Change::Foreign { .. }));
    let lines: Vec<String> = foreign.map(|(path, change)| describe(path, change)).collect();
    if args.force || lines.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Conflict,
        "files are there that are not as `lab render` wrote them",
        args.dir.display(),
        lines.join("\n"),
        format!(
            "{} to overwrite them, or --dir DIR to render elsewhere",
            ui::command("render --force")
        ),
    ))
}

/// `user-data` is a file or a directory: one gives way to the other only if everything in it is ours.
fn refuse_other_kind(
    dir: &Path,
    wanted: &BTreeMap<String, String>,
    changes: &BTreeMap<String, Change>,
) -> Result<(), Failure> {
    let path = dir.join(USER_DATA);
    let becomes_file = wanted.contains_key(USER_DATA);
    let goes = |name: &str| matches!(changes.get(name), Some(Change::Gone | Change::Foreign { .. }));
    let in_the_way = match becomes_file {
        true => fs::read_dir(&path).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| !goes(&format!("{USER_DATA}/{}", entry.file_name().to_string_lossy())))
        }),
        false => path.is_file() && !goes(USER_DATA),
    };
    if !in_the_way {
        return Ok(());
    }
    let (is, becomes) = if becomes_file {
        ("a directory", "a file")
    } else {
        ("a file", "a directory")
    };
    Err(Failure::new(
        Exit::Conflict,
        format!("{USER_DATA} is {is} of yours there"),
        path.display(),
        format!("it would become {becomes}"),
        "--dir DIR to render elsewhere, or move it away",
    ))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| Failure::io("make", parent, &error))?;
    // Keys are the user's own.
    let mode = if text.contains("PRIVATE KEY-----") {
        0o600
    } else {
        0o666
    };
    let write = || {
        let mut options = fs::File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|error| Failure::io("write", path, &error))
}

/// With its directory, if that is empty then.
fn remove(dir: &Path, name: &str) -> Result<(), Failure> {
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::io("remove", &path, &error)),
        _ => {}
    }
    if name.contains('/') {
        let _ = fs::remove_dir(path.parent().unwrap_or(dir));
    }
    Ok(())
}

fn describe(path: &str, change: &Change) -> String {
    match change {
        Change::New => format!("new      {path}"),
        Change::Same => format!("same     {path}"),
        Change::Changed { added, removed } | Change::Foreign { added, removed } => {
            format!("changed  {path} (+{added} -{removed})")
        }
        Change::Gone => format!("removed  {path}"),
    }
}
