//! The command line, read as Go's flag package reads it: one or two dashes, `-x v` or `-x=v`, the last one wins.
use super::table::{self, Flag};
use super::values::Given;

#[derive(Debug, PartialEq)]
pub enum Stop {
    Help,
    Bad(String),
}

/// Sets the flags and gives what is left: the first word that is no flag and all after it.
pub fn parse<'a>(args: &'a [String], given: &mut Given) -> Result<&'a [String], Stop> {
    let mut rest = args;
    while let Some((arg, after)) = rest.split_first() {
        let Some(dashed) = arg.strip_prefix('-').filter(|s| !s.is_empty()) else {
            return Ok(rest);
        };
        let body = dashed.strip_prefix('-').unwrap_or(dashed);
        rest = after;
        if body.is_empty() {
            return Ok(rest);
        }
        if body.starts_with(['-', '=']) {
            return Err(Stop::Bad(format!("bad flag syntax: {arg}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let flag = match table::find(name) {
            Some(flag) => flag,
            None if name == "help" || name == "h" => return Err(Stop::Help),
            None => return Err(Stop::Bad(format!("flag provided but not defined: -{name}"))),
        };
        rest = set(flag, value, rest, given).map_err(Stop::Bad)?;
    }
    Ok(rest)
}

fn set<'a>(
    flag: &'static Flag,
    value: Option<&str>,
    rest: &'a [String],
    given: &mut Given,
) -> Result<&'a [String], String> {
    let name = flag.name;
    match (value, rest.split_first()) {
        (Some(value), _) if flag.is_bool() => {
            given
                .set(flag, value)
                .map_err(|e| format!("invalid boolean value {value:?} for -{name}: {e}"))?;
        }
        (None, _) if flag.is_bool() => given.set(flag, "true")?,
        (Some(value), _) => given
            .set(flag, value)
            .map_err(|e| format!("invalid value {value:?} for flag -{name}: {e}"))?,
        (None, Some((value, rest))) => {
            given
                .set(flag, value)
                .map_err(|e| format!("invalid value {value:?} for flag -{name}: {e}"))?;
            return Ok(rest);
        }
        (None, None) => return Err(format!("flag needs an argument: -{name}")),
    }
    Ok(rest)
}
