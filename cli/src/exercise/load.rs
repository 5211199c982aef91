//! Exercises are found, read, and checked as far as that goes without running them.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use regex_lite::Regex;
use serde_yaml::with::singleton_map_recursive;

use super::model::{Act, Check, Choice, Exercise, FORMAT, Step};
use super::vars::Vars;
use crate::config::{closest, lab_yaml, yaml};
use crate::failure::{Exit, Failure, Place};
use crate::faults::Span;
use crate::ui;

/// Those that this program was built with.
static BUILT_IN: Dir = include_dir!("$CARGO_MANIFEST_DIR/../labs");
const DIR: &str = "labs";
const FILE: &str = "lab.yaml";

/// One that has been read.
#[derive(Clone, Debug)]
pub struct Found {
    /// The folder's name: NN-name.
    pub name: String,
    pub file: String,
    pub exercise: Exercise,
}

/// All of them in order: those of the directory `labs` here or above it, else those that are built in.
pub fn all() -> Result<Vec<Found>, Failure> {
    let mut texts = texts();
    texts.sort();
    texts
        .into_iter()
        .map(|(name, file, text)| read(name, file, &text))
        .collect()
}

fn texts() -> Vec<(String, String, String)> {
    if let Some(dir) = here() {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        return entries
            .filter_map(|entry| {
                let file = entry.path().join(FILE);
                let text = fs::read_to_string(&file).ok()?;
                let shown = Path::new(DIR).join(entry.file_name()).join(FILE);
                Some((
                    entry.file_name().to_string_lossy().into_owned(),
                    shown.display().to_string(),
                    text,
                ))
            })
            .collect();
    }
    let of = |dir: &Dir| {
        let name = dir.path().file_name()?.to_string_lossy().into_owned();
        let file = dir.get_file(dir.path().join(FILE))?;
        Some((
            name.clone(),
            format!("{DIR}/{name}/{FILE}"),
            file.contents_utf8()?.to_string(),
        ))
    };
    BUILT_IN.dirs().filter_map(of).collect()
}

fn here() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let has = |dir: &&Path| {
        let entries = fs::read_dir(dir.join(DIR)).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.path().join(FILE).is_file())
    };
    here.ancestors().find(has).map(|dir| dir.join(DIR))
}

/// By the folder's name, the part of it after the number, its number, or the path of a folder or file.
pub fn find(name: &str) -> Result<Found, Failure> {
    let path = Path::new(name);
    if name.contains('/') || path.join(FILE).is_file() {
        let file = if path.is_dir() {
            path.join(FILE)
        } else {
            path.to_path_buf()
        };
        let text = fs::read_to_string(&file).map_err(|error| Failure::io("read", &file, &error))?;
        let folder = file
            .canonicalize()
            .ok()
            .and_then(|file| Some(file.parent()?.file_name()?.to_owned()));
        let folder = folder.unwrap_or_default().to_string_lossy().into_owned();
        return read(folder, file.display().to_string(), &text);
    }
    let texts = texts();
    let short = |full: &str| {
        full.split_once('-')
            .map_or(full.to_string(), |(_, rest)| rest.to_string())
    };
    let number = |full: &str| full.split('-').next().and_then(|number| number.parse::<u32>().ok());
    let is_it = |full: &str| full == name || short(full) == name || name.parse().is_ok_and(|n| number(full) == Some(n));
    if let Some((full, file, text)) = texts.iter().find(|(full, _, _)| is_it(full)) {
        return read(full.clone(), file.clone(), text);
    }
    let mut names: Vec<String> = texts.iter().map(|(full, _, _)| full.clone()).collect();
    names.sort();
    let shorts: Vec<String> = names.iter().map(|name| short(name)).collect();
    let known: Vec<&str> = names.iter().chain(&shorts).map(String::as_str).collect();
    let like = match closest(name, &known) {
        Some(other) => format!("did you mean {other}? "),
        None => String::new(),
    };
    let what = format!("there is no exercise {name}");
    let why = format!("{like}there are {}", names.join(", "));
    Err(Failure::new(Exit::Usage, what, DIR, why, ui::command("learn")))
}

pub fn read(name: String, file: String, text: &str) -> Result<Found, Failure> {
    yaml::parse(&file, text)?;
    // Maps with one key where serde_yaml would have tags.
    let parsed = singleton_map_recursive::deserialize(serde_yaml::Deserializer::from_str(text));
    let exercise: Exercise = parsed.map_err(|error: serde_yaml::Error| {
        let at = error
            .location()
            .map_or(0, |at| yaml::offset(text, at.line(), at.column()));
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or(&why).to_string();
        let what = format!("{file} is no exercise");
        Failure::at(
            what,
            &Place::of(&file, text, at),
            why,
            ui::command("schema  # what can be said"),
        )
    })?;
    let linter = Linter { file: &file, text };
    linter.exercise(&exercise)?;
    Ok(Found {
        name,
        exercise: expanded(exercise),
        file,
    })
}

