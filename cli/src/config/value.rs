//! A value as one of the configuration files writes it, before it is known what it has to be (pure).
use std::collections::BTreeMap;
use std::fmt;

use crate::failure::Place;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    /// In the order of the file.
    Map(Vec<(Value, Value)>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(value) => write!(f, "{value:?}"),
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("a map"),
        }
    }
}

impl Value {
    /// As a lab's record keeps it. Only what a setting can be comes back the same: keys are words or numbers.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        let word = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            other => other.to_string(),
        };
        match self {
            Value::Nil => Json::Null,
            Value::Bool(value) => Json::from(*value),
            Value::Int(value) => Json::from(*value),
            Value::Float(value) => Json::from(*value),
            Value::Text(value) => Json::from(value.as_str()),
            Value::List(list) => list.iter().map(Value::to_json).collect(),
            Value::Map(map) => Json::Object(map.iter().map(|(key, value)| (word(key), value.to_json())).collect()),
        }
    }

    pub fn from_json(json: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        let key = |text: &String| text.parse().map_or_else(|_| Value::Text(text.clone()), Value::Int);
        match json {
            Json::Null => Value::Nil,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(value) => match value.as_i64() {
                Some(int) => Value::Int(int),
                None => Value::Float(value.as_f64().unwrap_or_default()),
            },
            Json::String(value) => Value::Text(value.clone()),
            Json::Array(list) => Value::List(list.iter().map(Value::from_json).collect()),
            Json::Object(map) => Value::Map(map.iter().map(|(k, v)| (key(k), Value::from_json(v))).collect()),
        }
    }
}

/// Where a value comes from, in the order of growing weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// lab.yaml or config.rb
    File(Place),
    Environment(&'static str),
    /// A file that has only to be there.
    Here(&'static str),
    /// What the lab that is here began with.
    Lab,
    /// What a flag said to an earlier command.
    Kept(&'static str),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(place) => write!(f, "{}:{}", place.file, place.line),
            Origin::Environment(name) => write!(f, "${name}"),
            Origin::Here(file) => write!(f, "./{file}"),
            Origin::Lab => f.write_str(".lab/lab.json"),
            Origin::Kept(flag) => write!(f, "--{} (kept)", flag.replace('_', "-")),
            Origin::Flag(flag) => write!(f, "--{}", flag.replace('_', "-")),
        }
    }
}

/// A value and where it was typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed<T> {
    pub value: T,
    pub origin: Origin,
}

impl<T> Typed<T> {
    pub fn new(value: T, origin: Origin) -> Typed<T> {
        Typed { value, origin }
    }

    pub fn is_default(&self) -> bool {
        self.origin == Origin::Default
    }
}

/// A type that a setting can have.
pub trait Setting: Sized {
    /// What to write, for somebody who wrote something else.
    const EXPECTED: &'static str;

    fn read(value: &Value) -> Option<Self>;

    /// As a table shows it.
    fn show(&self) -> String;
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(value: &Value) -> Option<bool> {
        match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($type:ty)*) => { $(
        impl Setting for $type {
            const EXPECTED: &'static str = "a whole number";

            fn read(value: &Value) -> Option<$type> {
                match value {
                    Value::Int(value) => (*value).try_into().ok(),
                    _ => None,
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )* };
}
whole_numbers!(u8 u16 u32);

impl Setting for String {
    const EXPECTED: &'static str = "text";

    fn read(value: &Value) -> Option<String> {
        match value {
            Value::Text(value) => Some(value.clone()),
            // A box version like 1122.2 is a number to YAML.
            Value::Int(_) | Value::Float(_) => Some(value.to_string()),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl<T: Setting> Setting for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(value: &Value) -> Option<Option<T>> {
        match value {
            Value::Nil => Some(None),
            value => T::read(value).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "-".to_string(), T::show)
    }
}

fn read_map<K: Setting + Ord, V: Setting>(value: &Value) -> Option<BTreeMap<K, V>> {
    let Value::Map(entries) = value else { return None };
    let entry = |(key, value): &(Value, Value)| Some((K::read(key)?, V::read(value)?));
    entries.iter().map(entry).collect()
}

fn show_map<K: Setting, V: Setting>(map: &BTreeMap<K, V>) -> String {
    let entries: Vec<String> = map.iter().map(|(k, v)| format!("{}={}", k.show(), v.show())).collect();
    if entries.is_empty() {
        return "-".to_string();
    }
    entries.join(",")
}

impl Setting for BTreeMap<u16, u16> {
    const EXPECTED: &'static str = "a map of ports, as {80: 8080}";

    fn read(value: &Value) -> Option<Self> {
        read_map(value).filter(|map: &Self| map.iter().all(|(guest, host)| *guest > 0 && *host > 0))
    }

    fn show(&self) -> String {
        show_map(self)
    }
}

impl Setting for BTreeMap<String, String> {
    const EXPECTED: &'static str = "a map of texts";

    fn read(value: &Value) -> Option<Self> {
        read_map(value)
    }

    fn show(&self) -> String {
        show_map(self)
    }
}
