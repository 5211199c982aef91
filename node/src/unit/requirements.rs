//! What a unit's [X-Fleet] section asks for, in its new and its old spellings.
use std::collections::BTreeMap;

use super::file::{Problem, UnitFile};
use super::glob;
use super::name::UnitName;

const SECTION: &str = "X-Fleet";

/// A condition on one key of a machine's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// One of these values; several lines with the same key add up.
    In(Vec<String>),
    NotIn(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataTerm {
    pub key: String,
    pub condition: Condition,
}

impl MetadataTerm {
    pub fn met(&self, metadata: &BTreeMap<String, String>) -> bool {
        let value = metadata.get(&self.key);
        match &self.condition {
            Condition::In(values) => value.is_some_and(|value| values.contains(value)),
            Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        }
    }
}

/// What becomes of a unit on a machine that has lost touch with the cluster for longer than its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// As the machine's configuration has it.
    #[default]
    Default,
    Stop,
    Keep,
}

/// What is done with a unit that systemd has given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartFailed {
    /// It stays failed, as with fleet.
    #[default]
    No,
    /// It is started again where it is, after longer and longer pauses.
    Here,
    /// And goes to another machine when that has not helped.
    Elsewhere,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    pub machine_id: Option<String>,
    /// Units on whose machine this one has to be.
    pub peers: Vec<String>,
    pub metadata: Vec<MetadataTerm>,
    pub conflicts: Vec<String>,
    pub replaces: Vec<String>,
    pub global: bool,
    /// Machines that meet more of these are taken first.
    pub preferred: Vec<MetadataTerm>,
    /// How much of a machine's load it is; 1 where it does not say.
    pub weight: Option<u32>,
    /// How many instances of its template a machine may hold.
    pub max_per_machine: Option<u32>,
    pub on_disconnect: OnDisconnect,
    pub restart_failed: RestartFailed,
    /// Keys that mean nothing, with their lines.
    pub unknown: Vec<(usize, String)>,
}

impl Requirements {
    pub fn weight(&self) -> u64 {
        u64::from(self.weight.unwrap_or(1))
    }

    /// Reads a unit's requirements. What is malformed is told and left out: a unit that an older fleet has accepted
    /// goes on as it was meant there, and a new one is refused by whoever takes it in.
    pub fn read(unit: &UnitName, file: &UnitFile) -> (Requirements, Vec<Problem>) {
        let mut of = Requirements::default();
        let mut problems = Vec::new();
        for (at, option) in file.options.iter().enumerate() {
            if option.section != SECTION {
                continue;
            }
            let line = file.line(at);
            for value in words(&option.value) {
                let value = unit.expand(&value);
                if let Err(text) = of.add(&option.name, value.trim(), line) {
                    problems.push(Problem::new(line, format!("{}: {text}", option.name)));
                }
            }
        }
        (of, problems)
    }

    fn add(&mut self, key: &str, value: &str, line: usize) -> Result<(), String> {
        let list = |list: &mut Vec<String>| {
            for word in value.split_whitespace() {
                if !list.iter().any(|known| known == word) {
                    list.push(word.into());
                }
            }
        };
        match key {
            "MachineID" | "X-ConditionMachineID" | "X-ConditionMachineBootID" => {
                // Only the first one counts.
                if self.machine_id.is_none() && !value.is_empty() {
                    self.machine_id = Some(value.into());
                }
            }
            "MachineOf" | "X-ConditionMachineOf" => list(&mut self.peers),
            "MachineMetadata" | "X-ConditionMachineMetadata" => add_term(&mut self.metadata, value)?,
            "PreferredMetadata" => add_term(&mut self.preferred, value)?,
            "Conflicts" | "X-Conflicts" | "Replaces" => {
                if let Some(bad) = value.split_whitespace().find(|pattern| !glob::valid(pattern)) {
                    return Err(format!(
                        "{bad:?} is a pattern that matches nothing: a [ or \\ without its end"
                    ));
                }
                list(if key == "Replaces" {
                    &mut self.replaces
                } else {
                    &mut self.conflicts
                });
            }
            "Global" => self.global = ["true", "yes", "1", "on", "t"].contains(&value.to_lowercase().as_str()),
            "Weight" => self.weight = Some(number(value)?),
            "MaxPerMachine" => self.max_per_machine = Some(number(value)?),
            "OnDisconnect" => {
                self.on_disconnect = match value {
                    "stop" => OnDisconnect::Stop,
                    "keep" => OnDisconnect::Keep,
                    _ => return Err(format!("{value:?} is neither stop nor keep")),
                }
            }
            "RestartFailed" => {
                self.restart_failed = match value {
                    "no" => RestartFailed::No,
                    "here" => RestartFailed::Here,
                    "elsewhere" => RestartFailed::Elsewhere,
                    _ => return Err(format!("{value:?} is neither no nor here nor elsewhere")),
                }
            }
            other => self.unknown.push((line, other.into())),
        }
        Ok(())
    }

