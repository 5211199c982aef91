//! What the original's -validate says, with its line numbers: it looks for keys in the text from the top, line by line.
use super::go::quote;
use super::lines::Lines;
use super::schema::{Key, Kind, TOP, find};
use super::yaml::{self, Data};
use super::{Input, content, input, is_ignition};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
    Info,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub line: usize,
    pub severity: Severity,
    pub text: String,
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.severity.name(), self.text)
    }
}

#[derive(Default)]
struct Report(Vec<Message>);

impl Report {
    fn add(&mut self, severity: Severity, line: usize, text: String) {
        self.0.push(Message { line, severity, text });
    }
}

/// A value with its key, and the line where the original believes it to be.
struct Node<'a> {
    name: String,
    line: usize,
    value: &'a yaml::Value,
    children: Vec<Node<'a>>,
}

impl<'a> Node<'a> {
    fn new(name: String, line: usize, value: &'a yaml::Value, mut lines: Lines<'a>) -> Node<'a> {
        let mut children = Vec::new();
        match &value.data {
            Data::Map(entries) => {
                for (k, entry) in entries.iter().enumerate() {
                    let name = entry.name();
                    // Of a key that comes twice only the last is there.
                    if entries[k + 1..].iter().any(|later| later.name() == name) {
                        continue;
                    }
                    let mut from = lines.clone();
                    let line = from.find_key(&name);
                    children.push(Node::new(name.replace('-', "_"), line, &entry.value, from));
                }
            }
            Data::List(values) => {
                for (k, value) in values.iter().enumerate() {
                    let line = lines.find_element();
                    children.push(Node::new(format!("{name}[{k}]"), line, value, lines.clone()));
                    lines.next();
                }
            }
            _ => {}
        }
        Node {
            name,
            line,
            value,
            children,
        }
    }

    fn child(&self, name: &str) -> Option<&Node<'a>> {
        self.children.iter().find(|child| child.name == name)
    }

    /// One that is there and not null.
    fn present(&self, name: &str) -> Option<&Node<'a>> {
        self.child(name).filter(|child| child.value.data != Data::Null)
    }

    /// What Go's reflect prints for a string, or for what is none.
    fn text(&self) -> String {
        match &self.value.data {
            Data::List(_) => "<[]interface {} Value>".into(),
            Data::Map(_) => "<map[interface {}]interface {} Value>".into(),
            Data::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => self.value.raw.clone(),
        }
    }
}

/// The messages in the original's order of rules; an error is its validator's own failure.
pub fn validate(user_data: &[u8]) -> Result<Vec<Message>, String> {
    let mut report = Report::default();
    match input(user_data) {
        Input::Empty | Input::Script => {}
        Input::Unknown if is_ignition(user_data) => {}
        Input::Unknown => {
            let text = "must be \"#cloud-config\" or begin with \"#!\"";
            report.add(Severity::Error, 1, text.into());
        }
        Input::CloudConfig => match yaml::parse(user_data) {
            Err(error) => {
                report.add(Severity::Error, error.reported, error.message);
                report.add(Severity::Warning, 0, "incorrect type for \"\" (want struct)".into());
            }
            Ok(Some(document)) if matches!(document.data, Data::Map(_)) => {
                let text = String::from_utf8_lossy(user_data).replace('\r', "");
                let top = Node::new(String::new(), 0, &document, Lines::new(&text));
                discovery(&top, &mut report);
                encodings(&top, &mut report);
                structure(&top, &Kind::Struct(TOP), &mut report);
                validity(&top, &Kind::Struct(TOP), None, &mut report)?;
                places(&top, &mut report);
            }
            Ok(_) => {}
        },
    }
    Ok(report.0)
}

fn discovery(top: &Node<'_>, report: &mut Report) {
    let etcd = top.child("coreos").and_then(|coreos| coreos.child("etcd"));
    if let Some(url) = etcd.and_then(|etcd| etcd.present("discovery"))
        && !request_uri(&url.text())
    {
        report.add(Severity::Warning, url.line, "discovery URL is not valid".into());
    }
}

