//! The grammar of unit files: options in their order, one text for each file, and the hash of that text.
use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

/// One `Name=Value` line. Its section may be empty, as the API accepts it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitOption {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub section: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

impl UnitOption {
    pub fn new(section: &str, name: &str, value: &str) -> UnitOption {
        UnitOption {
            name: name.into(),
            section: section.into(),
            value: value.into(),
        }
    }
}

/// What is wrong with a unit file; lines count from 1, and are 0 for options that never were lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    pub line: usize,
    pub text: String,
}

impl Problem {
    pub fn new(line: usize, text: impl Into<String>) -> Problem {
        Problem {
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.text),
            line => write!(f, "line {line}: {}", self.text),
        }
    }
}

/// SHA1 of the normalised text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 20]);

impl Hash {
    pub fn of(text: &str) -> Hash {
        Hash(Sha1::digest(text.as_bytes()).into())
    }

    pub fn parse(text: &str) -> Option<Hash> {
        let mut bytes = [0; 20];
        if text.len() != 40 || !text.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Hash(bytes))
    }

    /// What `list-unit-files` shows of it.
    pub fn short(&self) -> String {
        self.to_string()[..7].to_string()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFile {
    pub options: Vec<UnitOption>,
    /// The line of each option; empty where the options were not read from a text.
    lines: Vec<usize>,
}

impl From<Vec<UnitOption>> for UnitFile {
    fn from(options: Vec<UnitOption>) -> UnitFile {
        UnitFile {
            options,
            lines: Vec::new(),
        }
    }
}

impl UnitFile {
    /// Reads a text. What comes before the first section is passed over, as are comments; a line that ends in a
    /// backslash goes on with the next one, a blank in between.
    pub fn parse(text: &str) -> Result<UnitFile, Problem> {
        let mut file = UnitFile::default();
        let mut section: Option<&str> = None;
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let number = at + 1;
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            if let Some(rest) = trimmed.strip_prefix('[') {
                let (name, garbage) = rest
                    .split_once(']')
                    .ok_or_else(|| Problem::new(number, "unable to find end of section"))?;
                if !garbage.trim().is_empty() {
                    let text = format!("found garbage after section name {name}: {}", garbage.trim());
                    return Err(Problem::new(number, text));
                }
                section = Some(name);
                continue;
            }
            let Some(section) = section else { continue };
            let (name, value) = line.split_once('=').ok_or_else(|| {
                let text = "unexpected newline encountered while parsing option name";
                Problem::new(number, text)
            })?;
            let mut value = value.to_string();
            while let Some(begun) = value.strip_suffix('\\') {
                // The end of the file or an empty line ends the value as well.
                let next = lines.next().map_or("", |(_, next)| next);
                value = format!("{begun} {next}");
                if next.trim().is_empty() {
                    break;
                }
            }
            file.options.push(UnitOption::new(section, name.trim(), value.trim()));
            file.lines.push(number);
        }
        Ok(file)
    }

    /// The line that an option was read from; 0 if it was not.
    pub fn line(&self, option: usize) -> usize {
        self.lines.get(option).copied().unwrap_or(0)
    }

    /// The text that is stored, hashed and given to systemd: an empty line between sections and nothing else.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut current: Option<&str> = None;
        for option in &self.options {
            if current != Some(option.section.as_str()) {
                if current.is_some() {
                    out.push('\n');
                }
                out.push_str(&format!("[{}]\n", option.section));
                current = Some(&option.section);
            }
            out.push_str(&format!("{}={}\n", option.name, option.value));
        }
        out
    }

    pub fn hash(&self) -> Hash {
        Hash::of(&self.text())
    }

    pub fn values<'a>(&'a self, section: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = move |option: &&UnitOption| option.section == section && option.name == name;
        self.options.iter().filter(same).map(|option| option.value.as_str())
    }

    pub fn has_section(&self, section: &str) -> bool {
        self.options.iter().any(|option| option.section == section)
    }

    /// Options that would be read back as others than they are: a line break in one could add lines and sections.
    pub fn check(&self) -> Result<(), Problem> {
        for (at, option) in self.options.iter().enumerate() {
            let refuse = |what: &str| {
                let text = format!("option {:?} of section {:?} {what}", option.name, option.section);
                Err(Problem::new(self.line(at), text))
            };
            if [&option.section, &option.name, &option.value]
                .iter()
                .any(|text| text.contains(['\n', '\r', '\0']))
            {
                return refuse("contains a line break; give each line as an option of its own");
            }
            if option.name.contains('=') || option.section.contains(']') {
                return refuse("cannot be written as a line of a unit file");
            }
            if option.value.ends_with('\\') {
                return refuse("ends in a backslash, which would join the next line to it");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_fleet_stored() {
        let stored = [
            (
                "[Service]\nExecStart=/bin/sleep 1234\n",
                "b12755fc20dfcfdba3e74d2edeac068a7e586027",
            ),
            (
                "# a comment\n\n[Service]\n ; another\nExecStart =  /bin/sleep 1234  \n\n\n",
                "b12755fc20dfcfdba3e74d2edeac068a7e586027",
            ),
        ];
        for (text, hash) in stored {
            assert_eq!(UnitFile::parse(text).unwrap().hash().to_string(), hash, "{text}");
        }
    }

    #[test]
    fn options_keep_their_order_and_sections_their_headers() {
        let text = "[Unit]\nA=1\n\n[Service]\nB=2\nB=3\n\n[Unit]\nC=\n";
        let file = UnitFile::parse(text).unwrap();
        assert_eq!(file.text(), text);
        assert_eq!(file.values("Service", "B").collect::<Vec<_>>(), ["2", "3"]);
    }

    #[test]
    fn a_backslash_joins_lines_with_a_blank() {
        let file = UnitFile::parse("[Service]\nExecStart=/bin/sh \\\n-c x\nA=b\\\n").unwrap();
        assert_eq!(file.text(), "[Service]\nExecStart=/bin/sh  -c x\nA=b\n");
    }

    #[test]
    fn what_is_malformed_is_refused_with_its_line() {
        let cases = [
            ("[Unit", 1, "unable to find end of section"),
            (
                "[Unit]\nA=1\nnonsense\n",
                3,
                "unexpected newline encountered while parsing option name",
            ),
            ("[Unit] x\n", 1, "found garbage after section name Unit: x"),
        ];
        for (text, line, what) in cases {
            assert_eq!(UnitFile::parse(text).unwrap_err(), Problem::new(line, what), "{text}");
        }
        assert_eq!(UnitFile::parse("before\n[Unit]\n").unwrap().options, []);
    }

    #[test]
    fn options_that_would_add_lines_are_refused() {
        for value in ["/bin/true\n[Evil]\nA=b", "x\\"] {
            let file = UnitFile::from(vec![UnitOption::new("Service", "ExecStart", value)]);
            assert!(file.check().is_err(), "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(options in proptest::collection::vec(("[A-Z][a-z]{0,3}", "[A-Z][a-z]{0,5}", "[a-z/=#;]{0,9}"), 0..9)) {
            let options: Vec<UnitOption> = options.iter().map(|(s, n, v)| UnitOption::new(s, n, v)).collect();
            let file = UnitFile::from(options.clone());
            let read = UnitFile::parse(&file.text()).unwrap();
            proptest::prop_assert_eq!(read.options, options);
            proptest::prop_assert_eq!(file.check(), Ok(()));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = UnitFile::parse(&text);
        }
    }
}
