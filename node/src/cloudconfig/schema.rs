//! Every key of a cloud-config: its type, what its values may be, the variable it sets, why it is deprecated. This one table
//! drives parsing, validation, the services' variables and "did you mean".
use super::sections::{ETCD, ETCD2, FLANNEL, FLEET, LOCKSMITH};
use crate::closest;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text,
    Int,
    Bool,
    Float,
    Struct(&'static [Key]),
    List(&'static Kind),
}

impl Kind {
    /// The type's name in the original's messages.
    pub fn name(&self) -> String {
        match self {
            Kind::Text => "string".into(),
            Kind::Int => "int".into(),
            Kind::Bool => "bool".into(),
            Kind::Float => "float64".into(),
            Kind::Struct(_) => "struct".into(),
            Kind::List(element) => format!("[]{}", element.name()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub env: Option<&'static str>,
    pub valid: Option<&'static Valid>,
    pub deprecated: Option<&'static str>,
}

pub const fn key(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        env: None,
        valid: None,
        deprecated: None,
    }
}

pub const fn text(name: &'static str) -> Key {
    key(name, Kind::Text)
}

impl Key {
    pub const fn env(self, env: &'static str) -> Key {
        let env = Some(env);
        Key { env, ..self }
    }

    pub const fn valid(self, valid: &'static Valid) -> Key {
        let valid = Some(valid);
        Key { valid, ..self }
    }

    pub const fn deprecated(self, why: &'static str) -> Key {
        let deprecated = Some(why);
        Key { deprecated, ..self }
    }
}

/// What a value may be. Nothing is always allowed.
#[derive(Debug)]
pub struct Valid {
    /// The original's regular expression, which its messages print.
    pub pattern: &'static str,
    pub matches: fn(&str) -> bool,
    /// In words.
    pub hint: &'static str,
}

macro_rules! one_of {
    ($pattern:literal, [$($word:literal),+]) => {
        Valid {
            pattern: $pattern,
            matches: |text| matches!(text, $($word)|+),
            hint: concat!("one of", $(" ", $word),+),
        }
    };
}

pub const PROXY: Valid = one_of!("^(on|off|readonly)$", ["on", "off", "readonly"]);
pub const STRATEGY: Valid = one_of!("^(etcd-lock|reboot|off)$", ["etcd-lock", "reboot", "off"]);
pub const COMMAND: Valid = one_of!(
    "^(start|stop|restart|reload|try-restart|reload-or-restart|reload-or-try-restart)$",
    [
        "start",
        "stop",
        "restart",
        "reload",
        "try-restart",
        "reload-or-restart",
        "reload-or-try-restart"
    ]
);
pub const ENCODING: Valid = one_of!(
    "^(base64|b64|gz|gzip|gz\\+base64|gzip\\+base64|gz\\+b64|gzip\\+b64)$",
    [
        "base64",
        "b64",
        "gz",
        "gzip",
        "gz+base64",
        "gzip+base64",
        "gz+b64",
        "gzip+b64"
    ]
);
pub const PERMISSIONS: Valid = Valid {
    pattern: "^0?[0-7]{3,4}$",
    matches: |text| {
        matches!(text.len(), 3..=5)
            && text.bytes().all(|c| (b'0'..=b'7').contains(&c))
            && (text.len() < 5 || text.starts_with('0'))
    },
    hint: "three or four octal digits, like \"0644\"",
};
pub const WINDOW_START: Valid = Valid {
    pattern: "^((?i:sun|mon|tue|wed|thu|fri|sat|sun) )?0*([0-9]|1[0-9]|2[0-3]):0*([0-9]|[1-5][0-9])$",
    matches: window_start,
    hint: "a time, with or without a day, like \"Thu 23:00\"",
};
pub const WINDOW_LENGTH: Valid = Valid {
    pattern: "^[-+]?([0-9]*(\\.[0-9]*)?[a-z]+)+$",
    matches: window_length,
    hint: "a duration, like \"1h30m\"",
};

fn window_start(text: &str) -> bool {
    let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let time = match text.split_once(' ') {
        Some((day, time)) if days.contains(&day.to_ascii_lowercase().as_str()) => time,
        Some(_) => return false,
        None => text,
    };
    let within = |text: &str, limit: u64| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) && {
            let digits = text.trim_start_matches('0');
            digits.len() <= 2 && digits.parse::<u64>().map_or(digits.is_empty(), |number| number < limit)
        }
    };
    time.split_once(':')
        .is_some_and(|(hour, minute)| within(hour, 24) && within(minute, 60))
}

fn window_length(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        if let Some(fraction) = rest.strip_prefix('.') {
            rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
        if unit.len() == rest.len() {
            return false;
        }
        rest = unit;
    }
    true
}

const NOT_SHIPPED: [&str; 3] = [
    "etcd is no longer shipped in Container Linux",
    "etcd2 is no longer shipped in Container Linux",
    "fleet is no longer shipped in Container Linux",
];
const REMOTE: &str = "trying to fetch from a remote endpoint introduces too many intermittent errors";

pub const TEXTS: Kind = Kind::List(&Kind::Text);

pub const TOP: &[Key] = &[
    key("ssh_authorized_keys", TEXTS),
    key("coreos", Kind::Struct(COREOS)),
    key("write_files", Kind::List(&Kind::Struct(FILE))),
    text("hostname"),
    key("users", Kind::List(&Kind::Struct(USER))),
    text("manage_etc_hosts"),
];

pub const COREOS: &[Key] = &[
    key("etcd", Kind::Struct(ETCD)).deprecated(NOT_SHIPPED[0]),
    key("etcd2", Kind::Struct(ETCD2)).deprecated(NOT_SHIPPED[1]),
    key("flannel", Kind::Struct(FLANNEL)),
    key("fleet", Kind::Struct(FLEET)).deprecated(NOT_SHIPPED[2]),
    key("locksmith", Kind::Struct(LOCKSMITH)),
    key("oem", Kind::Struct(OEM)),
    key("update", Kind::Struct(UPDATE)),
    key("units", Kind::List(&Kind::Struct(UNIT))),
];

const FILE: &[Key] = &[
    text("encoding").valid(&ENCODING),
    text("content"),
    text("owner"),
    text("path"),
    text("permissions").valid(&PERMISSIONS),
];

const USER: &[Key] = &[
    text("name"),
    text("passwd"),
    key("ssh_authorized_keys", TEXTS),
    text("coreos_ssh_import_github").deprecated(REMOTE),
    key("coreos_ssh_import_github_users", TEXTS).deprecated(REMOTE),
    text("coreos_ssh_import_url").deprecated(REMOTE),
    text("gecos"),
    text("homedir"),
    key("no_create_home", Kind::Bool),
    text("primary_group"),
    key("groups", TEXTS),
    key("no_user_group", Kind::Bool),
    key("system", Kind::Bool),
    key("no_log_init", Kind::Bool),
    text("shell"),
];

const OEM: &[Key] = &[
    text("id"),
    text("name"),
    text("version_id"),
    text("home_url"),
    text("bug_report_url"),
];

pub const UPDATE: &[Key] = &[
    text("reboot_strategy").env("REBOOT_STRATEGY").valid(&STRATEGY),
    text("group").env("GROUP"),
    text("server").env("SERVER"),
];

const UNIT: &[Key] = &[
    text("name"),
    key("mask", Kind::Bool),
    key("enable", Kind::Bool),
    key("runtime", Kind::Bool),
    text("content"),
    text("command").valid(&COMMAND),
    key("drop_ins", Kind::List(&Kind::Struct(DROP_IN))),
];

const DROP_IN: &[Key] = &[text("name"), text("content")];

pub fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name)
}

