//! Unit names: which are valid, templates and instances, and the specifiers that stand for their parts.

const MAX: usize = 256;
const SUFFIXES: [&str; 13] = [
    "service",
    "socket",
    "target",
    "timer",
    "path",
    "mount",
    "automount",
    "device",
    "swap",
    "slice",
    "scope",
    "snapshot",
    "busname",
];

/// A name and its parts: `nginx@80.service` has the prefix `nginx`, the instance `80`, and is of `nginx@.service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitName {
    pub full: String,
    /// Without the suffix.
    pub name: String,
    pub prefix: String,
    /// The template's name; empty where there is none.
    pub template: String,
    pub instance: String,
}

impl UnitName {
    pub fn new(full: &str) -> UnitName {
        let (name, suffix) = full.rsplit_once('.').unwrap_or((full, ""));
        let (prefix, template, instance) = match name.split_once('@') {
            Some((prefix, instance)) => (prefix, format!("{prefix}@.{suffix}"), instance),
            None => (name, String::new(), ""),
        };
        UnitName {
            full: full.into(),
            name: name.into(),
            prefix: prefix.into(),
            template,
            instance: instance.into(),
        }
    }

    pub fn is_template(&self) -> bool {
        !self.template.is_empty() && self.instance.is_empty()
    }

    pub fn is_instance(&self) -> bool {
        !self.instance.is_empty()
    }

    /// Fills in `%n`, `%N`, `%p` and `%i`; everything else stays as it is.
    pub fn expand(&self, text: &str) -> String {
        let mut out = text.to_string();
        for (specifier, value) in [
            ("%n", &self.full),
            ("%N", &self.name),
            ("%p", &self.prefix),
            ("%i", &self.instance),
        ] {
            out = out.replace(specifier, value);
        }
        out
    }
}

/// The name with `.service` where it has no suffix of systemd's, as fleetctl reads its arguments.
pub fn mangle(argument: &str) -> String {
    const KNOWN: [&str; 8] = [
        "service",
        "socket",
        "timer",
        "path",
        "device",
        "mount",
        "automount",
        "target",
    ];
    let base = argument.rsplit('/').next().unwrap_or_default();
    match base.rsplit_once('.') {
        // fleetctl's own list lacks targets: they become services.
        Some((_, suffix)) if KNOWN[..7].contains(&suffix) => base.to_string(),
        _ => format!("{base}.service"),
    }
}

/// What is wrong with a name, in fleet's words.
pub fn validate(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("unit name cannot be empty".into());
    }
    if name.len() > MAX {
        return Err(format!("unit name exceeds maximum length ({MAX})"));
    }
    let (before, suffix) = name.rsplit_once('.').ok_or("unit name must contain \".\"")?;
    if suffix.is_empty() {
        return Err("unit name cannot end in \".\"".into());
    }
    if !SUFFIXES.contains(&suffix) {
        return Err(format!("invalid unit type: {suffix:?}"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if let Some(c) = before.chars().find(|c| !allowed(*c)) {
        return Err(format!("invalid character {c:?} in unit name"));
    }
    if name.starts_with('@') {
        return Err("unit name cannot start in \"@\"".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_in_fleets_words() {
        let cases = [
            ("", "unit name cannot be empty"),
            ("noext", "unit name must contain \".\""),
            ("a.", "unit name cannot end in \".\""),
            ("a.foo", "invalid unit type: \"foo\""),
            ("a b.service", "invalid character ' ' in unit name"),
            ("é.service", "invalid character 'é' in unit name"),
            ("@x.service", "unit name cannot start in \"@\""),
        ];
        for (name, why) in cases {
            assert_eq!(validate(name), Err(why.to_string()), "{name}");
        }
        let longest = format!("{}.service", "x".repeat(MAX - 8));
        assert_eq!(validate(&longest), Ok(()));
        assert!(validate(&format!("x{longest}")).is_err());
        for name in [
            ".service",
            "a@@b.service",
            "a:b_c-d.e@1.service",
            "a\\x2d.service",
            "a@b.mount",
        ] {
            assert_eq!(validate(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn instances_know_their_template() {
        let name = UnitName::new("nginx-discovery@80@1.service");
        assert_eq!(
            (name.prefix.as_str(), name.instance.as_str()),
            ("nginx-discovery", "80@1")
        );
        assert_eq!(name.template, "nginx-discovery@.service");
        assert_eq!(
            name.expand("%p/%i/%n/%N/%m"),
            "nginx-discovery/80@1/nginx-discovery@80@1.service/nginx-discovery@80@1/%m"
        );
        assert!(UnitName::new("a@.service").is_template());
        assert!(!UnitName::new("a.service").is_template());
    }

    #[test]
    fn arguments_become_names_as_in_fleetctl() {
        for (argument, name) in [
            ("x", "x.service"),
            ("d/x.socket", "x.socket"),
            ("foo.target", "foo.target.service"),
        ] {
            assert_eq!(mangle(argument), name);
        }
    }
}
