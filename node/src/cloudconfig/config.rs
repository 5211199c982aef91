//! A cloud-config's values by the schema: what fits its key is taken, what does not is left out, as goyaml does it.
use std::collections::BTreeMap;

use super::schema::{Key, Kind, TOP};
use super::yaml::{self, Data};
use super::{content, go};

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Vec<u8>),
    Int(i64),
    Bool(bool),
    Float(f64),
    List(Vec<Value>),
    Struct(Section),
}

/// A struct of the schema. What it does not hold is empty, false or 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section(BTreeMap<&'static str, Value>);

impl Section {
    pub fn bytes(&self, key: &str) -> &[u8] {
        match self.0.get(key) {
            Some(Value::Text(text)) => text,
            _ => b"",
        }
    }

    pub fn text(&self, key: &str) -> String {
        String::from_utf8_lossy(self.bytes(key)).into_owned()
    }

    pub fn is(&self, key: &str) -> bool {
        matches!(self.0.get(key), Some(Value::Bool(true)))
    }

    pub fn texts(&self, key: &str) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        match self.0.get(key) {
            Some(Value::List(values)) => values.iter().map(text).collect(),
            _ => Vec::new(),
        }
    }

    pub fn section(&self, key: &str) -> Section {
        match self.0.get(key) {
            Some(Value::Struct(section)) => section.clone(),
            _ => Section::default(),
        }
    }

    pub fn sections(&self, key: &str) -> Vec<Section> {
        let section = |value: &Value| match value {
            Value::Struct(section) => section.clone(),
            _ => Section::default(),
        };
        match self.0.get(key) {
            Some(Value::List(values)) => values.iter().map(section).collect(),
            _ => Vec::new(),
        }
    }

    pub fn set(&mut self, key: &'static str, value: Value) {
        self.0.insert(key, value);
    }

    /// The variables of a service, in the table's order; zero values are left out, so that `debug: false` is none.
    pub fn variables(&self, keys: &[Key]) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for key in keys {
            let value = match self.0.get(key.name) {
                Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
                Some(Value::Int(number)) if *number != 0 => number.to_string(),
                Some(Value::Float(number)) if *number != 0.0 => go::float(*number),
                Some(Value::Bool(true)) => "true".into(),
                _ => continue,
            };
            if let Some(env) = key.env.filter(|_| !value.is_empty()) {
                found.push((env, value));
            }
        }
        found
    }
}

/// Reads a document, and decodes what write_files holds: one that cannot be decoded fails all of it.
pub fn read(document: Option<&yaml::Value>) -> Result<Section, String> {
    let mut config = Section::default();
    if let Some(document) = document {
        fill(&mut config, TOP, document);
    }
    if let Some(Value::List(files)) = config.0.get_mut("write_files") {
        for file in files {
            let Value::Struct(file) = file else { continue };
            let decoded = content::decode(file.bytes("content"), &file.text("encoding"))?;
            file.set("content", Value::Text(decoded));
            file.0.remove("encoding");
        }
    }
    Ok(config)
}

/// A key that comes twice is the later one; of two mappings the keys come together.
fn fill(section: &mut Section, keys: &'static [Key], value: &yaml::Value) -> bool {
    let Data::Map(entries) = &value.data else {
        return false;
    };
    for entry in entries {
        let name = entry.key.raw.replace('-', "_");
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            continue;
        };
        let before = section.0.remove(key.name);
        if let Some(value) = take(&key.kind, &entry.value, before) {
            section.0.insert(key.name, value);
        }
    }
    true
}

fn take(kind: &Kind, value: &yaml::Value, before: Option<Value>) -> Option<Value> {
    let fits = match (kind, &value.data) {
        (Kind::Text, Data::Text(text)) => Some(Value::Text(text.clone())),
        (Kind::Text, Data::Bool(_) | Data::Int(_) | Data::Float(_)) => Some(Value::Text(value.raw.clone().into())),
        (Kind::Int, Data::Int(number)) => Some(Value::Int(*number)),
        (Kind::Int, Data::Float(number)) => Some(Value::Int(*number as i64)),
        (Kind::Bool, Data::Bool(is)) => Some(Value::Bool(*is)),
        (Kind::Float, Data::Float(number)) => Some(Value::Float(*number)),
        (Kind::Float, Data::Int(number)) => Some(Value::Float(*number as f64)),
        (Kind::List(element), Data::List(values)) => {
            let values = values.iter().filter_map(|value| take(element, value, None));
            Some(Value::List(values.collect()))
        }
        (Kind::Struct(keys), Data::Map(_)) => {
            let mut section = match before {
                Some(Value::Struct(section)) => section,
                _ => Section::default(),
            };
            fill(&mut section, keys, value);
            return Some(Value::Struct(section));
        }
        _ => None,
    };
    fits.or(before)
}

#[cfg(test)]
mod tests {
    use super::super::sections::ETCD2;
    use super::*;

    fn config(text: &str) -> Section {
        read(yaml::parse(text.as_bytes()).expect("YAML").as_ref()).expect("a cloud-config")
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_rest_is_taken() {
        let config = config(
            "hostname: [a]\nwrite-files:\n- path: 5\n  content: off\n- x\ncoreos:\n  etcd2: {max_wals: '5', debug: yes}\n",
        );
        assert_eq!(config.text("hostname"), "");
        let files = config.sections("write_files");
        assert_eq!(
            (files.len(), files[0].text("path"), files[0].text("content")),
            (1, "5".into(), "off".into())
        );
        let etcd2 = config.section("coreos").section("etcd2");
        assert_eq!(etcd2.variables(ETCD2), [("ETCD_DEBUG", "true".to_string())]);
    }

    #[test]
    fn of_two_keys_the_later_wins_and_mappings_come_together() {
        let config = config("hostname: a\nhostname: b\ncoreos: {update: {group: g}}\ncoreos: {update: {server: s}}\n");
        let update = config.section("coreos").section("update");
        assert_eq!(
            (config.text("hostname"), update.text("group"), update.text("server")),
            ("b".into(), "g".into(), "s".into())
        );
    }
}
