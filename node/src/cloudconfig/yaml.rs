//! YAML 1.1 as goyaml read it: a tree with positions, raw scalars, duplicate keys and merges, libyaml's own words for errors.
use std::collections::HashMap;

use super::content;
use super::events::{Event, Events, Failure};

/// Where something is, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub message: String,
    /// The line goyaml reports: counted from 0, and 1 where it knows none.
    pub reported: usize,
    pub at: Option<Mark>,
    /// Does goyaml name the line in its text?
    named: bool,
}

impl Error {
    fn plain(message: impl Into<String>, at: Mark) -> Error {
        Error {
            message: message.into(),
            reported: 1,
            at: Some(at),
            named: false,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.named {
            true => write!(f, "YAML error: line {}: {}", self.reported, self.message),
            false => write!(f, "YAML error: {}", self.message),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Vec<u8>),
    List(Vec<Value>),
    /// In the order written, merges in their place, duplicates kept.
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub at: Mark,
    /// A scalar as it is written, without quotes.
    pub raw: String,
    /// Not quoted, no block.
    pub plain: bool,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Mark,
    pub key: Value,
    pub value: Value,
    /// Comes from a `<<`.
    pub merged: bool,
}

impl Entry {
    /// The key as Go's %s prints what it was resolved to.
    pub fn name(&self) -> String {
        match &self.key.data {
            Data::Text(_) => self.key.raw.clone(),
            Data::Null => "%!s(<nil>)".into(),
            Data::Bool(value) => format!("%!s(bool={value})"),
            Data::Int(value) => format!("%!s(int={value})"),
            Data::Float(value) => format!("%!s(float64={})", super::go::float(*value)),
            Data::List(_) | Data::Map(_) => String::new(),
        }
    }
}

/// How deep a document may nest, and how many values its aliases may expand to: both far beyond any real one.
const MAX_DEPTH: usize = 200;
const MAX_VALUES: usize = 200_000;

enum Kind {
    Scalar {
        text: String,
        plain: bool,
        tag: Option<String>,
    },
    Alias(String),
    List(Vec<usize>),
    Map(Vec<usize>),
}

struct Node {
    at: Mark,
    kind: Kind,
}

#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    /// An anchor that is defined twice is the last one everywhere.
    anchors: HashMap<String, usize>,
}

/// The first document; none when there is none.
pub fn parse(text: &[u8]) -> Result<Option<Value>, Error> {
    let mut events = Events::of(text);
    let mut next = || events.next().map_err(syntax);
    let mut tree = Tree::default();
    let mut open: Vec<usize> = Vec::new();
    let mut root = None;
    loop {
        let (event, at) = next()?;
        let (kind, anchor) = match event {
            Event::StreamEnd => break,
            Event::DocumentEnd => {
                // goyaml looks one event ahead, and fails if there is none to be had.
                next()?;
                break;
            }
            Event::Alias(anchor) => (Kind::Alias(anchor), None),
            Event::Scalar {
                anchor,
                tag,
                text,
                plain,
            } => (Kind::Scalar { text, plain, tag }, anchor),
            Event::ListStart(anchor) => (Kind::List(Vec::new()), anchor),
            Event::MapStart(anchor) => (Kind::Map(Vec::new()), anchor),
            Event::End => {
                open.pop();
                continue;
            }
            Event::Other => continue,
        };
        let id = tree.nodes.len();
        if let Some(anchor) = anchor {
            tree.anchors.insert(anchor, id);
        }
        match open.last().map(|parent| &mut tree.nodes[*parent].kind) {
            Some(Kind::List(children) | Kind::Map(children)) => children.push(id),
            _ => root = Some(id),
        }
        if matches!(kind, Kind::List(_) | Kind::Map(_)) {
            open.push(id);
            if open.len() > MAX_DEPTH {
                return Err(Error::plain(format!("nested deeper than {MAX_DEPTH} levels"), at));
            }
        }
        tree.nodes.push(Node { at, kind });
    }
    let mut reader = Reader {
        tree: &tree,
        values: 0,
        aliases: Vec::new(),
    };
    root.map(|root| reader.value(root, 0)).transpose()
}

fn syntax(failure: Failure) -> Error {
    let reported = match (failure.line, failure.context_line) {
        (0, context) => context,
        (problem, _) => problem,
    };
    Error {
        message: failure.problem,
        reported: if reported == 0 { 1 } else { reported },
        at: failure.at,
        named: reported != 0,
    }
}

struct Reader<'a> {
    tree: &'a Tree,
    values: usize,
    /// Those being expanded.
    aliases: Vec<usize>,
}

