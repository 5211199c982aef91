//! `$public_ipv4` and its kin, put in before anything is parsed: textually, in comments and scripts, too.
use std::collections::BTreeMap;

use super::yaml::Mark;

/// The variable, its name in the environment, which is also its name in /etc/environment.
pub const VARIABLES: [(&str, &str); 4] = [
    ("$public_ipv4", "COREOS_PUBLIC_IPV4"),
    ("$private_ipv4", "COREOS_PRIVATE_IPV4"),
    ("$public_ipv6", "COREOS_PUBLIC_IPV6"),
    ("$private_ipv6", "COREOS_PRIVATE_IPV6"),
];

/// Values by variable; one that is missing becomes nothing at all.
pub type Values = BTreeMap<&'static str, String>;

/// The original's: a backslash before a variable keeps it and goes away, and a second one right after the first of the
/// same name stays, since the character between two of them is looked at once.
pub fn apply(text: &[u8], values: &Values) -> Vec<u8> {
    let mut text = text.to_vec();
    for (variable, env) in VARIABLES {
        let value = values.get(env).map_or("", String::as_str);
        text = replace(&text, variable.as_bytes(), value.as_bytes());
    }
    text
}

fn replace(text: &[u8], variable: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut at, mut just) = (0, false);
    while at < text.len() {
        if !text[at..].starts_with(variable) {
            out.push(text[at]);
            (at, just) = (at + 1, false);
            continue;
        }
        if out.last() == Some(&b'\\') && !just {
            out.pop();
            out.extend_from_slice(variable);
            just = false;
        } else if just {
            out.extend_from_slice(variable);
            just = false;
        } else {
            out.extend_from_slice(value);
            just = true;
        }
        at += variable.len();
    }
    out
}

/// The variables that are used and have no value, with their places.
pub fn undefined(text: &[u8], values: &Values) -> Vec<(Mark, &'static str, &'static str)> {
    let mut found = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        for at in 0..line.len() {
            let known = VARIABLES
                .iter()
                .find(|(variable, _)| line[at..].starts_with(variable.as_bytes()));
            let Some((variable, env)) = known else { continue };
            let escaped = at > 0 && line[at - 1] == b'\\';
            if !escaped && values.get(env).is_none_or(String::is_empty) {
                let line = number + 1;
                found.push((Mark { line, column: at + 1 }, *variable, *env));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values::from([("COREOS_PUBLIC_IPV4", "1.2.3.4".to_string())])
    }

    fn substitute(text: &str) -> String {
        String::from_utf8(apply(text.as_bytes(), &values())).expect("UTF-8")
    }

    #[test]
    fn substitution_is_textual_and_can_be_escaped() {
        for (text, expected) in [
            ("a $public_ipv4", "a 1.2.3.4"),
            ("\\$public_ipv4", "$public_ipv4"),
            ("\\\\$public_ipv4", "\\$public_ipv4"),
            ("${public_ipv4} $PUBLIC_IPV4", "${public_ipv4} $PUBLIC_IPV4"),
            ("$public_ipv4x$$public_ipv4", "1.2.3.4x$1.2.3.4"),
            ("$public_ipv4$public_ipv4", "1.2.3.4$public_ipv4"),
            ("$public_ipv4$public_ipv4$public_ipv4", "1.2.3.4$public_ipv41.2.3.4"),
            ("[$private_ipv4]", "[]"),
        ] {
            assert_eq!(substitute(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_value_is_found_where_it_is() {
        let found = undefined(b"# $public_ipv4\n a: $private_ipv6 \\$private_ipv4", &values());
        assert_eq!(
            found,
            [(Mark { line: 2, column: 5 }, "$private_ipv6", "COREOS_PRIVATE_IPV6")]
        );
    }
}
