//! One value of a YAML text set, every other byte left as it is (pure).
//!
//! A user's file never goes through a YAML writer: that loses comments, and turns `0644` into 420 and `off` into false.
//! The edit is made on the text and then checked: both texts are parsed, and may differ in that one value only.
use serde_yaml::{Mapping, Value};

use crate::config::yaml;
use crate::failure::{Failure, Place};

/// Where a section that is not there can be made: below which one that is.
pub fn set(file: &str, text: &str, path: &[&str], value: &str) -> Result<String, Failure> {
    let before = yaml::parse(file, text)?;
    let mut expected = before.clone();
    if !put(&mut expected, path, value) {
        return Err(refuse(file, text, path, "something on the way there is no map"));
    }
    let attempts = candidates(text, &before, path, value);
    let sound = |edited: &String| serde_yaml::from_str::<Value>(edited).is_ok_and(|after| after == expected);
    let edited = attempts.into_iter().find(sound);
    edited.ok_or_else(|| {
        refuse(
            file,
            text,
            path,
            "it stands there in a form that cannot be replaced unambiguously",
        )
    })
}

fn refuse(file: &str, text: &str, path: &[&str], why: &str) -> Failure {
    let known = (1..=path.len()).rev().find_map(|depth| yaml::key(text, &path[..depth]));
    let place = Place::of(file, text, known.unwrap_or(0));
    let (name, parents) = path.split_last().unwrap_or((&"", &[]));
    let todo = format!(
        "write it as a line of its own, `{name}: VALUE`, below {}",
        parents.join(":, then ") + ":"
    );
    Failure::at(format!("{} cannot be set in {file}", path.join(".")), &place, why, todo)
}

fn put(document: &mut Value, path: &[&str], value: &str) -> bool {
    let Some((first, rest)) = path.split_first() else {
        *document = Value::String(value.to_string());
        return true;
    };
    if document.is_null() {
        *document = Value::Mapping(Mapping::new());
    }
    let Value::Mapping(map) = document else { return false };
    put(
        map.entry(Value::String((*first).to_string())).or_insert(Value::Null),
        rest,
        value,
    )
}

/// What the text may have to become, the likeliest first.
fn candidates(text: &str, document: &Value, path: &[&str], value: &str) -> Vec<String> {
    let scalar = plain(value);
    let mut present = 0;
    let mut current = document;
    while let Some(next) = path.get(present).and_then(|key| current.get(*key)) {
        current = next;
        present += 1;
    }
    if present == path.len() {
        return match current {
            Value::Null => fill(text, path, &scalar),
            _ => replace(text, path, &scalar),
        };
    }
    // What is missing, as one line: `fleet: {metadata: a=b}`.
    let missing = path[present..].iter().rev().fold(scalar, |inner, key| match inner {
        inner if *key == path[path.len() - 1] => format!("{key}: {inner}"),
        inner => format!("{key}: {{{inner}}}"),
    });
    insert(text, &path[..present], current, &missing)
}

/// Quoted where plain would mean something else, also within braces.
fn plain(value: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=?&+@".contains(c);
    let text = value.chars().all(safe) && value.starts_with(|c: char| c.is_ascii_alphabetic()) && !value.ends_with(':');
    match text && serde_yaml::from_str::<Value>(value).is_ok_and(|parsed| parsed.is_string()) {
        true => value.to_string(),
        false => serde_json::Value::String(value.to_string()).to_string(),
    }
}

/// `discovery:` with nothing behind it, or with a null.
fn fill(text: &str, path: &[&str], scalar: &str) -> Vec<String> {
    let Some(colon) = yaml::key(text, path).and_then(|key| Some(key + text[key..].find(':')? + 1)) else {
        return Vec::new();
    };
    let mut attempts = vec![splice(text, colon, colon, &format!(" {scalar}"))];
    attempts.extend(replace(text, path, scalar));
    attempts
}

fn replace(text: &str, path: &[&str], scalar: &str) -> Vec<String> {
    let Some(start) = yaml::value_of(text, path) else {
        return Vec::new();
    };
    let line = text[start..].lines().next().unwrap_or_default();
    let ends = match line.chars().next() {
        Some(quote @ ('"' | '\'')) => closing(line, quote).into_iter().collect(),
        // Blocks, anchors, aliases, tags and whole maps or lists.
        None | Some('|' | '>' | '&' | '*' | '!' | '{' | '[') => Vec::new(),
        Some(_) => {
            let in_block = line
                .find(" #")
                .map_or(line, |comment| &line[..comment])
                .trim_end()
                .len();
            let in_flow = line[..in_block]
                .find([',', '}', ']'])
                .map(|end| line[..end].trim_end().len());
            [Some(in_block), in_flow].into_iter().flatten().collect::<Vec<_>>()
        }
    };
    ends.into_iter()
        .map(|end| splice(text, start, start + end, scalar))
        .collect()
}

