//! Whether nodes have certificates of a CA of the lab's own, and where.
use super::{Setting, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    pub wanted: bool,
    /// In the node: ca.crt, node.crt and node.key.
    pub dir: String,
    pub owner: String,
    /// The lab's own etcd2 has its clients show one, and its peers.
    pub client: bool,
    pub peer: bool,
}

impl Default for Certificates {
    fn default() -> Certificates {
        Certificates {
            wanted: false,
            dir: "/etc/ssl/etcd".to_string(),
            owner: "etcd".to_string(),
            client: true,
            peer: true,
        }
    }
}

impl Setting for Certificates {
    const EXPECTED: &'static str = "true, false, or a map of dir, owner, client and peer";

    fn read(value: &Value) -> Option<Certificates> {
        let mut read = Certificates {
            wanted: true,
            ..Certificates::default()
        };
        match value {
            Value::Bool(wanted) => read.wanted = *wanted,
            Value::Map(entries) => {
                for (key, value) in entries {
                    match (key, value) {
                        (Value::Text(key), Value::Text(dir)) if key == "dir" && is_path(dir) => {
                            read.dir = dir.trim_end_matches('/').to_string();
                        }
                        (Value::Text(key), Value::Text(owner)) if key == "owner" && is_owner(owner) => {
                            read.owner.clone_from(owner);
                        }
                        (Value::Text(key), Value::Bool(client)) if key == "client" => read.client = *client,
                        (Value::Text(key), Value::Bool(peer)) if key == "peer" => read.peer = *peer,
                        _ => return None,
                    }
                }
            }
            _ => return None,
        }
        Some(read)
    }

    fn show(&self) -> String {
        match self.wanted {
            false => "false".to_string(),
            true if *self
                == (Certificates {
                    wanted: true,
                    ..Certificates::default()
                }) =>
            {
                "true".to_string()
            }
            true => format!(
                "dir={},owner={},client={},peer={}",
                self.dir, self.owner, self.client, self.peer
            ),
        }
    }
}

/// What needs no quotes, wherever it is written.
fn is_path(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    text.starts_with('/') && text.trim_end_matches('/').len() > 1 && text.chars().all(safe)
}

fn is_owner(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    fn read(text: &str) -> Option<Certificates> {
        let yaml: serde_yaml::Value = serde_yaml::from_str(text).expect(text);
        Certificates::read(&yaml::value(&yaml)?)
    }

    #[test]
    fn a_word_or_a_map_of_what_differs() {
        assert_eq!(read("false"), Some(Certificates::default()));
        assert_eq!(read("true").map(|read| read.show()).as_deref(), Some("true"));
        let some = read("{dir: /etc/tls/, peer: false}").expect("a map");
        assert_eq!((some.dir.as_str(), some.client, some.peer), ("/etc/tls", true, false));
        for wrong in [
            "7",
            "{dir: tls}",
            "{dir: \"/a: b\"}",
            "{keys: true}",
            "{owner: \"a b\"}",
            "yes",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
