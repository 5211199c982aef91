//! `lab init`: a lab.yaml with what can be set, as comments.
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::config::lab_yaml;
use crate::failure::{Exit, Failure};
use crate::ui;

/// Held to be a valid lab.yaml, also without its comment signs, by the tests.
const TEXT: &str = include_str!("init.yaml");

pub fn run() -> Result<(), Failure> {
    let path = Path::new(lab_yaml::FILE);
    let written = File::create_new(path).and_then(|mut file| file.write_all(TEXT.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            Exit::Conflict,
            format!("there is a {} already", lab_yaml::FILE),
            std::env::current_dir().unwrap_or_default().display(),
            "it is yours, and not overwritten",
            format!("edit it, then {}", ui::command("validate")),
        ),
        _ => Failure::io("write", path, &error),
    })?;
    ui::lines(&format!(
        "wrote {}\n\nNext:\n  edit it, then {}",
        lab_yaml::FILE,
        ui::command("up")
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::{NODE_NAMES, Raw};

    #[test]
    fn what_is_written_is_a_lab_of_defaults_but_for_its_size() {
        let raw = lab_yaml::read(lab_yaml::FILE, TEXT).expect("a lab.yaml");
        assert_eq!(raw.num_instances.as_ref().map(|typed| typed.value), Some(3));
        assert_eq!(
            Raw {
                num_instances: None,
                ..raw
            },
            Raw::default()
        );
    }

    #[test]
    fn its_comments_are_valid_settings_and_name_them_all() {
        let text = TEXT.replace("\n#", "\n");
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with(' ') || line.starts_with("  "))
            .collect();
        lab_yaml::read(lab_yaml::FILE, &lines.join("\n")).expect("all of it");
        for name in Raw::NAMES.iter().chain(NODE_NAMES) {
            assert!(text.contains(&format!("{name}:")), "{name}");
        }
    }
}
