//! known_hosts as fleet reads and writes it: names with patterns, MD5 fingerprints, the questions and warnings (pure).
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

/// A public key as it travels: the name of its kind, and all of it in SSH's own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    pub algorithm: String,
    pub blob: Vec<u8>,
}

impl HostKey {
    /// MD5 in hex, with colons.
    pub fn fingerprint(&self) -> String {
        let bytes: Vec<String> = Md5::digest(&self.blob)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        bytes.join(":")
    }

    /// The kind as people are told it.
    pub fn kind(&self) -> &str {
        match self.algorithm.as_str() {
            "ssh-rsa" => "RSA",
            "ssh-dss" => "DSA",
            "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => "ECDSA",
            other => other,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Known,
    /// The host is there, with other keys.
    Changed,
    Unknown,
}

#[derive(Debug, Default)]
pub struct KnownHosts {
    /// What a line begins with, and its key.
    entries: Vec<(String, HostKey)>,
    /// Lines that are skipped: their numbers, and why.
    pub skipped: Vec<(usize, String)>,
}

impl KnownHosts {
    pub fn parse(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        for (index, line) in text.lines().enumerate() {
            match entry(line) {
                Ok(Some(entry)) => known.entries.push(entry),
                Ok(None) => {}
                Err(why) => known.skipped.push((index + 1, why)),
            }
        }
        known
    }

    fn keys<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a HostKey> {
        let meant = self.entries.iter().filter(move |(patterns, _)| matches(name, patterns));
        meant.map(|(_, key)| key)
    }

    /// One key that matches is enough, whatever other lines say.
    pub fn check(&self, name: &str, key: &HostKey) -> Verdict {
        let mut others = false;
        for known in self.keys(name) {
            if known == key {
                return Verdict::Known;
            }
            others = true;
        }
        match others {
            true => Verdict::Changed,
            false => Verdict::Unknown,
        }
    }

    /// The kinds of key that are known of a host: a server that has several is to show one of these.
    pub fn algorithms<'a>(&'a self, name: &str) -> Vec<&'a str> {
        self.keys(name).map(|key| key.algorithm.as_str()).collect()
    }
}

fn entry(line: &str) -> Result<Option<(String, HostKey)>, String> {
    let line = line.trim_start_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.starts_with('@') {
        return Err("marker functionality not implemented".into());
    }
    let Some((hosts, rest)) = line.split_once([' ', '\t']) else {
        return Err("bad format (insufficient fields)".into());
    };
    if hosts.starts_with('|') {
        return Err("hashed hosts not implemented".into());
    }
    let mut fields = rest.split_ascii_whitespace();
    let key = fields.next().zip(fields.next()).and_then(|(algorithm, key)| {
        let blob = STANDARD.decode(key).ok()?;
        let algorithm = algorithm.to_string();
        Some(HostKey { algorithm, blob })
    });
    let key = key.ok_or("error parsing key: ssh: no key found")?;
    Ok(Some((hosts.to_string(), key)))
}

/// Does a list of patterns mean this name? One that is negated and matches decides alone.
fn matches(name: &str, patterns: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if wildcard(not, name) => return false,
            Some(_) => {}
            None => found |= wildcard(pattern, name),
        }
    }
    found
}

/// `*` is any text, `?` any character; hosts' names have no case.
pub fn wildcard(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and where the name went on behind it.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&name[n]) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How a host is called in the file.
pub fn name(host: &str, port: u16) -> String {
    match port {
        22 => host.to_string(),
        _ => format!("[{host}]:{port}"),
    }
}

/// A host's line.
pub fn line(name: &str, key: &HostKey) -> String {
    format!("{name} {} {}\n", key.algorithm, STANDARD.encode(&key.blob))
}

/// What is asked about a host that is not known.
pub fn question(name: &str, key: &HostKey) -> String {
    format!(
        "The authenticity of host '{name}' can't be established.\n{} key fingerprint is {}.\n\
         Are you sure you want to continue connecting (yes/no)? ",
        key.kind(),
        key.fingerprint()
    )
}