/// The known key that is most like an unknown one: a letter or two off, or the same key of another section.
pub fn did_you_mean(keys: &'static [Key], name: &str) -> Option<String> {
    let close = keys
        .iter()
        .map(|key| (closest::distance(key.name, name), key.name))
        .min();
    let limit = 1 + name.len() / 4;
    if let Some((_, name)) = close.filter(|(distance, _)| *distance <= limit) {
        return Some(name.to_string());
    }
    let sections = [("", TOP), ("coreos.", COREOS), ("coreos.units", UNIT), ("users", USER)];
    let elsewhere = sections.iter().take(2).find(|(_, keys)| find(keys, name).is_some());
    elsewhere.map(|(section, _)| format!("{section}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_the_originals_expressions() {
        for text in ["14:00", "Thu 23:00", "sun 0:5", "007:009"] {
            assert!(window_start(text), "{text}");
        }
        for text in ["24:00", "Foo 1:00", "1", "1:60", "1:", "Thu  1:00"] {
            assert!(!window_start(text), "{text}");
        }
        for text in ["1h30m", "h", "-1.5h", ".5s"] {
            assert!(window_length(text), "{text}");
        }
        for text in ["", "1", "1h30", "1H"] {
            assert!(!window_length(text), "{text}");
        }
    }

    #[test]
    fn permissions_are_octal() {
        for (text, valid) in [
            ("644", true),
            ("0644", true),
            ("4755", true),
            ("04755", true),
            ("0o644", false),
            ("64", false),
            ("00644", true),
            ("10644", false),
        ] {
            assert_eq!((PERMISSIONS.matches)(text), valid, "{text}");
        }
    }

    #[test]
    fn a_near_miss_is_named() {
        assert_eq!(did_you_mean(TOP, "hostnmae").as_deref(), Some("hostname"));
        assert_eq!(did_you_mean(TOP, "units").as_deref(), Some("coreos.units"));
        assert_eq!(did_you_mean(COREOS, "write_files").as_deref(), Some("write_files"));
        assert_eq!(did_you_mean(TOP, "runcmd"), None);
    }
}
