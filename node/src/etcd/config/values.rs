//! A flag's text turned into its value, with the words Go's flag package and etcd's own flag types have for bad ones.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::ec2::{self, Ec2};
use super::table::{self, Fate, Flag, Kind};
use crate::etcd::urls::{self, Url};
use crate::log::{Level, LogLine};

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Uint(u64),
    Text(String),
    Urls(Vec<Url>),
    Addr(String),
    Cors(BTreeSet<String>),
    Ec2(Option<Ec2>),
}

/// The flags as they were given, by argument or variable.
#[derive(Default)]
pub struct Given {
    values: BTreeMap<&'static str, (String, Value)>,
    pub log: Vec<LogLine>,
}

impl Given {
    pub fn set(&mut self, flag: &'static Flag, text: &str) -> Result<(), String> {
        match flag.fate {
            Fate::Removed => {
                return Err(format!("flag \"-{}\" is no longer supported.", flag.name));
            }
            Fate::Ignored => {
                let text = format!("flag \"-{}\" is no longer supported - ignoring.", flag.name);
                self.log.push(LogLine::new(Level::Warning, "flags", text));
            }
            Fate::Used | Fate::NotYet(_) => {}
        }
        let value = parse(flag.kind, text)?;
        self.values.insert(flag.name, (text.to_string(), value));
        Ok(())
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The text of a flag that was given.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(text, _)| text.as_str())
    }

    fn value(&self, name: &str) -> Value {
        let default = || table::find(name).and_then(|f| parse(f.kind, f.default).ok());
        let given = self.values.get(name).map(|(_, value)| value.clone());
        given.or_else(default).unwrap_or(Value::Text(String::new()))
    }

    // A flag has one kind for ever: the table says which, and a test reads every flag through these.
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.value(name), Value::Bool(true))
    }

    pub fn uint(&self, name: &str) -> u64 {
        if let Value::Uint(n) = self.value(name) { n } else { 0 }
    }

    pub fn text(&self, name: &str) -> String {
        if let Value::Text(s) = self.value(name) {
            s
        } else {
            String::new()
        }
    }

    pub fn urls(&self, name: &str) -> Vec<Url> {
        if let Value::Urls(u) = self.value(name) {
            u
        } else {
            Vec::new()
        }
    }

    pub fn addr(&self, name: &str) -> String {
        if let Value::Addr(a) = self.value(name) {
            a
        } else {
            String::new()
        }
    }

    pub fn ec2(&self, name: &str) -> Option<Ec2> {
        if let Value::Ec2(ec2) = self.value(name) {
            ec2
        } else {
            None
        }
    }

    pub fn cors(&self) -> BTreeSet<String> {
        if let Value::Cors(origins) = self.value("cors") {
            origins
        } else {
            BTreeSet::new()
        }
    }
}

pub fn parse(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Bool => parse_bool(text).map(Value::Bool).ok_or_else(|| "parse error".into()),
        Kind::Uint => parse_uint(text).map(Value::Uint),
        Kind::Text => Ok(Value::Text(text.into())),
        Kind::OneOf(values) if values.contains(&text) => Ok(Value::Text(text.into())),
        Kind::OneOf(_) => Err("invalid value".into()),
        Kind::Urls => urls::parse_list(text).map(Value::Urls),
        Kind::Addr => parse_addr(text).map(Value::Addr),
        Kind::Cors => parse_cors(text).map(Value::Cors),
        Kind::Ec2 if text.is_empty() => Ok(Value::Ec2(None)),
        Kind::Ec2 => ec2::parse(text).map(|ec2| Value::Ec2(Some(ec2))),
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Go's ParseUint with base 0: 0x, 0o, 0b, a leading 0 for octal, and `_` between digits.
fn parse_uint(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let prefixed = digits.len() < lower.len();
    let plain = digits.replace('_', "");
    let misplaced = digits.ends_with('_') || digits.contains("__") || (digits.starts_with('_') && !prefixed);
    if misplaced || plain.is_empty() || !plain.chars().all(|c| c.is_digit(base)) {
        return Err("parse error".into());
    }
    u64::from_str_radix(&plain, base).map_err(|_| "value out of range".into())
}

fn parse_addr(text: &str) -> Result<String, String> {
    let text = text.trim();
    let missing = || format!("address {text}: missing port in address");
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => v6.split_once("]:").ok_or_else(missing)?,
        None => text.rsplit_once(':').ok_or_else(missing)?,
    };
    if host.contains(':') && !text.starts_with('[') {
        return Err(format!("address {text}: too many colons in address"));
    }
    if host.parse::<IpAddr>().is_err() {
        return Err("bad IP in address specification".into());
    }
    let port: u16 = port.parse().map_err(|_| "bad port in address specification")?;
    Ok(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

fn parse_cors(text: &str) -> Result<BTreeSet<String>, String> {
    let origins = text.split(',').map(str::trim).filter(|o| !o.is_empty());
    let check = |origin: &str| match origin.chars().any(|c| c.is_ascii_control()) {
        true => Err(format!(
            "Invalid CORS origin: parse {origin:?}: net/url: invalid control character in URL"
        )),
        false => Ok(origin.to_string()),
    };
    origins.map(check).collect()
}
