//! `lab validate`: reads everything that a lab is made from, and starts nothing.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::args::Validate;
use crate::config::yaml;
use crate::failure::{Exit, Failure};
use crate::render::user_data;
use crate::{config, topology, ui};

pub fn run(args: &Validate) -> Result<(), Failure> {
    let settings = config::load(Path::new("."), args.settings.raw())?;
    let nodes = topology::nodes(&settings, |_| true);
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
    for file in files.keys() {
        check_user_data(file)?;
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
    ui::lines("the lab is valid");
    Ok(())
}

/// What can be said of user data without a node: it is there, and it is a script or a cloud-config in YAML.
fn check_user_data(path: &Path) -> Result<(), Failure> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    if user_data::is_cloud_config(&text) {
        let document = yaml::parse(&name, &text)?;
        return match document.is_mapping() || document.is_null() {
            true => Ok(()),
            false => Err(no_user_data(
                &name,
                "a cloud-config is a map, lines of the form `key: value`",
            )),
        };
    }
    match text.starts_with("#!") {
        true => Ok(()),
        false => Err(no_user_data(
            &name,
            "its first line is neither #cloud-config nor a script's #!",
        )),
    }
}

fn no_user_data(name: &str, why: &str) -> Failure {
    let todo = format!("begin {name} with the line #cloud-config");
    Failure::new(
        Exit::Failed,
        format!("{name} is no user data"),
        format!("{name}:1:1"),
        why,
        todo,
    )
}
