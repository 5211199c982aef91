//! The settings of the lab in a directory: what its files, the environment and the flags say.
use std::fs;
use std::io;
use std::path::Path;

use super::raw::Raw;
use super::resolved::Settings;
use super::{Origin, Typed, config_rb, lab_yaml};
use crate::failure::{Failure, Place};
use crate::topology::{self, MAX_NODES};
use crate::ui;

const NUM_INSTANCES: &str = "NUM_INSTANCES";

/// The file that coreos-vagrant gives to all nodes when it is there.
const USER_DATA: &str = "user-data";

/// From the defaults over lab.yaml, the environment and config.rb to the flags, which weigh most. `kept`: what the
/// environment said when the lab was started, for when it says nothing now.
pub fn load(dir: &Path, flags: Raw, kept: Option<&str>) -> Result<Settings, Failure> {
    let environment = environment(num_instances().as_deref().or(kept));
    let lab_yaml = file(dir, lab_yaml::FILE)?;
    let config_rb = file(dir, config_rb::FILE)?;
    let mut settings = resolve(flags, config_rb.as_deref(), environment, lab_yaml.as_deref())?;
    if settings.user_data.value.is_none() && dir.join(USER_DATA).is_file() {
        settings.user_data = Typed::new(Some(USER_DATA.to_string()), Origin::Here(USER_DATA));
    }
    Ok(settings)
}

/// What the environment says of the lab's size.
pub fn num_instances() -> Option<String> {
    std::env::var(NUM_INSTANCES).ok().filter(|text| !text.is_empty())
}

/// The text of a file that may be missing.
pub fn file(dir: &Path, name: &str) -> Result<Option<String>, Failure> {
    let path = dir.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::io("read", &path, &error)),
    }
}

fn resolve(flags: Raw, config_rb: Option<&str>, environment: Raw, lab_yaml: Option<&str>) -> Result<Settings, Failure> {
    let read = |file: &str, text: Option<&str>, read: fn(&str, &str) -> Result<Raw, Failure>| {
        text.map_or_else(|| Ok(Raw::default()), |text| read(file, text))
    };
    let from_yaml = read(lab_yaml::FILE, lab_yaml, lab_yaml::read)?;
    let from_ruby = read(config_rb::FILE, config_rb, config_rb::read)?;
    let mut raw = flags.over(from_ruby).over(environment).over(from_yaml);
    if config_rb.is_some() && raw.num_instances.is_none() {
        // Whoever brings a config.rb means coreos-vagrant's default.
        raw.num_instances = Some(Typed::new(1, Origin::Default));
    }
    let settings = Settings::resolve(raw);
    check_nodes(&settings)?;
    Ok(settings)
}

/// As coreos-vagrant has it: a number above 0, or nothing.
fn environment(variable: Option<&str>) -> Raw {
    let number = variable
        .and_then(|text| text.trim().parse().ok())
        .filter(|n| (1..=MAX_NODES).contains(n));
    let num_instances = number.map(|number| Typed::new(number, Origin::Environment(NUM_INSTANCES)));
    Raw {
        num_instances,
        ..Raw::default()
    }
}

/// Settings for a node that the lab has not are a mistake, unless the lab is a smaller one just this time.
fn check_nodes(settings: &Settings) -> Result<(), Failure> {
    let (prefix, count) = (&settings.instance_name_prefix.value, settings.num_instances.value);
    let for_once = matches!(
        settings.num_instances.origin,
        Origin::Flag(_) | Origin::Kept(_) | Origin::Environment(_)
    );
    let possible = if for_once { MAX_NODES } else { count };
    for (name, node) in &settings.nodes {
        if !(1..=possible).any(|index| topology::name(prefix, index) == *name) {
            let (first, last) = (topology::name(prefix, 1), topology::name(prefix, possible));
            let why = format!(
                "its nodes are {first} to {last} (num_instances: {})",
                settings.num_instances.origin
            );
            return Err(no_such_node(name, &node.place, &why));
        }
    }
    Ok(())
}