    /// Requirements that exclude each other, in fleet's words.
    pub fn contradiction(&self) -> Option<String> {
        for peer in &self.peers {
            for (kind, patterns) in [("conflict", &self.conflicts), ("replace", &self.replaces)] {
                if let Some(pattern) = patterns.iter().find(|pattern| glob::matches(pattern, peer)) {
                    return Some(format!(
                        "unresolvable requirements: peer {peer:?} matches {kind} {pattern:?}"
                    ));
                }
            }
        }
        let machine_id = self.machine_id.is_some();
        let (peers, conflicts, replaces) = (
            !self.peers.is_empty(),
            !self.conflicts.is_empty(),
            !self.replaces.is_empty(),
        );
        let pairs = [
            (machine_id, "MachineID", peers, "Peers"),
            (machine_id, "MachineID", conflicts, "Conflicts"),
            (machine_id, "MachineID", self.global, "Global"),
            (machine_id, "MachineID", replaces, "Replaces"),
            (self.global, "Global", peers, "Peers"),
            (self.global, "Global", replaces, "Replaces"),
            (conflicts, "Conflicts", replaces, "Replaces"),
        ];
        let found = pairs.iter().find(|(one, _, other, _)| *one && *other);
        found.map(|(_, one, _, other)| format!("{one} cannot be used with {other}"))
    }

    pub fn conflicts_with(&self, name: &str) -> bool {
        self.conflicts.iter().any(|pattern| glob::matches(pattern, name))
    }

    pub fn replaces(&self, name: &str) -> bool {
        self.replaces.iter().any(|pattern| glob::matches(pattern, name))
    }
}

/// A value as it is, or the several that it quotes: `"a=b" "c=d"`.
fn words(value: &str) -> Vec<String> {
    let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    if !quoted {
        return vec![value.to_string()];
    }
    let inside = value[1..value.len() - 1].split("\" \"");
    inside.map(str::to_string).collect()
}

/// `key=value`, `key!=value`, `key in (a, b)`, `key not in (a, b)`.
fn add_term(terms: &mut Vec<MetadataTerm>, value: &str) -> Result<(), String> {
    let malformed = || {
        format!(
            "{value:?} is none of key=value, key!=value, key in (a, b), key not in (a, b); quote each of several: \"a=b\" \"c=d\""
        )
    };
    let (key, condition) = match value.strip_suffix(')').and_then(|text| text.split_once(" in (")) {
        Some((key, list)) => {
            let values: Vec<String> = list.split(',').map(|value| value.trim().to_string()).collect();
            if values.iter().any(String::is_empty) {
                return Err(malformed());
            }
            match key.trim_end().strip_suffix(" not") {
                Some(key) => (key, Condition::NotIn(values)),
                None => (key, Condition::In(values)),
            }
        }
        None => match value.split_once('=') {
            Some((key, value)) if value.contains('=') || value.is_empty() || key.is_empty() => return Err(malformed()),
            Some((key, value)) => match key.strip_suffix('!') {
                Some(key) => (key, Condition::NotIn(vec![value.trim().into()])),
                None => (key, Condition::In(vec![value.trim().into()])),
            },
            None => return Err(malformed()),
        },
    };
    let key = key.trim();
    if key.is_empty() || key.contains(['<', '>', '!', '"']) {
        return Err(malformed());
    }
    if let Condition::In(more) = &condition {
        let same = |term: &&mut MetadataTerm| term.key == key;
        if let Some(MetadataTerm {
            condition: Condition::In(values),
            ..
        }) = terms
            .iter_mut()
            .filter(same)
            .find(|term| matches!(term.condition, Condition::In(_)))
        {
            values.extend(more.iter().cloned());
            return Ok(());
        }
    }
    terms.push(MetadataTerm {
        key: key.into(),
        condition,
    });
    Ok(())
}

