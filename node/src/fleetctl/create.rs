//! Where a unit comes from: the registry, a file, or a template in either; and how it gets into the registry.
use std::path::{Path, PathBuf};

use super::{Context, closest, say};
use crate::fleet::schema::{JobState, Unit};
use crate::unit::{Problem, Requirements, UnitFile, UnitName, name};

/// What X-Fleet knows, for those who mistype it.
const KEYS: [&str; 11] = [
    "MachineID",
    "MachineOf",
    "MachineMetadata",
    "PreferredMetadata",
    "Conflicts",
    "Replaces",
    "Global",
    "Weight",
    "MaxPerMachine",
    "OnDisconnect",
    "RestartFailed",
];

/// A unit's text, and the file that it was read from.
struct Source {
    file: UnitFile,
    path: Option<PathBuf>,
}

/// What has become of the units that were named.
#[derive(Debug, Default)]
pub struct Lookup {
    /// Those that are in the registry now and may be worked with.
    pub names: Vec<String>,
    pub created: Vec<String>,
    /// Those that have another file since, with its hash.
    pub replaced: Vec<(String, String)>,
}

/// Makes sure that each unit is in the registry. `replace`: what is there gives way to a local file, as far as it is in no
/// further state than this.
pub async fn ensure(context: &Context, replace: Option<JobState>) -> Result<Lookup, String> {
    let mut lookup = Lookup::default();
    for argument in &context.command.args {
        let path = with_suffix(argument);
        let name = name::mangle(argument);
        let unit = context.driver.unit(&name).await;
        match unit.map_err(|error| format!("error retrieving Unit({name}) from Registry: {error}"))? {
            Some(unit) => match replace {
                None => warn_of_difference(&path, &unit),
                Some(limit) => match replaced(context, &path, &unit, limit).await? {
                    Replaced::Yes(hash) => lookup.replaced.push((name.clone(), hash)),
                    Replaced::Same => {}
                    Replaced::Refused => continue,
                },
            },
            None => {
                let source = find(context, &path, &name).await?;
                create(context, &name, &source).await?;
                lookup.created.push(name.clone());
            }
        }
        if !lookup.names.contains(&name) {
            lookup.names.push(name);
        }
    }
    Ok(lookup)
}

/// The path that an argument stands for: with the suffix that the name has.
fn with_suffix(argument: &str) -> PathBuf {
    let path = Path::new(argument);
    path.with_file_name(name::mangle(argument))
}

fn read(path: &Path) -> Result<Source, String> {
    let failed = |why: String| format!("failed getting Unit({}) from file: {why}", path.display());
    let text = std::fs::read(path);
    let text = text.map_err(|error| {
        failed(format!(
            "open {}: {}",
            path.display(),
            super::transport::in_gos_words(&error)
        ))
    })?;
    let text = String::from_utf8(text).map_err(|_| failed("it is no text in UTF-8".into()))?;
    // The original's words have no line, and scripts may know them.
    let file = UnitFile::parse(&text).map_err(|problem| failed(problem.text))?;
    Ok(Source {
        file,
        path: Some(path.into()),
    })
}

/// The file of an instance's template, beside where the instance's own would be.
fn template_beside(path: &Path, name: &UnitName) -> Option<PathBuf> {
    let template = path.with_file_name(&name.template);
    (name.is_instance() && template.exists()).then_some(template)
}

async fn find(context: &Context, path: &Path, name: &str) -> Result<Source, String> {
    if path.exists() {
        return read(path);
    }
    let of = UnitName::new(name);
    if !of.is_instance() {
        return Err(format!("unable to find Unit({name}) in Registry or on filesystem"));
    }
    let template = context.driver.unit(&of.template).await;
    let template =
        template.map_err(|error| format!("error retrieving template Unit({}) from Registry: {error}", of.template));
    if let Some(unit) = template? {
        warn_of_difference(path, &unit);
        return Ok(Source {
            file: UnitFile::from(unit.options),
            path: None,
        });
    }
    match template_beside(path, &of) {
        Some(path) => read(&path),
        None => Err(format!(
            "unable to find Unit({name}) or template Unit({}) in Registry or on filesystem",
            of.template
        )),
    }
}

async fn create(context: &Context, name: &str, source: &Source) -> Result<(), String> {
    check(name, source)?;
    let created = context.driver.create(name, &source.file.options).await;
    created.map_err(|error| format!("failed creating unit {name}: {error}"))
}