fn no_such_node(name: &str, place: &Place, why: &str) -> Failure {
    let todo = format!(
        "rename it, or raise num_instances; {} shows them all",
        ui::command("validate")
    );
    Failure::at(format!("the lab has no node {name}"), place, why, todo)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "num_instances: 2\nvm_memory: 512\nupdate_channel: beta\n";
    const RUBY: &str = "$num_instances=4\n$vm_cpus=2\n";

    fn flags(num_instances: u8) -> Raw {
        let num_instances = Some(Typed::new(num_instances, Origin::Flag("num_instances")));
        Raw {
            num_instances,
            ..Raw::default()
        }
    }

    fn instances(settings: &Settings) -> (u8, String) {
        (settings.num_instances.value, settings.num_instances.origin.to_string())
    }

    #[test]
    fn a_flag_outweighs_config_rb_the_environment_and_lab_yaml() {
        let none = Raw::default;
        let all = resolve(flags(5), Some(RUBY), environment(Some("3")), Some(YAML)).expect("settings");
        assert_eq!(instances(&all), (5, "--num-instances".into()));
        assert_eq!((all.vm_memory.value, all.vm_cpus.value), (512, 2));
        let ruby = resolve(none(), Some(RUBY), environment(Some("3")), Some(YAML)).expect("settings");
        assert_eq!(instances(&ruby), (4, "config.rb:1".into()));
        let variable = resolve(none(), None, environment(Some("3")), Some(YAML)).expect("settings");
        assert_eq!(instances(&variable), (3, "$NUM_INSTANCES".into()));
        let yaml = resolve(none(), None, environment(None), Some(YAML)).expect("settings");
        assert_eq!(instances(&yaml), (2, "lab.yaml:1".into()));
        let default = resolve(none(), None, environment(None), None).expect("settings");
        assert_eq!(instances(&default), (3, "default".into()));
    }

    #[test]
    fn a_config_rb_without_a_number_is_one_node_as_with_coreos_vagrant() {
        let settings = resolve(Raw::default(), Some("$vm_cpus=2"), Raw::default(), None).expect("settings");
        assert_eq!(instances(&settings), (1, "default".into()));
    }

    #[test]
    fn a_variable_that_is_no_number_above_0_counts_for_nothing() {
        for text in ["", "0", "-1", "three", "155"] {
            assert_eq!(environment(Some(text)), Raw::default(), "{text}");
        }
    }

    #[test]
    fn settings_for_a_node_that_is_not_there_are_refused() {
        let yaml = "num_instances: 2\nnodes:\n  core-03: {vm_cpus: 2}\n";
        let failure = resolve(Raw::default(), None, Raw::default(), Some(yaml)).expect_err("no such node");
        assert_eq!(failure.place, "lab.yaml:3:3");
        assert_eq!(
            failure.why,
            "its nodes are core-01 to core-02 (num_instances: lab.yaml:1)"
        );
        resolve(flags(1), None, Raw::default(), Some(yaml)).expect("a smaller lab, this once");
    }

    #[test]
    fn the_table_shows_every_setting_with_its_origin() {
        let settings = resolve(flags(5), Some(RUBY), Raw::default(), Some(YAML)).expect("settings");
        let table = settings.table();
        assert_eq!(table.len(), Raw::NAMES.len());
        for row in [
            ["num_instances", "5", "--num-instances"],
            ["vm_memory", "512", "lab.yaml:2"],
            ["vm_cpus", "2", "config.rb:2"],
            ["expose_docker_tcp", "-", "default"],
            ["discovery", "own", "default"],
        ] {
            assert!(table.contains(&row.map(String::from)), "{row:?}");
        }
    }

    #[test]
    fn the_documentation_has_every_setting_with_its_default() {
        let page = include_str!("../../../docs/lab.yaml.md");
        let table = resolve(Raw::default(), None, Raw::default(), None)
            .expect("defaults")
            .table();
        for [name, value, _] in table {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{name}`")));
            let row = row.unwrap_or_else(|| panic!("{name} is not in docs/lab.yaml.md"));
            assert!(
                value == "-" || row.contains(&format!("| {value}")),
                "{name}: {value} in {row}"
            );
        }
    }
}