fn number(value: &str) -> Result<u32, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{value:?} is no whole number of at least 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(unit: &str, text: &str) -> Requirements {
        let (requirements, problems) = read(unit, text);
        assert_eq!(problems, []);
        requirements
    }

    fn read(unit: &str, text: &str) -> (Requirements, Vec<Problem>) {
        let file = UnitFile::parse(&format!("[X-Fleet]\n{text}")).unwrap();
        Requirements::read(&UnitName::new(unit), &file)
    }

    #[test]
    fn old_spellings_count_and_specifiers_are_filled_in() {
        let old = of(
            "a@7.service",
            "X-ConditionMachineOf=b@%i.service\nX-Conflicts=a@*.service c.service\nX-ConditionMachineMetadata=k=%p\n",
        );
        let new = of(
            "a@7.service",
            "MachineOf=b@7.service\nConflicts=a@*.service\nConflicts=c.service\nMachineMetadata=k=a\n",
        );
        assert_eq!(old, new);
        assert_eq!(old.peers, ["b@7.service"]);
        let id = of("a.service", "X-ConditionMachineBootID=one\nMachineID=two\n");
        assert_eq!(id.machine_id.as_deref(), Some("one"));
    }

    #[test]
    fn metadata_with_one_key_is_one_of_and_with_several_all_of() {
        let wants = of(
            "a.service",
            "MachineMetadata=\"role=a\" \"role=b\"\nMachineMetadata=disk=ssd\nMachineMetadata=zone!=x\n",
        );
        let met = |pairs: &[(&str, &str)]| {
            let metadata = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            wants.metadata.iter().all(|term| term.met(&metadata))
        };
        assert!(met(&[("role", "b"), ("disk", "ssd")]));
        assert!(!met(&[("role", "c"), ("disk", "ssd")]));
        assert!(!met(&[("role", "a")]));
        assert!(!met(&[("role", "a"), ("disk", "ssd"), ("zone", "x")]));
        let listed = of(
            "a.service",
            "MachineMetadata=role in (a, b)\nMachineMetadata=zone not in (x)\n",
        );
        assert!(listed.metadata[0].met(&[("role".to_string(), "b".to_string())].into()));
    }

    #[test]
    fn what_is_malformed_is_told_with_its_line() {
        for line in [
            "MachineMetadata=novalue",
            "MachineMetadata=a=b=c",
            "MachineMetadata=a=b c=d",
            "MachineMetadata=role<r2",
            "Conflicts=[",
            "Weight=0",
            "OnDisconnect=maybe",
            "RestartFailed=perhaps",
        ] {
            let (_, problems) = read("a.service", &format!("MachineOf=\n{line}\n"));
            assert_eq!(problems.iter().map(|p| p.line).collect::<Vec<_>>(), [3], "{line}");
        }
        assert_eq!(
            of("a.service", "Frobnicate=yes\n").unknown,
            [(2, "Frobnicate".to_string())]
        );
    }

    #[test]
    fn contradictions_are_named_as_fleet_does() {
        let cases = [
            ("MachineID=x\nMachineOf=y", "MachineID cannot be used with Peers"),
            (
                "X-ConditionMachineID=x\nX-Conflicts=y",
                "MachineID cannot be used with Conflicts",
            ),
            ("MachineID=x\nGlobal=true", "MachineID cannot be used with Global"),
            ("Global=true\nMachineOf=x", "Global cannot be used with Peers"),
            (
                "MachineOf=foo.service\nConflicts=f*",
                "unresolvable requirements: peer \"foo.service\" matches conflict \"f*\"",
            ),
        ];
        for (text, why) in cases {
            assert_eq!(of("a.service", text).contradiction().as_deref(), Some(why));
        }
        assert_eq!(
            of("a.service", "MachineID=x\nMachineMetadata=a=b").contradiction(),
            None
        );
        assert_eq!(
            of("a.service", "Global=false\nGlobal=TRUE\nConflicts=b*").contradiction(),
            None
        );
    }
}
