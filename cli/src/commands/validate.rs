//! `lab validate`: reads everything that a lab is made from, and starts nothing.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use labnode::ca::authority;
use labnode::cloudconfig::strict::{self, Problem};
use labnode::cloudconfig::substitute::Values;
use labnode::cloudconfig::validate::Severity;

use crate::args::Validate;
use crate::commands::render;
use crate::config::resolved::Settings;
use crate::failure::{Failure, Place};
use crate::lab::Lab;
use crate::project::Project;
use crate::provider::Provider;
use crate::render::certificates::Certificate;
use crate::topology::Node;
use crate::vagrant::Vagrant;
use crate::{lab, topology, ui};

pub fn run(args: &Validate) -> Result<(), Failure> {
    let project = Project::find()?;
    let record = project.record()?.unwrap_or_default();
    let settings = lab::settings(&project, &record, &args.settings.said())?;
    let root = project.root;
    let nodes = topology::nodes(&settings, topology::none_given, |_| true);
    // With the nodes that have them.
    let mut files: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for node in &nodes {
        if let Some(file) = &node.user_data {
            files.entry(file.into()).or_default().push(node.name.clone());
        }
    }
    for file in &args.files {
        files.entry(file.clone()).or_default();
    }
    let address = nodes[0].address.to_string();
    for file in files.keys() {
        if settings.certificates.value.wanted {
            check_certificates(&settings, &nodes[0], file, &root)?;
        }
        let mut problems = problems(&file.display().to_string(), &root.join(file), &address)?;
        if let Some(last) = problems.pop() {
            problems.iter().for_each(ui::failure);
            return Err(last);
        }
    }
    let mut rows = vec![["SETTING", "VALUE", "FROM"].map(String::from).to_vec()];
    rows.extend(settings.table().into_iter().map(Vec::from));
    ui::lines(&ui::table(&rows));
    let mut rows = vec![
        ["NODE", "ADDRESS", "MEMORY", "CPUS", "USER DATA"]
            .map(String::from)
            .to_vec(),
    ];
    rows.extend(nodes.iter().map(|node| {
        let user_data = node.user_data.clone().unwrap_or_else(|| "(default)".to_string());
        vec![
            node.name.clone(),
            node.address.to_string(),
            node.memory.to_string(),
            node.cpus.to_string(),
            user_data,
        ]
    }));
    ui::lines(&format!("\n{}\n", ui::table(&rows)));
    for (file, nodes) in &files {
        let of = if nodes.is_empty() {
            String::new()
        } else {
            format!(": {}", nodes.join(" "))
        };
        ui::lines(&format!("{} is valid{of}", file.display()));
    }
    if record.provider != Provider::Local {
        // Vagrant has an opinion of its own.
        let lab = Lab::existing()?;
        if let Some(vagrant) = Vagrant::of(&lab) {
            render::again(&lab)?;
            vagrant.run(&["validate"])?;
        }
    }
    ui::lines("the lab is valid");
    Ok(())
}

/// Is there a place for them in that file?
fn check_certificates(settings: &Settings, node: &Node, file: &Path, root: &Path) -> Result<(), Failure> {
    let path = root.join(file);
    let text = fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
    // Any will do.
    let ca = authority::new().and_then(|ca| Ok((authority::host(&ca, &node.name, &[], &[], 1)?, ca.cert)));
    let (pair, ca) = ca.map_err(|why| Failure::io("check", &path, &std::io::Error::other(why)))?;
    let settings = &settings.certificates.value;
    let certificate = Certificate { settings, ca, pair };
    certificate.insert(&file.display().to_string(), &text).map(drop)
}

/// Everything that is wrong with a file of user data.
fn problems(name: &str, path: &Path, address: &str) -> Result<Vec<Failure>, Failure> {
    let text = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
    // What a node has for `$public_ipv4` and `$private_ipv4`; any node's will do to see that they have a value.
    let values = Values::from(["COREOS_PUBLIC_IPV4", "COREOS_PRIVATE_IPV4"].map(|name| (name, address.to_string())));
    let lines = String::from_utf8_lossy(&text);
    let failure = |problem: Problem| {
        let line = lines.lines().nth(problem.at.line.saturating_sub(1)).unwrap_or_default();
        let place = Place {
            file: name.to_string(),
            line: problem.at.line,
            column: problem.at.column,
            text: line.trim_end().to_string(),
        };
        let todo = format!("correct that line, then {}", ui::command("validate"));
        Failure::at(format!("{name} is no good user data"), &place, problem.text, todo)
    };
    let found = strict::check(&text, &values).into_iter();
    Ok(found
        .filter(|problem| problem.severity == Severity::Error)
        .map(failure)
        .collect())
}