/// What is said about a host that shows another key.
pub fn changed(key: &HostKey, file: &str) -> String {
    let mut text = String::new();
    let rule = "@".repeat(59);
    let _ = writeln!(
        text,
        "{rule}\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n{rule}\n\
         IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\n\
         Someone could be eavesdropping on you right now (man-in-the-middle attack)!\n\
         It is also possible that a host key has just been changed.\n\
         The fingerprint for the {} key sent by the remote host is\n{}.\n\
         Please contact your system administrator.\n\
         Add correct host key in {file} to get rid of this message.\n\
         Host key verification failed.",
        key.kind(),
        key.fingerprint()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: &str, blob: &[u8]) -> HostKey {
        HostKey {
            algorithm: algorithm.into(),
            blob: blob.into(),
        }
    }

    #[test]
    fn a_line_that_is_written_is_known_when_read() {
        let key = key("ssh-ed25519", b"secret");
        for name in [name("10.93.0.12", 22), name("127.0.0.1", 2222), name("::1", 22)] {
            let known = KnownHosts::parse(&line(&name, &key));
            assert!(known.skipped.is_empty());
            assert_eq!(known.check(&name, &key), Verdict::Known);
            assert_eq!(known.check("other", &key), Verdict::Unknown);
            assert_eq!(
                known.check(&name, &super::tests::key("ssh-rsa", b"x")),
                Verdict::Changed
            );
        }
        assert_eq!(name("127.0.0.1", 2222), "[127.0.0.1]:2222");
    }

    #[test]
    fn what_fleet_does_not_read_is_skipped_with_its_words() {
        let text = "# comment\n\n@revoked * ssh-rsa AAAA\n|1|salt|hash ssh-rsa AAAA\nalone\nhost ssh-rsa !!\nhost ssh-rsa AAAA me\n";
        let known = KnownHosts::parse(text);
        let said = [
            (3, "marker functionality not implemented"),
            (4, "hashed hosts not implemented"),
            (5, "bad format (insufficient fields)"),
            (6, "error parsing key: ssh: no key found"),
        ]
        .map(|(line, why)| (line, why.to_string()));
        assert_eq!(known.skipped, said);
        assert_eq!(known.algorithms("host"), ["ssh-rsa"]);
    }

    #[test]
    fn patterns_are_lists_with_stars_and_exceptions() {
        for (patterns, name, expected) in [
            ("10.93.0.*", "10.93.0.12", true),
            ("10.93.0.1?", "10.93.0.12", true),
            ("10.93.0.1?", "10.93.0.1", false),
            ("!10.93.0.12,10.93.0.*", "10.93.0.12", false),
            ("10.93.0.*,!10.93.0.12", "10.93.0.13", true),
            ("a,b,core-*", "core-01", true),
            ("CORE-01", "core-01", true),
            ("[127.0.0.1]:*", "[127.0.0.1]:2222", true),
            ("*", "", true),
            ("", "a", false),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxx", false),
        ] {
            assert_eq!(matches(name, patterns), expected, "{patterns} {name}");
        }
    }

    #[test]
    fn any_matching_key_is_enough() {
        let (old, new) = (key("ssh-rsa", b"old"), key("ssh-rsa", b"new"));
        let known = KnownHosts::parse(&(line("10.0.0.1", &old) + &line("10.0.0.*", &new)));
        assert_eq!(known.check("10.0.0.1", &new), Verdict::Known);
        assert_eq!(known.check("10.0.0.2", &old), Verdict::Changed);
    }

    #[test]
    fn the_words_are_fleets() {
        let key = key("ecdsa-sha2-nistp256", b"");
        assert_eq!(
            question("10.93.0.12", &key),
            "The authenticity of host '10.93.0.12' can't be established.\n\
             ECDSA key fingerprint is d4:1d:8c:d9:8f:00:b2:04:e9:80:09:98:ec:f8:42:7e.\n\
             Are you sure you want to continue connecting (yes/no)? "
        );
        let banner = changed(&key, "/k");
        assert_eq!(banner.lines().count(), 11);
        assert!(banner.lines().take(3).all(|line| line.len() == 59), "{banner}");
    }

    proptest::proptest! {
        #[test]
        fn no_file_is_too_strange(text in "[#@|a-c!*?, .\t\n0-9=+/]{0,60}", name in "[a-c.*]{0,8}") {
            let _ = KnownHosts::parse(&text).check(&name, &key("ssh-rsa", b""));
        }
    }
}
