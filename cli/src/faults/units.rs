//! Values as people write them: names, times, rates.
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// In files they are what people write.
macro_rules! written {
    ($type:ident, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.to_string().serialize(to)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": $description, "type": "string" })
            }
        }
    };
}

/// Names of nodes: `core-01`, `core-01,core-02`, or a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Names {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|own| own == name)
    }
}

impl FromStr for Names {
    type Err = String;

    fn from_str(text: &str) -> Result<Names, String> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_string()).collect();
        match names.iter().any(String::is_empty) {
            true => Err("a name is missing: write core-01, or core-01,core-02".into()),
            false => Ok(Names(names)),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Names, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "the name of a node, or a list of names")]
        enum Form {
            One(String),
            Many(Vec<String>),
        }
        match Form::deserialize(from)? {
            Form::One(text) => text.parse().map_err(serde::de::Error::custom),
            Form::Many(names) => Ok(Names(names)),
        }
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The name of a node, names with commas between them, a list of names, or all",
            "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        })
    }
}

/// A time: 250ms, 1.5s, 10m, 2h, 30d; with a minus where going back makes sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub millis: i64,
}

impl Span {
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.millis.unsigned_abs())
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Span {
        Span {
            millis: duration.as_millis() as i64,
        }
    }
}

const UNITS: [(&str, f64); 5] = [
    ("ms", 1.0),
    ("s", 1000.0),
    ("m", 60_000.0),
    ("h", 3_600_000.0),
    ("d", 86_400_000.0),
];
/// A hundred years.
const LONGEST: f64 = 100.0 * 366.0 * 86_400_000.0;

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let wrong = || format!("{text:?} is no time; write it as 250ms, 15s, 10m, 2h or 30d");
        let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(at);
        let number: f64 = number.trim_start_matches('+').parse().map_err(|_| wrong())?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let millis = number * factor;
        match millis.is_finite() && millis.abs() <= LONGEST {
            true => Ok(Span { millis: millis as i64 }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.millis as f64;
        let largest = UNITS.iter().rev().find(|(_, factor)| self.millis % *factor as i64 == 0);
        let (name, factor) = match self.millis {
            0 => ("s", 1.0),
            _ => *largest.unwrap_or(&UNITS[0]),
        };
        write!(f, "{}{name}", millis / factor)
    }
}

written!(Span, "A time: 250ms, 15s, 10m, 2h, 30d");

/// Bits in a second: 64kbit, 1mbit, 2.5gbit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u64);

const RATES: [(&str, f64); 3] = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || format!("{text:?} is no rate; write it as 64kbit, 1mbit or 2.5gbit");
        let lower = text.to_ascii_lowercase();
        let (number, factor) = RATES
            .iter()
            .find_map(|(name, factor)| Some((lower.strip_suffix(name)?, factor)))
            .ok_or_else(wrong)?;
        let number: f64 = number.parse().map_err(|_| wrong())?;
        match (0.0..1e6).contains(&number) {
            true => Ok(Rate((number * factor) as u64)),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0 as f64;
        let (name, factor) = RATES
            .iter()
            .rev()
            .find(|(_, factor)| bits >= *factor)
            .unwrap_or(&RATES[0]);
        write!(f, "{}{name}", bits / factor)
    }
}

written!(Rate, "Bits in a second: 64kbit, 1mbit, 2.5gbit");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, millis) in [
            ("250ms", 250),
            ("1.5s", 1500),
            ("10m", 600_000),
            ("-2h", -7_200_000),
            ("0s", 0),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.millis, millis, "{text}");
            assert_eq!(span.to_string().parse::<Span>(), Ok(span), "{span}");
        }
        assert_eq!("1.5s".parse::<Span>().expect("a time").to_string(), "1500ms");
        assert_eq!("30d".parse::<Span>().expect("a time").to_string(), "30d");
        for text in ["", "5", "s", "5 s", "5y", "1e400s", "nans", "infs", "200000d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_read_and_written() {
        for (text, bits) in [("64kbit", 64_000), ("1mbit", 1_000_000), ("2.5Gbit", 2_500_000_000)] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!(rate.0, bits);
            assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
        }
        for text in ["", "5", "mbit", "-1mbit", "nanmbit", "1mb"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_one_or_many() {
        let read = |text| serde_yaml::from_str::<Names>(text).map(|names| names.0);
        assert_eq!(read("core-01").expect("one"), ["core-01"]);
        assert_eq!(read("core-01, core-02").expect("two"), ["core-01", "core-02"]);
        assert_eq!(read("[a, b]").expect("a list"), ["a", "b"]);
        assert!(read("'a,,b'").is_err());
    }
}