/// A step for each of `for_each`.
fn expanded(mut exercise: Exercise) -> Exercise {
    let steps = std::mem::take(&mut exercise.steps);
    for step in steps {
        if step.for_each.is_empty() {
            exercise.steps.push(step);
            continue;
        }
        for (index, each) in step.for_each.iter().enumerate() {
            exercise.steps.push(Step {
                id: format!("{}.{each}", step.id),
                title: step.title.replace("v(each)", each),
                each: Some((index, each.clone())),
                for_each: Vec::new(),
                ..step.clone()
            });
        }
    }
    exercise
}

struct Linter<'a> {
    file: &'a str,
    text: &'a str,
}

impl Linter<'_> {
    fn wrong(&self, path: &[&str], why: impl Into<String>) -> Failure {
        let at = (0..=path.len())
            .rev()
            .find_map(|length| yaml::value_of(self.text, &path[..length]));
        let place = Place::of(self.file, self.text, at.unwrap_or(0));
        let what = format!("{} cannot be run", self.file);
        Failure::at(
            what,
            &place,
            why.into(),
            format!("correct it, then {}", ui::command("lint")),
        )
    }

    fn exercise(&self, exercise: &Exercise) -> Result<(), Failure> {
        if exercise.lab != FORMAT {
            return Err(self.wrong(&["lab"], format!("this program reads format {FORMAT}")));
        }
        let settings = serde_yaml::to_string(&exercise.topology).unwrap_or_default();
        let raw = lab_yaml::read("topology", &settings).map_err(|failure| self.wrong(&["topology"], failure.why))?;
        let mut vars = Vars::default();
        for (name, choice) in &exercise.vars {
            match choice {
                Choice::Of(list) if list.is_empty() => {
                    return Err(self.wrong(&["vars", name], "there is nothing to choose from"));
                }
                _ => vars.set(name.clone(), "x"),
            }
        }
        let count = raw.num_instances.map_or(3, |typed| typed.value);
        let prefix = raw.instance_name_prefix.map_or("core".to_string(), |typed| typed.value);
        let nodes: Vec<String> = (1..=count).map(|number| format!("{prefix}-{number:02}")).collect();
        for node in &nodes {
            vars.set(format!("node.{node}.ip"), "x");
        }
        if exercise.steps.is_empty() {
            return Err(self.wrong(&["steps"], "there is no step"));
        }
        let mut ids = BTreeSet::new();
        for (at, step) in exercise.steps.iter().enumerate() {
            let number = at.to_string();
            let path = ["steps", number.as_str()];
            if !step.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') || step.id.is_empty() {
                return Err(self.wrong(&[path[0], path[1], "id"], "an id is made of letters, digits and dashes"));
            }
            if !ids.insert(step.id.clone()) {
                return Err(self.wrong(
                    &[path[0], path[1], "id"],
                    format!("another step is called {}, too", step.id),
                ));
            }
            self.step(&path, step, &mut vars, &nodes)?;
        }
        Ok(())
    }

    fn step(&self, path: &[&str; 2], step: &Step, vars: &mut Vars, nodes: &[String]) -> Result<(), Failure> {
        let mut local = vars.clone();
        if !step.for_each.is_empty() {
            for name in ["each", "each.ip", "index"] {
                local.set(name, "x");
            }
            if let Some(other) = step.for_each.iter().find(|each| !nodes.contains(each)) {
                let why = format!("{other} is no node: there are {}", nodes.join(", "));
                return Err(self.wrong(&[path[0], path[1], "for_each"], why));
            }
        }
        // Of this step, it does not know any value yet.
        for (at, check) in step.guard.iter().enumerate() {
            let number = at.to_string();
            let here = [path[0], path[1], "guard", number.as_str()];
            self.check(check, false, step, nodes)
                .map_err(|why| self.wrong(&here, why))?;
            vars.put(check).map_err(|why| self.wrong(&here, why))?;
        }
        let acts = step.acts.iter().enumerate().map(|(at, act)| ("do", at, act));
        let cleanup = step.cleanup.iter().enumerate().map(|(at, act)| ("cleanup", at, act));
        for (list, at, act) in acts.chain(cleanup) {
            let number = at.to_string();
            let here = [path[0], path[1], list, number.as_str()];
            local.put(act).map_err(|why| self.wrong(&here, why))?;
            self.act(act, nodes).map_err(|why| self.wrong(&here, why))?;
            if list == "cleanup" && (act.fault.is_some() || !act.capture.is_empty()) {
                return Err(self.wrong(&here, "what tidies up breaks nothing and finds nothing out"));
            }
            for (name, pattern) in &act.capture {
                regex(pattern).map_err(|why| self.wrong(&here, why))?;
                local.set(format!("this.{name}"), "x");
                local.set(format!("{}.{name}", step.id), "x");
                let ids = step.for_each.iter().map(|each| format!("{}.{each}", step.id));
                for id in ids.chain([step.id.clone()]) {
                    vars.set(format!("{id}.{name}"), "x");
                }
            }
        }
        local
            .text(&step.say)
            .map_err(|why| self.wrong(&[path[0], path[1], "say"], why))?;
        local
            .text(&step.learned)
            .map_err(|why| self.wrong(&[path[0], path[1], "learned"], why))?;
        if step.checks.is_empty() && step.then.is_empty() {
            return Err(self.wrong(path, "a step without a check proves nothing"));
        }
        let mut ids = BTreeSet::new();
        for (list, checks) in [("check", &step.checks), ("then", &step.then)] {
            for (at, check) in checks.iter().enumerate() {
                let number = at.to_string();
                let here = [path[0], path[1], list, number.as_str()];
                local.put(check).map_err(|why| self.wrong(&here, why))?;
                self.check(check, list == "then", step, nodes)
                    .map_err(|why| self.wrong(&here, why))?;
                if !ids.insert(&check.id) {
                    return Err(self.wrong(&here, format!("another check is called {}, too", check.id)));
                }
            }
        }
        for (at, hint) in step.hints.iter().enumerate() {
            let number = at.to_string();
            let here = [path[0], path[1], "hints", number.as_str()];
            local.text(&hint.text).map_err(|why| self.wrong(&here, why))?;
            if let Some(when) = hint.when.as_ref().filter(|when| !ids.contains(when)) {
                return Err(self.wrong(&here, format!("no check of this step is called {when}")));
            }
        }
        if let Some(ask) = &step.ask {
            local
                .put(ask)
                .map_err(|why| self.wrong(&[path[0], path[1], "ask"], why))?;
        }
        Ok(())
    }

    fn act(&self, act: &Act, nodes: &[String]) -> Result<(), String> {
        let verb = act.verb()?;
        match (&act.at, matches!(verb, "fault" | "lab")) {
            (None, false) => return Err("where? say at: core-01, or at: all".into()),
            (Some(_), true) => return Err(format!("{verb} has no at: it names its nodes itself")),
            _ => {}
        }
        if let Some(request) = &act.http {
            request.target()?;
            if request.body.is_some() && !request.form.is_empty() {
                return Err("a request has a form or a body".into());
            }
        }
        known(act.at.iter().flat_map(|names| names.iter()), nodes)?;
        if let Some(fault) = &act.fault {
            fault.check()?;
            known(fault.nodes().into_iter(), nodes)?;
            match act.until.as_deref() {
                None | Some("end") => {}
                Some(text) => drop(text.parse::<Span>().map_err(|why| format!("until: {why}; or end"))?),
            }
        } else if act.until.is_some() {
            return Err("until is of faults".into());
        }
        for (program, words) in [("lab", &act.lab), ("etcdctl", &act.etcd), ("fleetctl", &act.fleet)] {
            let again = words.as_ref().and_then(|words| words.trim().strip_prefix(program));
            if let Some(rest) = again.filter(|rest| rest.starts_with(' ')) {
                return Err(format!("without {program} in front:{rest}"));
            }
        }
        Ok(())
    }

    fn check(&self, check: &Check, is_then: bool, step: &Step, nodes: &[String]) -> Result<(), String> {
        check.kind()?;
        known(check.nodes().into_iter(), nodes)?;
        let needs_place = check.run.is_some() || check.unit.is_some() || check.file.is_some();
        if needs_place && check.at.is_none() {
            return Err("where? say at: core-01, or at: all".into());
        }
        for pattern in check.output.iter().chain(check.http.iter().flat_map(|http| &http.body)) {
            regex(pattern)?;
        }
        if check.traffic.is_some() && !is_then {
            return Err("traffic is judged when the step is over: put it under `then`".into());
        }
        if check.traffic.is_some() && step.load.is_none() {
            return Err("nobody writes in this step: give it a load, as in load: {at: core-01}".into());
        }
        Ok(())
    }
}

fn known<'a>(mut names: impl Iterator<Item = &'a str>, nodes: &[String]) -> Result<(), String> {
    let is_known = |name: &&str| *name == "all" || name.contains("v(") || nodes.iter().any(|node| node == name);
    match names.find(|name| !is_known(name)) {
        Some(other) => Err(format!("{other} is no node: there are {}", nodes.join(", "))),
        None => Ok(()),
    }
}

fn regex(pattern: &str) -> Result<(), String> {
    // Values may be put in later.
    match Regex::new(&pattern.replace("v(", "(")) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{pattern:?} is no regular expression: {error}")),
    }
}