/// url.ParseRequestURI: an absolute URL or an absolute path.
pub fn request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return false;
    }
    let escaped = |text: &str| {
        let hex = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
        text.match_indices('%').all(|(at, _)| {
            let mut after = text[at + 1..].chars();
            hex(after.next()) && hex(after.next())
        })
    };
    let rest = match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ if text.starts_with('/') || text == "*" => text,
        _ => return false,
    };
    let Some(authority) = rest.strip_prefix("//") else {
        // "mailto:x" is a URL as well, "http:" alone is not.
        return !rest.is_empty() && (rest == "*" || escaped(rest.split('?').next().unwrap_or_default()));
    };
    let end = authority.find(['/', '?']).unwrap_or(authority.len());
    let (host, path) = authority.split_at(end);
    let host = host.rsplit('@').next().unwrap_or_default();
    let port = match host.rsplit_once(':') {
        Some((_, port)) if !host.ends_with(']') => port,
        _ => "",
    };
    let bad = |c: char| c.is_whitespace() || "<>\"\\^`{|}".contains(c);
    !host.contains(bad)
        && port.bytes().all(|c| c.is_ascii_digit())
        && escaped(path.split('?').next().unwrap_or_default())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn encodings(top: &Node<'_>, report: &mut Report) {
    for file in top.child("write_files").map_or(&[][..], |files| &files.children) {
        let Some(encoding) = file.present("encoding").map(Node::text) else {
            continue;
        };
        let found = file.child("content");
        let (line, text) = match found.map(|content| (content.line, content)) {
            Some((line, node)) => match &node.value.data {
                Data::Null => (line, b"<invalid Value>".to_vec()),
                Data::Text(text) => (line, text.clone()),
                _ => (line, node.text().into_bytes()),
            },
            None => (0, b"<invalid Value>".to_vec()),
        };
        if content::decode(&text, &encoding).is_err() {
            let text = format!("content cannot be decoded as {}", quote(&encoding));
            report.add(Severity::Error, line, text);
        }
    }
}

/// Does a value go with a type? Numbers and words are strings as well.
pub fn compatible(data: &Data, kind: &Kind) -> bool {
    match kind {
        Kind::Text => matches!(data, Data::Text(_) | Data::Int(_) | Data::Float(_) | Data::Bool(_)),
        Kind::Int => matches!(data, Data::Int(_)),
        Kind::Float => matches!(data, Data::Float(_) | Data::Int(_)),
        Kind::Bool => matches!(data, Data::Bool(_)),
        Kind::Struct(_) => matches!(data, Data::Map(_)),
        Kind::List(_) => matches!(data, Data::List(_)),
    }
}

fn structure(node: &Node<'_>, kind: &Kind, report: &mut Report) {
    if !compatible(&node.value.data, kind) {
        let text = format!("incorrect type for {} (want {})", quote(&node.name), kind.name());
        return report.add(Severity::Warning, node.line, text);
    }
    match kind {
        Kind::Struct(keys) => {
            for child in &node.children {
                let Some(key) = find(keys, &child.name) else {
                    let text = format!("unrecognized key {}", quote(&child.name));
                    report.add(Severity::Warning, child.line, text);
                    continue;
                };
                if let Some(why) = key.deprecated {
                    let text = format!("deprecated key {} ({why})", quote(&child.name));
                    report.add(Severity::Warning, child.line, text);
                }
                structure(child, &key.kind, report);
            }
        }
        Kind::List(element) => node.children.iter().for_each(|child| structure(child, element, report)),
        _ => {}
    }
}

fn validity(node: &Node<'_>, kind: &Kind, key: Option<&Key>, report: &mut Report) -> Result<(), String> {
    if let Some(valid) = key.and_then(|key| key.valid) {
        // The original's validator stops with these on what is no scalar.
        match &node.value.data {
            Data::Null => return Err("reflect: call of reflect.Value.Interface on zero Value".into()),
            Data::List(_) => return Err("runtime error: comparing uncomparable type []interface {}".into()),
            Data::Map(_) => {
                return Err("runtime error: comparing uncomparable type map[interface {}]interface {}".into());
            }
            _ => {}
        }
        let text = node.text();
        if !text.is_empty() && !(valid.matches)(&text) {
            report.add(Severity::Error, node.line, format!("invalid value {text}"));
        }
    }
    match kind {
        Kind::Struct(keys) => {
            for child in &node.children {
                if let Some(key) = find(keys, &child.name) {
                    validity(child, &key.kind, Some(key), report)?;
                }
            }
        }
        Kind::List(element) => {
            for child in &node.children {
                validity(child, element, None, report)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn places(top: &Node<'_>, report: &mut Report) {
    for file in top.child("write_files").map_or(&[][..], |files| &files.children) {
        if let Some(path) = file.present("path")
            && read_only(&path.text())
        {
            let text = "file cannot be written to a read-only filesystem";
            report.add(Severity::Error, path.line, text.into());
        }
    }
    let coreos = top.child("coreos");
    if let Some(node) = coreos.and_then(|coreos| coreos.present("write_files")) {
        report.add(
            Severity::Info,
            node.line,
            "write_files doesn't belong under coreos".into(),
        );
    }
}

/// By its letters: /usrlocal counts, too.
fn read_only(path: &str) -> bool {
    super::paths::clean(path)
        .rsplit_once('/')
        .is_some_and(|(dir, _)| dir.starts_with("/usr"))
}
