//! What is wrong with user-data, and where: file, line, column, the line itself and a caret. For `--strict` and for `lab`.
//!
//! What the original lets pass is an error here: variables without a value, keys it does not know or that come twice, values
//! of another type, a mode that a round trip through YAML made decimal.
use super::go::quote;
use super::schema::{Key, Kind, TOP, did_you_mean, find};
use super::substitute::{self, Values};
use super::validate::{Severity, compatible, request_uri};
use super::yaml::{self, Data, Entry, Mark};
use super::{Input, content, input, is_ignition, paths};

#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub at: Mark,
    pub severity: Severity,
    pub text: String,
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, severity: Severity, at: Mark, text: String) {
        self.0.push(Problem { at, severity, text });
    }

    fn error(&mut self, at: Mark, text: String) {
        self.add(Severity::Error, at, text);
    }
}

/// As it is printed: the place, the text, the line with a caret under it.
pub fn print(problem: &Problem, file: &str, text: &[u8]) -> String {
    let Mark { line, column } = problem.at;
    let (severity, message) = (problem.severity.name(), &problem.text);
    let mut out = format!("{file}:{line}:{column}: {severity}: {message}\n");
    if let Some(source) = text.split(|byte| *byte == b'\n').nth(line.saturating_sub(1)) {
        let source = String::from_utf8_lossy(source).trim_end().replace('\t', " ");
        let number = line.to_string();
        let indent = " ".repeat(number.len());
        out += &format!(
            "  {number} | {source}\n  {indent} | {}^\n",
            " ".repeat(column.saturating_sub(1))
        );
    }
    out
}

/// All problems, by their place. Positions are those in `text`, before any variable is put in.
pub fn check(text: &[u8], values: &Values) -> Vec<Problem> {
    let mut problems = Problems::default();
    match input(text) {
        Input::Empty => {}
        Input::Unknown if is_ignition(text) => {}
        Input::Unknown => {
            let why = match String::from_utf8_lossy(text) {
                text if text.starts_with("Content-Type:") || text.starts_with("MIME-Version:") => {
                    "MIME multipart is not supported: put one cloud-config or one script into the user-data"
                }
                text if text.starts_with("#include") => "#include is not supported: use --from-url",
                text if text.starts_with('\u{feff}') => {
                    "a byte order mark is before the header: save the file without one"
                }
                _ => "must begin with \"#cloud-config\" or \"#!\"",
            };
            problems.error(Mark { line: 1, column: 1 }, why.into());
        }
        Input::Script => undefined(text, values, &mut problems),
        Input::CloudConfig => {
            undefined(text, values, &mut problems);
            // Values go in before it is parsed, as they do when it is applied; one that is missing is told of once.
            let mut known = values.clone();
            for (variable, env) in substitute::VARIABLES {
                let any = if variable.ends_with('6') { "fe80::1" } else { "0.0.0.0" };
                let value = known.entry(env).or_default();
                if value.is_empty() {
                    *value = any.into();
                }
            }
            let mut found = Problems::default();
            match yaml::parse(&substitute::apply(text, &known)) {
                Ok(document) => {
                    if let Some(document) = document {
                        top(&document, &mut found);
                    }
                }
                Err(error) => {
                    let at = error.at.unwrap_or(Mark { line: 1, column: 1 });
                    found.error(at, error.message);
                }
            }
            for mut problem in found.0 {
                problem.at = before_substitution(text, problem.at, &known);
                problems.0.push(problem);
            }
        }
    }
    problems.0.sort_by_key(|problem| problem.at);
    problems.0
}

/// The place in the text as it was written of a place behind a value that was put in.
fn before_substitution(text: &[u8], at: Mark, values: &Values) -> Mark {
    let line = text.split(|byte| *byte == b'\n').nth(at.line.saturating_sub(1));
    let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    if !line.contains('$') {
        return at;
    }
    let width = |prefix: &str| {
        String::from_utf8_lossy(&substitute::apply(prefix.as_bytes(), values))
            .chars()
            .count()
    };
    let ends = line.char_indices().map(|(end, _)| end).chain([line.len()]);
    let column = ends
        .enumerate()
        .filter(|(_, end)| width(&line[..*end]) < at.column)
        .last();
    let column = column.map_or(at.column, |(column, _)| column + 1);
    Mark { column, ..at }
}

fn undefined(text: &[u8], values: &Values, problems: &mut Problems) {
    for (at, variable, env) in substitute::undefined(text, values) {
        let text = format!("{variable} has no value here: set {env}, or write \\{variable} for the text itself");
        problems.error(at, text);
    }
}

fn top(document: &yaml::Value, problems: &mut Problems) {
    if document.data == Data::Null {
        return;
    }
    value(document, &Kind::Struct(TOP), "cloud-config", None, problems);
    let files = child(document, "write_files");
    let Some(Data::List(files)) = files.map(|files| &files.data) else {
        return;
    };
    for file in files {
        let text = |key| child(file, key).map_or(String::new(), |value| value.raw.clone());
        let encoding = text("encoding");
        // An encoding that is none is told of where it stands.
        if let Some(content) = child(file, "content")
            && let Data::Text(bytes) = &content.data
            && let Err(why) = content::decode(bytes, &encoding)
            && !why.starts_with("Unsupported encoding")
        {
            problems.error(content.at, why);
        }
        match child(file, "path") {
            None => problems.error(file.at, "a file without a path".into()),
            Some(path) if paths::absolute(&path.raw).starts_with("/usr/") => {
                problems.error(path.at, "file cannot be written to a read-only filesystem".into());
            }
            Some(_) => {}
        }
        if let Some(permissions) = child(file, "permissions") {
            round_trip(permissions, problems);
        }
    }
}

