//! Flags as Go's flag package reads and explains them; a command's may also follow its arguments, as in fleet 1.0.
use std::collections::HashMap;

use crate::closest;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Float,
    Text,
}

#[derive(Debug)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    pub help: &'static str,
}

/// A flag without a default.
pub const fn flag(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag {
        name,
        kind,
        default: "",
        help,
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Parsed {
    values: HashMap<&'static str, String>,
    pub args: Vec<String>,
}

impl Parsed {
    /// What was given; nothing where it was not.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub fn is(&self, name: &str) -> bool {
        self.given(name) == Some("true")
    }

    pub fn int(&self, name: &str) -> u64 {
        self.given(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), String> {
        self.values.insert(flag.name, check(flag.kind, value)?);
        Ok(())
    }
}

/// Why flags cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Bad {
    Help,
    Flag(String),
}

/// A program's own flags: they end at the first word that is none.
pub fn parse(flags: &'static [Flag], args: &[String]) -> Result<Parsed, Bad> {
    let mut parsed = Parsed::default();
    let rest = read(args, false, &mut [(flags, &mut parsed)])?;
    parsed.args = rest;
    Ok(parsed)
}

/// A command's flags. `anywhere`: the program's own as well, and behind arguments, up to a `--`.
pub fn parse_command(
    flags: &'static [Flag],
    args: &[String],
    anywhere: Option<(&'static [Flag], &mut Parsed)>,
) -> Result<Parsed, Bad> {
    let mut parsed = Parsed::default();
    let rest = match anywhere {
        Some(global) => read(args, true, &mut [(flags, &mut parsed), global])?,
        None => read(args, false, &mut [(flags, &mut parsed)])?,
    };
    parsed.args = rest;
    Ok(parsed)
}

fn read(args: &[String], anywhere: bool, sets: &mut [(&'static [Flag], &mut Parsed)]) -> Result<Vec<String>, Bad> {
    let mut words = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            break;
        }
        let Some(body) = arg.strip_prefix('-').filter(|body| !body.is_empty()) else {
            words.push(arg.clone());
            if anywhere {
                continue;
            }
            break;
        };
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(Bad::Flag(format!("bad flag syntax: {arg}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (body, None),
        };
        // A command's help is its own, also where the program's flags are known.
        if anywhere && matches!(name, "h" | "help") {
            return Err(Bad::Help);
        }
        let found = sets.iter_mut().find_map(|(flags, parsed)| {
            let flag = flags.iter().find(|flag| flag.name == name)?;
            Some((flag, parsed))
        });
        let Some((flag, parsed)) = found else {
            if matches!(name, "h" | "help") {
                return Err(Bad::Help);
            }
            let known = sets.iter().flat_map(|(flags, _)| flags.iter().map(|flag| flag.name));
            let hint = closest::hint(name, known.filter(|name| name.len() > 2));
            return Err(Bad::Flag(format!("flag provided but not defined: -{name}{hint}")));
        };
        let value = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Bool) => "true".into(),
            (None, _) => match args.next() {
                Some(value) => value.clone(),
                None => return Err(Bad::Flag(format!("flag needs an argument: -{name}"))),
            },
        };
        if let Err(why) = parsed.set(flag, &value) {
            let kind = if flag.kind == Kind::Bool {
                "boolean value"
            } else {
                "value"
            };
            let of = if flag.kind == Kind::Bool { "" } else { "flag " };
            return Err(Bad::Flag(format!("invalid {kind} {value:?} for {of}-{name}: {why}")));
        }
    }
    words.extend(args.cloned());
    Ok(words)
}

fn check(kind: Kind, value: &str) -> Result<String, String> {
    let parsed = match kind {
        Kind::Bool => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some("true".to_string()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some("false".to_string()),
            _ => None,
        },
        Kind::Int => value.parse::<u64>().ok().map(|number| number.to_string()),
        Kind::Float => value
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite() && *number >= 0.0)
            .map(|_| value.to_string()),
        Kind::Text => Some(value.to_string()),
    };
    parsed.ok_or_else(|| "parse error".into())
}

/// All flags with what they do, sorted by name.
pub fn defaults(flags: &[Flag]) -> String {
    let mut sorted: Vec<&Flag> = flags.iter().collect();
    sorted.sort_by_key(|flag| flag.name);
    let line = |flag: &&Flag| {
        let kind = match flag.kind {
            Kind::Bool => "",
            Kind::Int => " int",
            Kind::Float => " float",
            Kind::Text => " string",
        };
        let head = format!("  -{}{kind}", flag.name);
        // A short one leaves room for its text on the same line.
        let gap = if head.len() <= 4 { "\t" } else { "\n    \t" };
        let default = match (flag.default, flag.kind) {
            ("", _) => String::new(),
            (text, Kind::Text) => format!(" (default {text:?})"),
            (text, _) => format!(" (default {text})"),
        };
        format!("{head}{gap}{}{default}\n", flag.help)
    };
    sorted.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_string).collect()
    }

    static OWN: &[Flag] = &[
        flag("full", Kind::Bool, "Do not ellipsize"),
        flag("block-attempts", Kind::Int, "N attempts"),
    ];
    static GLOBAL: &[Flag] = &[flag("endpoint", Kind::Text, "Location")];

    #[test]
    fn one_dash_is_as_good_as_two() {
        for line in ["-full -block-attempts 3 a b", "--full=true --block-attempts=3 a b"] {
            let parsed = parse_command(OWN, &words(line), None).unwrap();
            assert_eq!((parsed.is("full"), parsed.int("block-attempts")), (true, 3), "{line}");
            assert_eq!(parsed.args, ["a", "b"]);
        }
    }

    #[test]
    fn flags_may_stand_anywhere_unless_the_command_takes_foreign_words() {
        let mut global = Parsed::default();
        let line = words("a -full --endpoint x b -- -c");
        let parsed = parse_command(OWN, &line, Some((GLOBAL, &mut global))).unwrap();
        assert_eq!(parsed.args, ["a", "b", "-c"]);
        assert_eq!((parsed.is("full"), global.given("endpoint")), (true, Some("x")));
        let parsed = parse_command(OWN, &words("a -full"), None).unwrap();
        assert_eq!(parsed.args, ["a", "-full"]);
    }

    #[test]
    fn what_is_wrong_is_told_in_gos_words() {
        let cases = [
            ("--frob", "flag provided but not defined: -frob"),
            ("-ful", "flag provided but not defined: -ful (did you mean \"full\"?)"),
            ("-full=x", "invalid boolean value \"x\" for -full: parse error"),
            (
                "-block-attempts x",
                "invalid value \"x\" for flag -block-attempts: parse error",
            ),
            ("-block-attempts", "flag needs an argument: -block-attempts"),
            ("---x", "bad flag syntax: ---x"),
        ];
        for (line, why) in cases {
            assert_eq!(parse(OWN, &words(line)), Err(Bad::Flag(why.into())), "{line}");
        }
        assert_eq!(parse(OWN, &words("-h")), Err(Bad::Help));
    }
}
