//! Certificates in a node's cloud-config: entries of `write_files`, also in a file of the user's (pure).
//!
//! A user's file is edited as text, as in `scalar`: what comes out is parsed and may differ by these entries only.
use labnode::ca::authority::Pair;
use serde_yaml::{Mapping, Value};

use super::user_data::is_cloud_config;
use crate::config::certificates::Certificates;
use crate::config::yaml;
use crate::failure::{Failure, Place};

const KEY: &str = "write_files";

/// What one node gets.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    pub settings: &'a Certificates,
    /// The CA's certificate.
    pub ca: String,
    pub pair: Pair,
}

impl Certificate<'_> {
    /// Path, mode and content of each file.
    fn files(&self) -> [(String, &'static str, &str); 3] {
        let path = |name: &str| format!("{}/{name}", self.settings.dir);
        [
            (path("ca.crt"), "0644", &self.ca),
            (path("node.crt"), "0644", &self.pair.cert),
            (path("node.key"), "0600", &self.pair.key),
        ]
    }

    /// The entries, each line behind so many spaces.
    fn text(&self, indent: usize, newline: &str) -> String {
        let mut text = String::new();
        let mut line = |inner: usize, line: &str| {
            text += &format!("{}{line}{newline}", " ".repeat(indent + inner));
        };
        for (path, mode, content) in self.files() {
            line(0, &format!("- path: {path}"));
            line(2, &format!("permissions: \"{mode}\""));
            line(2, &format!("owner: {}", self.settings.owner));
            line(2, "content: |");
            content.lines().for_each(|part| line(4, part.trim_end()));
        }
        text
    }

    fn values(&self) -> Vec<Value> {
        let entry = |(path, mode, content): (String, &str, &str)| {
            let lines: Vec<&str> = content.lines().map(str::trim_end).collect();
            let pairs = [
                ("path", path),
                ("permissions", mode.to_string()),
                ("owner", self.settings.owner.clone()),
                ("content", lines.join("\n") + "\n"),
            ];
            let pairs = pairs.map(|(key, value)| (Value::String(key.into()), Value::String(value)));
            Value::Mapping(Mapping::from_iter(pairs))
        };
        self.files().into_iter().map(entry).collect()
    }

    /// As the lab's own user data has them, which has no other files.
    pub fn section(&self) -> String {
        format!("\n{KEY}:\n{}", self.text(2, "\n"))
    }

    /// Before the files that somebody's own cloud-config has.
    pub fn insert(&self, file: &str, text: &str) -> Result<String, Failure> {
        let todo = "write `write_files:` as a list of lines below it, or `certificates: false` in lab.yaml";
        if !is_cloud_config(text) {
            let why = "certificates are put into a #cloud-config, which this is not";
            return Err(Failure::at(
                format!("{file} takes no certificates"),
                &Place::of(file, text, 0),
                why,
                todo,
            ));
        }
        let before = yaml::parse(file, text)?;
        let mut expected = match &before {
            Value::Null => Mapping::new(),
            Value::Mapping(map) => map.clone(),
            _ => Mapping::new(),
        };
        let mut files = self.values();
        if let Some(Value::Sequence(own)) = before.get(KEY) {
            files.extend(own.iter().cloned());
        }
        expected.insert(Value::String(KEY.into()), Value::Sequence(files));
        let expected = Value::Mapping(expected);
        let sound = |edited: &String| serde_yaml::from_str::<Value>(edited).is_ok_and(|after| after == expected);
        self.candidates(text, &before).into_iter().find(sound).ok_or_else(|| {
            let at = yaml::key(text, &[KEY]).unwrap_or(0);
            Failure::at(
                format!("certificates cannot be put into {file}"),
                &Place::of(file, text, at),
                "its files stand there in a form that cannot be added to unambiguously",
                todo,
            )
        })
    }

    fn candidates(&self, text: &str, document: &Value) -> Vec<String> {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let splice = |at: usize, with: &str| format!("{}{with}{}", &text[..at], &text[at..]);
        let line_end = |at: usize| text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
        match document.get(KEY) {
            None => {
                let section = format!("{KEY}:{newline}{}", self.text(2, newline));
                let last = if text.ends_with('\n') { "" } else { newline };
                vec![splice(line_end(0), &section), format!("{text}{last}{section}")]
            }
            Some(Value::Sequence(_)) => {
                let Some(first) = yaml::value_of(text, &[KEY]) else {
                    return Vec::new();
                };
                let start = text[..first].rfind('\n').map_or(0, |end| end + 1);
                vec![splice(start, &self.text(first - start, newline))]
            }
            Some(_) => {
                let Some(key) = yaml::key(text, &[KEY]) else {
                    return Vec::new();
                };
                vec![splice(line_end(key), &self.text(2, newline))]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(settings: &Certificates) -> Certificate<'_> {
        Certificate {
            settings,
            ca: "CA\nline\n".into(),
            pair: Pair {
                cert: "CERT\n".into(),
                key: "KEY\n".into(),
            },
        }
    }

    #[test]
    fn the_files_come_before_those_of_the_user_and_nothing_else_changes() {
        let settings = Certificates::default();
        let certificate = certificate(&settings);
        for text in [
            "#cloud-config\n# ours\nhostname: x # why\n",
            "#cloud-config\nhostname: x\nwrite_files:\n  # mine\n  - path: /a\n    permissions: 0644\n    content: b\ncoreos: {}\n",
            "#cloud-config\nwrite_files:\n- path: /a\n  content: b\n",
            "#cloud-config\nwrite_files: # none yet\nhostname: x\n",
            "#cloud-config\n---\nhostname: x\n",
            "#cloud-config\r\nhostname: x\r\n",
            "#cloud-config",
            "#cloud-config\n",
        ] {
            let edited = certificate.insert("user-data", text).expect(text);
            let parsed: Value = serde_yaml::from_str(&edited).expect(&edited);
            assert_eq!(
                parsed[KEY][0]["path"].as_str(),
                Some("/etc/ssl/etcd/ca.crt"),
                "{edited}"
            );
            assert_eq!(parsed[KEY][0]["content"].as_str(), Some("CA\nline\n"), "{edited}");
            assert_eq!(parsed[KEY][2]["permissions"].as_str(), Some("0600"), "{edited}");
            assert_eq!(parsed[KEY][2]["owner"].as_str(), Some("etcd"), "{edited}");
            for line in text.lines() {
                assert!(edited.lines().any(|other| other == line), "{line} is lost in {edited}");
            }
            assert!(is_cloud_config(&edited), "{edited}");
        }
    }

    #[test]
    fn what_cannot_be_added_to_is_refused_with_its_place() {
        let settings = Certificates::default();
        for (text, place) in [
            ("#!/bin/sh\necho\n", "user-data:1:1"),
            (
                "#cloud-config\nhostname: x\nwrite_files: [{path: /a}]\n",
                "user-data:3:1",
            ),
            ("#cloud-config\nwrite_files: 7\n", "user-data:2:1"),
            ("#cloud-config\n{hostname: x}\n", "user-data:1:1"),
        ] {
            let failure = certificate(&settings).insert("user-data", text).expect_err(text);
            assert_eq!(failure.place, place, "{failure:?}");
        }
    }
}
