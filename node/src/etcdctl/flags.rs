//! Flags as codegangsta/cli reads them: one dash or two, and after a command's arguments, too.
use std::collections::HashMap;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Bool,
    Int,
    Text,
    Duration,
}

/// Names separated by ", " (the first is the flag's own), what it takes, and what it does.
pub type Flag = (&'static str, Kind, &'static str);

#[derive(Debug, Default, Clone)]
pub struct Parsed {
    values: HashMap<&'static str, String>,
    pub args: Vec<String>,
    pub help: bool,
}

impl Parsed {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub fn is(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    pub fn int(&self, name: &str) -> u64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub fn arg(&self, at: usize) -> Option<&str> {
        self.args.get(at).map(String::as_str)
    }
}

/// Go's flag package: stops at the first word that is no flag, or after `--`.
pub fn parse(flags: &[Flag], args: &[String]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        if arg == "--" {
            at += 1;
            break;
        }
        let Some(body) = arg.strip_prefix('-').filter(|body| !body.is_empty()) else {
            break;
        };
        at += 1;
        let body = body.strip_prefix('-').unwrap_or(body);
        let (name, mut value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (body, None),
        };
        if matches!(name, "help" | "h") {
            parsed.help = true;
            continue;
        }
        let Some((names, kind, _)) = flags.iter().find(|flag| flag.0.split(", ").any(|n| n == name)) else {
            return Err(format!("flag provided but not defined: -{name}"));
        };
        if *kind == Kind::Bool {
            value = Some(value.unwrap_or_else(|| "true".into()));
        } else if value.is_none() {
            value = args.get(at).cloned();
            at += 1;
        }
        let value = value.ok_or_else(|| format!("flag needs an argument: -{name}"))?;
        let value = check(*kind, &value).ok_or_else(|| format!("invalid value \"{value}\" for flag -{name}"))?;
        parsed.values.insert(names.split(", ").next().unwrap_or(names), value);
    }
    parsed.args = args.get(at..).unwrap_or_default().to_vec();
    Ok(parsed)
}

/// A command's own: its flags may follow its arguments, up to a `--`.
pub fn parse_command(flags: &[Flag], args: &[String]) -> Result<Parsed, String> {
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    match args[..end].iter().position(|arg| arg.starts_with('-')) {
        Some(first) => parse(flags, &[&args[first..end], &args[..first], &args[end..]].concat()),
        None => parse(flags, args),
    }
}

fn check(kind: Kind, value: &str) -> Option<String> {
    match kind {
        Kind::Bool => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some("true".into()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some("false".into()),
            _ => None,
        },
        Kind::Int => value.parse::<u64>().ok().map(|_| value.into()),
        Kind::Duration => duration(value).map(|_| value.into()),
        Kind::Text => Some(value.into()),
    }
}

/// A duration as Go writes it: "1m30s", "500ms".
pub fn duration(text: &str) -> Option<std::time::Duration> {
    let (mut rest, mut total) = (text, 0.0);
    if rest == "0" {
        return Some(std::time::Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    std::time::Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_string).collect()
    }

    const FLAGS: &[Flag] = &[("ttl", Kind::Int, ""), ("recursive, r", Kind::Bool, "")];

    #[test]
    fn flags_may_follow_arguments() {
        let parsed = parse_command(FLAGS, &words("/a v -ttl 5 --r")).expect("parse");
        assert_eq!(parsed.args, ["/a", "v"]);
        assert_eq!((parsed.int("ttl"), parsed.is("recursive")), (5, true));
    }

    #[test]
    fn a_double_dash_ends_the_flags() {
        let parsed = parse_command(FLAGS, &words("--r /a -- sh -c x")).expect("parse");
        assert_eq!(parsed.args, ["/a", "--", "sh", "-c", "x"]);
        assert_eq!(
            parse_command(FLAGS, &words("-- /a -x")).expect("parse").args,
            ["/a", "-x"]
        );
    }

    #[test]
    fn bad_flags_are_refused() {
        assert!(parse(FLAGS, &words("--ttl x")).is_err());
        assert!(parse(FLAGS, &words("--frob")).is_err());
        assert!(duration("2").is_none() && duration("1m30s") == Some(std::time::Duration::from_secs(90)));
    }
}