impl Reader<'_> {
    fn value(&mut self, id: usize, depth: usize) -> Result<Value, Error> {
        let tree = self.tree;
        let Node { at, kind } = &tree.nodes[id];
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Error::plain(
                format!("aliases expand to more than {MAX_VALUES} values"),
                *at,
            ));
        }
        if depth > MAX_DEPTH {
            return Err(Error::plain(format!("nested deeper than {MAX_DEPTH} levels"), *at));
        }
        let data = match kind {
            Kind::Scalar { text, plain, tag } => {
                return Ok(Value {
                    at: *at,
                    raw: text.clone(),
                    plain: *plain,
                    data: resolve(text, *plain, tag.as_deref()).map_err(|message| Error::plain(message, *at))?,
                });
            }
            Kind::Alias(name) => {
                let Some(&target) = tree.anchors.get(name) else {
                    return Err(Error::plain(format!("unknown anchor '{name}' referenced"), *at));
                };
                if self.aliases.contains(&target) {
                    return Err(Error::plain(format!("anchor '{name}' value contains itself"), *at));
                }
                self.aliases.push(target);
                let value = self.value(target, depth + 1);
                self.aliases.pop();
                return value.map(|value| Value { at: *at, ..value });
            }
            Kind::List(children) => {
                let values = children.iter().map(|child| self.value(*child, depth + 1));
                Data::List(values.collect::<Result<_, _>>()?)
            }
            Kind::Map(children) => {
                let mut entries = Vec::new();
                for pair in children.chunks_exact(2) {
                    let key = self.value(pair[0], depth + 1)?;
                    let value = self.value(pair[1], depth + 1)?;
                    if key.raw == "<<" && key.plain {
                        entries.extend(merged(value)?);
                    } else {
                        let (at, merged) = (key.at, false);
                        entries.push(Entry { at, key, value, merged });
                    }
                }
                Data::Map(entries)
            }
        };
        let raw = String::new();
        let (at, plain) = (*at, false);
        Ok(Value { at, raw, plain, data })
    }
}

/// The entries that a `<<` brings; of several mappings the first wins.
fn merged(value: Value) -> Result<Vec<Entry>, Error> {
    let wrong = |at| Error::plain("map merge requires map or sequence of maps as the value", at);
    let maps = match value.data {
        Data::List(values) => values.into_iter().rev().collect(),
        _ => vec![value],
    };
    let mut entries = Vec::new();
    for map in maps {
        match map.data {
            Data::Map(found) => entries.extend(found.into_iter().map(|entry| Entry { merged: true, ..entry })),
            _ => return Err(wrong(map.at)),
        }
    }
    Ok(entries)
}

const TAG: &str = "tag:yaml.org,2002:";

/// What a scalar means: YAML 1.1's words and numbers, where it is plain or a tag says so.
fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Data, String> {
    let short = tag.map(|tag| tag.strip_prefix(TAG).unwrap_or(""));
    match short {
        None if plain => Ok(implicit(text)),
        Some("binary") => match content::base64(text.as_bytes()) {
            Ok(bytes) => Ok(Data::Text(bytes)),
            Err(_) => Err("!!binary value contains invalid base64 data".into()),
        },
        Some(wanted @ ("int" | "float" | "bool" | "null")) => {
            let data = implicit(text);
            let found = match data {
                Data::Null => "null",
                Data::Bool(_) => "bool",
                Data::Int(_) => "int",
                Data::Float(_) => "float",
                _ => "str",
            };
            match found == wanted {
                true => Ok(data),
                false => Err(format!("cannot decode !!{found} `{text}` as a !!{wanted}")),
            }
        }
        _ => Ok(Data::Text(text.as_bytes().to_vec())),
    }
}