/// The length of a quoted scalar that ends on its line.
fn closing(line: &str, quote: char) -> Option<usize> {
    let mut characters = line.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' if quote == '"' => {
                characters.next();
            }
            '\'' if quote == '\'' && characters.peek().is_some_and(|(_, next)| *next == '\'') => {
                characters.next();
            }
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn insert(text: &str, section: &[&str], content: &Value, entry: &str) -> Vec<String> {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    if content.is_null() {
        // `etcd2:` with nothing, or only comments, below it.
        let Some(key) = yaml::key(text, section) else {
            return Vec::new();
        };
        let indent = key - line_start(text, key) + 2;
        let after = key + text[key..].find('\n').map_or(text.len() - key, |newline| newline + 1);
        let before = if text[..after].ends_with('\n') { "" } else { newline };
        return vec![splice(
            text,
            after,
            after,
            &format!("{before}{}{entry}{newline}", " ".repeat(indent)),
        )];
    }
    let Some(first) = (match section {
        [] => content
            .as_mapping()
            .and_then(|map| map.keys().next()?.as_str())
            .and_then(|key| yaml::key(text, &[key])),
        section => yaml::value_of(text, section),
    }) else {
        return Vec::new();
    };
    if text[first..].starts_with('{') {
        let separator = if content.as_mapping().is_some_and(Mapping::is_empty) {
            ""
        } else {
            ", "
        };
        return vec![splice(text, first + 1, first + 1, &format!("{entry}{separator}"))];
    }
    let start = line_start(text, first);
    let indent = &text[start..first];
    match indent.bytes().all(|byte| byte == b' ') {
        true => vec![splice(text, start, start, &format!("{indent}{entry}{newline}"))],
        false => Vec::new(),
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn splice(text: &str, from: usize, to: usize, with: &str) -> String {
    format!("{}{with}{}", &text[..from], &text[to..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &[&str] = &["coreos", "etcd2", "discovery"];
    const URL: &str = "http://10.0.0.1:8087/new7";

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(set("user-data", text, PATH, URL).expect(text), expected);
    }

    #[test]
    fn only_that_scalar_changes() {
        check(
            "#cloud-config\n# mine\ncoreos:\n  update: {reboot-strategy: off}\n  etcd2:\n    discovery:   'old' # paste\n    a: 0644\n",
            "#cloud-config\n# mine\ncoreos:\n  update: {reboot-strategy: off}\n  etcd2:\n    discovery:   http://10.0.0.1:8087/new7 # paste\n    a: 0644\n",
        );
        check(
            "coreos:\n  etcd2:\n    discovery: \"a\\\"b\"\n",
            "coreos:\n  etcd2:\n    discovery: http://10.0.0.1:8087/new7\n",
        );
        check(
            "coreos:\n  etcd2:\n    discovery: https://x/y",
            "coreos:\n  etcd2:\n    discovery: http://10.0.0.1:8087/new7",
        );
        check(
            "coreos: {etcd2: {discovery: x, name: y}}\n",
            "coreos: {etcd2: {discovery: http://10.0.0.1:8087/new7, name: y}}\n",
        );
        check(
            "coreos:\r\n  etcd2:\r\n    discovery: x\r\n",
            "coreos:\r\n  etcd2:\r\n    discovery: http://10.0.0.1:8087/new7\r\n",
        );
    }

    #[test]
    fn what_is_empty_is_filled() {
        for empty in ["discovery:", "discovery: ~", "discovery: null", "discovery: # here"] {
            let text = format!("coreos:\n  etcd2:\n    {empty}\n    name: x\n");
            let edited = set("user-data", &text, PATH, URL).expect(&text);
            assert!(edited.contains("    name: x\n"), "{edited}");
        }
    }

    #[test]
    fn what_is_missing_comes_first_in_its_section() {
        check(
            "coreos:\n  etcd2:\n    # discovery: https://...\n    name: x # y\n",
            "coreos:\n  etcd2:\n    # discovery: https://...\n    discovery: http://10.0.0.1:8087/new7\n    name: x # y\n",
        );
        check(
            "coreos:\n  etcd2:\n",
            "coreos:\n  etcd2:\n    discovery: http://10.0.0.1:8087/new7\n",
        );
        check(
            "coreos:\n  etcd2: {}\n",
            "coreos:\n  etcd2: {discovery: http://10.0.0.1:8087/new7}\n",
        );
        check(
            "coreos:\n  units: []\n",
            "coreos:\n  etcd2: {discovery: http://10.0.0.1:8087/new7}\n  units: []\n",
        );
        check(
            "a: 1\n",
            "coreos: {etcd2: {discovery: http://10.0.0.1:8087/new7}}\na: 1\n",
        );
    }

    #[test]
    fn what_is_ambiguous_is_refused_with_its_place() {
        for (text, place) in [
            ("coreos:\n  etcd2:\n    discovery: |\n      x\n", "user-data:3:5"),
            ("a: &x y\ncoreos:\n  etcd2:\n    discovery: *x\n", "user-data:4:5"),
            ("coreos:\n  etcd2: &e\n    discovery: x\n  etcd: *e\n", "user-data:3:5"),
            ("coreos:\n  etcd2:\n    discovery: x\n     y\n", "user-data:3:5"),
            ("coreos: 7\n", "user-data:1:1"),
        ] {
            let failure = set("user-data", text, PATH, URL).expect_err(text);
            assert_eq!(failure.place, place, "{text}: {failure:?}");
        }
    }

    #[test]
    fn a_value_is_quoted_where_plain_would_mean_something_else() {
        for value in [
            "role=db,disk=ssd",
            "yes: no",
            "7",
            "true",
            "",
            "a #b",
            "{x}",
            "core-01=http://1:2380,b=http://2",
        ] {
            let edited = set(
                "user-data",
                "coreos:\n  fleet: {x: y}\n",
                &["coreos", "fleet", "metadata"],
                value,
            )
            .expect(value);
            let parsed: Value = serde_yaml::from_str(&edited).expect(&edited);
            assert_eq!(parsed["coreos"]["fleet"]["metadata"].as_str(), Some(value));
        }
    }
}