/// What would be refused or means nothing, told with file and line where the original tells less.
fn check(name: &str, source: &Source) -> Result<(), String> {
    name::validate(name)?;
    let at = |problem: &Problem| match &source.path {
        Some(path) if problem.line > 0 => format!("{}:{}: {}", path.display(), problem.line, problem.text),
        _ => problem.text.clone(),
    };
    let (requirements, problems) = Requirements::read(&UnitName::new(name), &source.file);
    if let Some(text) = requirements.contradiction() {
        return Err(text);
    }
    if let Some(problem) = problems.first() {
        return Err(at(problem));
    }
    for (line, key) in &requirements.unknown {
        let mut text = format!("Unit {name}: unrecognized requirement in [X-Fleet] section: {key:?}");
        let hint = closest::hint(key, KEYS);
        if !hint.is_empty() {
            text = at(&Problem::new(*line, format!("{text}{hint}")));
        }
        say::log("WARN", "fleetctl", &text);
    }
    Ok(())
}

/// A local file that is not what the registry has goes unnoticed otherwise.
fn warn_of_difference(path: &Path, unit: &Unit) {
    let stored = UnitFile::from(unit.options.clone()).hash();
    let differs = |path: &Path| read(path).is_ok_and(|source| source.file.hash() != stored);
    let name = &unit.name;
    if path.exists() {
        if differs(path) {
            let path = path.display();
            say::err(&format!(
                "WARNING: Unit {name} in registry differs from local unit file {path}"
            ));
        }
        return;
    }
    let of = UnitName::new(&path.file_name().unwrap_or_default().to_string_lossy());
    if template_beside(path, &of).is_some_and(|path| differs(&path)) {
        let template = &of.template;
        say::err(&format!(
            "WARNING: Unit {name} in registry differs from local template unit file {template}"
        ));
    }
}

enum Replaced {
    Yes(String),
    Same,
    Refused,
}

/// Puts the local file, if there is one, in the place of what the registry has.
async fn replaced(context: &Context, path: &Path, unit: &Unit, limit: JobState) -> Result<Replaced, String> {
    let name = &unit.name;
    let local = match path.exists() {
        true => Some(path.to_path_buf()),
        false => template_beside(path, &UnitName::new(name)),
    };
    let Some(local) = local else {
        return Ok(Replaced::Same);
    };
    let source = read(&local)?;
    if source.file.hash() == UnitFile::from(unit.options.clone()).hash() {
        say::out(&format!("Found same Unit({name}) in Registry, nothing to do"));
        return Ok(Replaced::Same);
    }
    let state = |text: &str| JobState::parse(text).unwrap_or_default();
    let furthest = state(&unit.current_state).max(state(&unit.desired_state));
    if furthest > limit {
        say::err(&format!(
            "Warning: can not replace Unit({name}) in state '{}', use the appropriate command",
            furthest.name()
        ));
        return Ok(Replaced::Refused);
    }
    check(name, &source)?;
    let sent = context.driver.replace(name, &source.file.options, limit).await;
    sent.map_err(|error| format!("failed replacing unit {name}: {error}"))?;
    Ok(Replaced::Yes(source.file.hash().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            file: UnitFile::parse(text).unwrap(),
            path: Some("d/x.service".into()),
        }
    }

    #[test]
    fn malformed_requirements_are_named_with_file_and_line() {
        let bad = source("[Service]\nExecStart=/x\n\n[X-Fleet]\nMachineMetadata=novalue\n");
        let why = check("x.service", &bad).unwrap_err();
        assert!(
            why.starts_with("d/x.service:5: MachineMetadata: \"novalue\" is none of"),
            "{why}"
        );
        let contradiction = source("[X-Fleet]\nGlobal=true\nMachineOf=y\n");
        assert_eq!(
            check("x.service", &contradiction),
            Err("Global cannot be used with Peers".into())
        );
        assert_eq!(check("x.foo", &source("")), Err("invalid unit type: \"foo\"".into()));
    }

    #[test]
    fn arguments_name_files_with_their_suffix() {
        assert_eq!(with_suffix("d/hello"), Path::new("d/hello.service"));
        assert_eq!(with_suffix("hello.timer"), Path::new("hello.timer"));
    }
}