fn child<'a>(value: &'a yaml::Value, name: &str) -> Option<&'a yaml::Value> {
    let Data::Map(entries) = &value.data else { return None };
    let found = entries
        .iter()
        .rev()
        .find(|entry| entry.key.raw.replace('-', "_") == name);
    found.map(|entry| &entry.value)
}

/// 0644 that some program read as a number and wrote again is 420: octal still, but another mode.
fn round_trip(permissions: &yaml::Value, problems: &mut Problems) {
    let raw = &permissions.raw;
    let Ok(decimal) = raw.parse::<u32>() else { return };
    // Whoever may write may read, and the owner may do what others may.
    let sensible = |mode: u32| {
        let (user, group, other) = (mode >> 6, mode >> 3 & 7, mode & 7);
        mode <= 0o777 && user & 4 == 4 && group & !user == 0 && other & !group == 0
    };
    let literal = u32::from_str_radix(raw, 8).is_ok_and(sensible);
    if permissions.plain && !raw.starts_with('0') && !literal && sensible(decimal) {
        let text = format!(
            "permissions {raw} look like 0{decimal:o} that was read as a number and written in decimal: write \"0{decimal:o}\""
        );
        problems.error(permissions.at, text);
    }
}

fn value(value: &yaml::Value, kind: &Kind, name: &str, key: Option<&Key>, problems: &mut Problems) {
    if !compatible(&value.data, kind) {
        let text = format!("incorrect type for {} (want {})", quote(name), kind.name());
        return problems.error(value.at, text);
    }
    let raw = &value.raw;
    if let Some(valid) = key
        .and_then(|key| key.valid)
        .filter(|valid| !raw.is_empty() && !(valid.matches)(raw))
    {
        problems.error(value.at, format!("invalid value {}: {}", quote(raw), valid.hint));
    }
    if name == "discovery" && !raw.is_empty() && !request_uri(raw) {
        problems.error(value.at, "discovery URL is not valid".into());
    }
    match (kind, &value.data) {
        (Kind::Struct(keys), Data::Map(entries)) => map(entries, keys, problems),
        (Kind::List(element), Data::List(values)) => {
            for (k, value) in values.iter().enumerate() {
                self::value(value, element, &format!("{name}[{k}]"), None, problems);
            }
        }
        _ => {}
    }
}

fn map(entries: &[Entry], keys: &'static [Key], problems: &mut Problems) {
    let written = |entry: &Entry| entry.key.raw.replace('-', "_");
    for (k, entry) in entries.iter().enumerate() {
        let name = written(entry);
        let first = entries[..k]
            .iter()
            .find(|first| !first.merged && !entry.merged && written(first) == name);
        if let Some(first) = first {
            let text = format!("{} is set in line {} already", quote(&name), first.at.line);
            problems.error(entry.at, text);
        }
        let Some(key) = find(keys, &name) else {
            let mut text = format!("unrecognized key {}", quote(&name));
            if let Some(known) = did_you_mean(keys, &name) {
                text += &format!(": did you mean {}?", quote(&known));
            }
            problems.error(entry.at, text);
            continue;
        };
        // That a service is no longer shipped is not so here.
        if let Some(why) = key.deprecated.filter(|why| !why.contains("no longer shipped")) {
            let text = format!("deprecated key {} ({why})", quote(&name));
            problems.add(Severity::Warning, entry.at, text);
        }
        value(&entry.value, &key.kind, &name, Some(key), problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn only(text: &str) -> String {
        let problems = check(text.as_bytes(), &Values::new());
        assert_eq!(problems.len(), 1, "{problems:?}");
        print(&problems[0], "u", text.as_bytes())
    }

    #[test]
    fn problems_point() {
        assert_eq!(
            only("#cloud-config\nhostnmae: x\n"),
            "u:2:1: error: unrecognized key \"hostnmae\": did you mean \"hostname\"?\n  2 | hostnmae: x\n    | ^\n"
        );
        assert_eq!(
            only("#cloud-config\nhostname: a: b\n"),
            "u:2:12: error: mapping values are not allowed in this context\n  2 | hostname: a: b\n    |            ^\n"
        );
        assert!(only("#cloud-config\n# $public_ipv4\n").starts_with("u:2:3: error: $public_ipv4 has no value here"));
        assert!(only("#!/bin/sh\necho $private_ipv6\n").starts_with("u:2:6: "));
        assert!(only("#cloud-config\nhostname: a\nhostname: b\n").contains("set in line 2 already"));
        assert!(only("Content-Type: multipart/mixed\n").contains("MIME multipart is not supported"));
    }

    #[test]
    fn a_value_that_was_put_in_moves_no_place() {
        let values = Values::from([("COREOS_PUBLIC_IPV4", "123.123.123.123".to_string())]);
        let text = b"#cloud-config\ncoreos: {etcd2: {name: $public_ipv4, nmae: x}}\n";
        let problems = check(text, &values);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].at, Mark { line: 2, column: 38 });
    }

    #[test]
    fn a_mode_that_became_decimal_is_named() {
        let file = |mode: &str| format!("#cloud-config\nwrite_files:\n- path: /x\n  permissions: {mode}\n");
        assert!(only(&file("420")).contains("look like 0644"), "{}", only(&file("420")));
        for mode in ["0644", "\"0420\"", "644", "755", "600", "'420'", "400"] {
            assert_eq!(check(file(mode).as_bytes(), &Values::new()), [], "{mode}");
        }
    }

    #[test]
    fn deprecations_are_warnings_and_what_runs_here_is_none() {
        let text = "#cloud-config\ncoreos:\n  etcd2:\n    ca-file: /x\n";
        let problems = check(text.as_bytes(), &Values::new());
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].severity, problems[0].at.line), (Severity::Warning, 4));
    }
}
