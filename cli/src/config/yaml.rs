//! Where in a YAML text something stands: yaml_serde tells the places of errors only, so one is made on purpose (pure).
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Value;
use crate::failure::{Failure, Place};

/// The text as a whole; what is no YAML is a failure with its place.
pub fn parse(file: &str, text: &str) -> Result<serde_yaml::Value, Failure> {
    serde_yaml::from_str(text).map_err(|error| {
        let at = error
            .location()
            .map_or(0, |found| offset(text, found.line(), found.column()));
        // The location is told by the place, and for a reader of the text better.
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or(&why).to_string();
        let todo = format!("correct {file}; indent with spaces, quote what has a `: `, a `#` or begins with * & ! @ %");
        Failure::at(format!("{file} is not YAML"), &Place::of(file, text, at), why, todo)
    })
}

/// A value as the settings know it; none for what only YAML has.
pub fn value(yaml: &serde_yaml::Value) -> Option<Value> {
    Some(match yaml {
        serde_yaml::Value::Null => Value::Nil,
        serde_yaml::Value::Bool(value) => Value::Bool(*value),
        serde_yaml::Value::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64()?),
        },
        serde_yaml::Value::String(text) => Value::Text(text.clone()),
        serde_yaml::Value::Sequence(list) => Value::List(list.iter().map(value).collect::<Option<_>>()?),
        serde_yaml::Value::Mapping(map) => {
            let entry = |(key, item)| Some((value(key)?, value(item)?));
            Value::Map(map.iter().map(entry).collect::<Option<_>>()?)
        }
        serde_yaml::Value::Tagged(_) => return None,
    })
}

/// The byte at which the key at the end of the path begins.
pub fn key(text: &str, path: &[&str]) -> Option<usize> {
    seek(text, path, true)
}

/// The byte at which its value begins.
pub fn value_of(text: &str, path: &[&str]) -> Option<usize> {
    seek(text, path, false)
}

fn seek(text: &str, path: &[&str], of_key: bool) -> Option<usize> {
    let found = Cell::new(false);
    let seek = Seek {
        path,
        of_key,
        found: &found,
    };
    let error = seek.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    let location = error.location().filter(|_| found.get())?;
    Some(offset(text, location.line(), location.column()))
}

/// Lines and columns count from 1, columns in characters.
pub fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let rest = &text[start..];
    start
        + rest
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(rest.len(), |(at, _)| at)
}

#[derive(Clone, Copy)]
struct Seek<'a> {
    path: &'a [&'a str],
    of_key: bool,
    found: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            self.found.set(true);
        }
        deserializer.deserialize_any(self)
    }
}

/// Accepts only maps, and lists by number, on the way: everything else is an error, which is what has a place.
impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.item(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else {
            return Err(A::Error::custom("found"));
        };
        let sought = Key {
            name: first,
            found: (self.of_key && rest.is_empty()).then_some(self.found),
        };
        while let Some(is_it) = map.next_key_seed(sought)? {
            match is_it {
                true => map.next_value_seed(Seek { path: rest, ..self })?,
                false => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

impl Seek<'_> {
    fn item<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else {
            return Err(A::Error::custom("found"));
        };
        let number: usize = first.parse().unwrap_or(usize::MAX);
        for _ in 0..number {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        list.next_element_seed(Seek { path: rest, ..self })?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Key<'a> {
    name: &'a str,
    /// Where to say that it was found, if that is the end of the way.
    found: Option<&'a Cell<bool>>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match self.found {
            Some(found) if key == self.name => {
                found.set(true);
                Err(E::custom("found"))
            }
            _ => Ok(key == self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_found_by_their_path() {
        let text = "#cloud-config\n\nä: {b: 1}\ncoreos:\n  etcd2:\n    # here\n    discovery:   'x'\n  7: y\n";
        let at = |needle: &str| text.find(needle);
        assert_eq!(key(text, &["coreos", "etcd2", "discovery"]), at("discovery"));
        assert_eq!(value_of(text, &["coreos", "etcd2", "discovery"]), at("'x'"));
        assert_eq!(value_of(text, &["ä", "b"]), at("1}"));
        assert_eq!(value_of(text, &["coreos", "etcd2"]), at("discovery"));
        assert_eq!(value_of(text, &["coreos", "etcd"]), None);
        assert_eq!(key(text, &["etcd2"]), None);
        let list = "steps:\n- id: a\n- id: b\n  do: [x, {run: y}]\n";
        assert_eq!(value_of(list, &["steps", "1", "do", "1", "run"]), list.find('y'));
        assert_eq!(value_of(list, &["steps", "2"]), None);
        assert_eq!(value_of("", &["a"]), None);
    }

    #[test]
    fn what_is_no_yaml_has_a_place() {
        let failure = parse("lab.yaml", "a: 1\nb: [\n").expect_err("no YAML");
        assert!(failure.place.starts_with("lab.yaml:"), "{failure:?}");
        assert!(!failure.why.contains(" at line "), "{failure:?}");
    }
}
