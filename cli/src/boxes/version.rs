//! RubyGems' versions and constraints, which boxes are numbered and pinned by (pure).
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    /// Of a prerelease: 1.0.a comes before 1.0.
    Letters(String),
    Number(u64),
}

#[derive(Clone, Debug)]
pub struct Version {
    text: String,
    segments: Vec<Segment>,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        let malformed = || format!("{text:?} is no version, as 1122.2.0 is one");
        // As Gem::Version has it: what follows a hyphen is a prerelease.
        let dotted = text.trim().replace('-', ".pre.");
        let parts: Vec<&str> = dotted.split('.').collect();
        let sound = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !parts.iter().all(sound) || !parts[0].bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let mut segments = Vec::new();
        for part in parts {
            let mut rest = part;
            while let Some(first) = rest.chars().next() {
                let digits = first.is_ascii_digit();
                let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
                let (segment, after) = rest.split_at(end);
                segments.push(match digits {
                    true => Segment::Number(segment.parse().map_err(|_| malformed())?),
                    false => Segment::Letters(segment.to_string()),
                });
                rest = after;
            }
        }
        Ok(Version {
            text: text.trim().to_string(),
            segments,
        })
    }
}

impl Version {
    fn is_prerelease(&self) -> bool {
        self.segments
            .iter()
            .any(|segment| matches!(segment, Segment::Letters(_)))
    }

    fn of(segments: Vec<Segment>) -> Version {
        Version {
            text: String::new(),
            segments,
        }
    }

    /// Without what makes it a prerelease.
    fn release(&self) -> Version {
        let numbers = self
            .segments
            .iter()
            .take_while(|segment| matches!(segment, Segment::Number(_)));
        Version::of(numbers.cloned().collect())
    }

    /// The first version that `~>` this one does not accept.
    fn bump(&self) -> Version {
        let mut segments = self.release().segments;
        if segments.len() > 1 {
            segments.pop();
        }
        if let Some(Segment::Number(last)) = segments.last_mut() {
            *last = last.saturating_add(1);
        }
        Version::of(segments)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    /// Missing segments count as 0: 1.0 is 1.
    fn cmp(&self, other: &Version) -> Ordering {
        let zero = Segment::Number(0);
        let count = self.segments.len().max(other.segments.len());
        let at = |version: &Version, index: usize| version.segments.get(index).unwrap_or(&zero).clone();
        let unequal = (0..count)
            .map(|index| at(self, index).cmp(&at(other, index)))
            .find(|order| order.is_ne());
        unequal.unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// `>= 1.0, < 2`: all of them have to hold.
#[derive(Clone, Debug, Default)]
pub struct Constraint {
    parts: Vec<(String, Version)>,
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Constraint, String> {
        let part = |part: &str| {
            let part = part.trim();
            let end = part.find(|c: char| !"=!<>~".contains(c)).unwrap_or(part.len());
            let (operator, version) = part.split_at(end);
            let known = ["", "=", "!=", ">", "<", ">=", "<=", "~>"].contains(&operator);
            match known {
                true => Ok((operator.to_string(), version.parse()?)),
                false => Err(format!("{operator:?} is none of = != > < >= <= ~>")),
            }
        };
        let parts = text.split(',').map(part).collect::<Result<_, String>>()?;
        Ok(Constraint { parts })
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|(operator, version)| format!("{operator} {version}"))
            .collect();
        f.write_str(parts.join(", ").trim())
    }
}

impl Constraint {
    /// Prereleases only where one is asked for, as RubyGems has it.
    pub fn accepts(&self, version: &Version) -> bool {
        let wanted = self.parts.iter().any(|(_, wanted)| wanted.is_prerelease());
        (wanted || !version.is_prerelease())
            && self
                .parts
                .iter()
                .all(|(operator, wanted)| holds(operator, version, wanted))
    }
}

fn holds(operator: &str, version: &Version, wanted: &Version) -> bool {
    match operator {
        "!=" => version != wanted,
        ">" => version > wanted,
        "<" => version < wanted,
        ">=" => version >= wanted,
        "<=" => version <= wanted,
        "~>" => version >= wanted && version.release() < wanted.bump(),
        _ => version == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect(text)
    }

    #[test]
    fn versions_are_ordered_as_rubygems_orders_them() {
        let ascending = [
            "0",
            "0.9.a",
            "0.9",
            "1.0-beta",
            "1.0.a.2",
            "1.0.b1",
            "1",
            "1.0.1",
            "1.9",
            "1.10",
            "20151201.0.0",
            "20151201.0.1",
        ];
        for (index, text) in ascending.iter().enumerate() {
            for (other, later) in ascending.iter().enumerate() {
                let expected = index.cmp(&other);
                // 1.0-beta is 1.0.pre.beta, behind the single letters.
                if [text, later].iter().any(|text| text.contains("beta")) {
                    continue;
                }
                assert_eq!(version(text).cmp(&version(later)), expected, "{text} {later}");
            }
        }
        assert_eq!(version("1.0"), version("1"));
        assert!(version("1.0.b1") < version("1.0-beta") && version("1.0-beta") < version("1.0"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "current", "1..2", "v1", "1.0_2", "99999999999999999999999"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn constraints_are_rubygems() {
        for (constraint, accepted, refused) in [
            ("1.2", &["1.2", "1.2.0"][..], &["1.2.1"][..]),
            ("= 1.2", &["1.2"], &["1.3"]),
            ("!= 1.2", &["1.3"], &["1.2"]),
            (">= 1, < 2", &["1", "1.99"], &["0.9", "2", "2.1"]),
            (">1,<=2", &["1.0.1", "2"], &["1", "2.0.1"]),
            ("~> 1.2", &["1.2", "1.9"], &["1.1", "2.0"]),
            ("~> 1.2.3", &["1.2.3", "1.2.9"], &["1.3", "1.2.2"]),
            ("~> 1", &["1", "1.5"], &["2"]),
            (">= 1.0.a", &["1.0.b", "1.0"], &["0.9"]),
            (">= 0", &["1"], &["1.0.a"]),
        ] {
            let parsed: Constraint = constraint.parse().expect(constraint);
            for text in accepted {
                assert!(parsed.accepts(&version(text)), "{constraint} {text}");
            }
            for text in refused {
                assert!(!parsed.accepts(&version(text)), "{constraint} {text}");
            }
        }
        for text in ["=> 1", "~> x", "1,,2", ""] {
            assert!(text.parse::<Constraint>().is_err(), "{text}");
        }
        assert!(Constraint::default().accepts(&version("1")));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-z.~<>=!, -]{0,20}") {
            let _ = text.parse::<Version>();
            if let Ok(constraint) = text.parse::<Constraint>() {
                constraint.accepts(&version("1.2"));
            }
        }
    }
}