fn implicit(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Data::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Data::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Data::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Data::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Data::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes()[0] {
        b'.' => text.parse().ok().map(Data::Float),
        b'0'..=b'9' | b'+' | b'-' => {
            let text = text.replace('_', "");
            integer(&text).map(Data::Int).or_else(|| float(&text).map(Data::Float))
        }
        _ => None,
    };
    number.unwrap_or_else(|| Data::Text(text.as_bytes().to_vec()))
}

/// strconv.ParseInt with base 0: the prefix chooses, and a leading 0 is octal.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") if lower.len() > 2 => (16, &lower[2..]),
        Some("0o") if lower.len() > 2 => (8, &lower[2..]),
        Some("0b") if lower.len() > 2 => (2, &lower[2..]),
        _ if lower == "0" => return Some(0),
        _ if lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

fn float(text: &str) -> Option<f64> {
    // Rust reads a sign before "nan", Go does not.
    let value: f64 = text.parse().ok()?;
    (!value.is_nan() && (value.is_finite() || text.to_ascii_lowercase().contains("inf"))).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Data {
        parse(text.as_bytes()).expect("YAML").expect("a document").data
    }

    #[test]
    fn words_and_numbers_are_those_of_yaml_1_1() {
        for text in ["yes", "On", "y", "TRUE"] {
            assert_eq!(scalar(text), Data::Bool(true), "{text}");
        }
        for (text, value) in [
            ("0644", 420),
            ("0o644", 420),
            ("0x1f", 31),
            ("0b11", 3),
            ("1_000", 1000),
            ("-07", -7),
        ] {
            assert_eq!(scalar(text), Data::Int(value), "{text}");
        }
        for (text, value) in [("08", 8.0), ("1e3", 1000.0), (".5", 0.5)] {
            assert_eq!(scalar(text), Data::Float(value), "{text}");
        }
        for text in ["14:00", "\"yes\"", "'0644'", "yup", "+nan", "1.2.3", "!!str 5", "-"] {
            assert!(matches!(scalar(text), Data::Text(_) | Data::List(_)), "{text}");
        }
        assert_eq!(scalar("~"), Data::Null);
    }

    #[test]
    fn errors_have_libyamls_words_goyamls_line_and_the_true_place() {
        let error = parse(b"#\nhostname: a: b\n").expect_err("no YAML");
        assert_eq!(
            error.to_string(),
            "YAML error: line 1: mapping values are not allowed in this context"
        );
        assert_eq!(error.at, Some(Mark { line: 2, column: 12 }));
        let error = parse(b"a: *b\n").expect_err("no anchor");
        assert_eq!(error.to_string(), "YAML error: unknown anchor 'b' referenced");
    }

    #[test]
    fn aliases_cannot_grow_without_bounds() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for k in 1..12 {
            let uses = vec![format!("*a{}", k - 1); 10].join(", ");
            text += &format!("a{k}: &a{k} [{uses}]\n");
        }
        let error = parse(text.as_bytes()).expect_err("too much");
        assert!(error.message.contains("aliases expand"), "{error}");
        let error = parse(b"a: &a [*a]").expect_err("a loop");
        assert_eq!(error.message, "anchor 'a' value contains itself");
    }

    #[test]
    fn merges_stand_where_they_are_written() {
        let Data::Map(entries) = scalar("b: &b {x: 1, z: 2}\nc:\n  x: 0\n  <<: *b\n") else {
            panic!("no map")
        };
        let Data::Map(merged) = &entries[1].value.data else {
            panic!("no map")
        };
        let names: Vec<(String, bool)> = merged.iter().map(|entry| (entry.name(), entry.merged)).collect();
        assert_eq!(names, [("x".into(), false), ("x".into(), true), ("z".into(), true)]);
    }
}
