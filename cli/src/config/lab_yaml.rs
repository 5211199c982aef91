//! lab.yaml, as text to what it says (pure). docs/lab.yaml.md describes it.
use super::raw::{NODE_NAMES, Raw, RawNode};
use super::{Origin, Value, closest, yaml};
use crate::failure::{Failure, Place};

pub const FILE: &str = "lab.yaml";
const NODES: &str = "nodes";
/// Short for instance_name_prefix.
const PREFIX: &str = "prefix";

pub fn read(file: &str, text: &str) -> Result<Raw, Failure> {
    let document = yaml::parse(file, text)?;
    let reader = Reader { file, text };
    let entries = match yaml::value(&document) {
        Some(Value::Nil) => Vec::new(),
        Some(Value::Map(entries)) => entries,
        _ => {
            return Err(reader.wrong(
                &[],
                "is not a map",
                "a lab is described by lines of the form `key: value`",
            ));
        }
    };
    let mut raw = Raw::default();
    for (key, value) in &entries {
        let key = reader.name(&[], key)?;
        match key.as_str() {
            NODES => reader.nodes(&mut raw, value)?,
            key => {
                let name = if key == PREFIX { "instance_name_prefix" } else { key };
                if !Raw::NAMES.contains(&name) {
                    return Err(reader.unknown(&[key], Raw::NAMES.iter().copied().chain([NODES, PREFIX])));
                }
                let origin = reader.origin(&[key]);
                if name == "instance_name_prefix" && raw.instance_name_prefix.is_some() {
                    return Err(reader.wrong(&[key], "is said twice", "prefix is short for instance_name_prefix"));
                }
                raw.set(name, value, origin)
                    .map_err(|why| reader.wrong(&[key], "has a wrong value", &why))?;
            }
        }
    }
    Ok(raw)
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn nodes(&self, raw: &mut Raw, nodes: &Value) -> Result<(), Failure> {
        let (Value::Map(_) | Value::Nil) = nodes else {
            return Err(self.wrong(
                &[NODES],
                "has a wrong value",
                "a map is expected, as {core-02: {vm_memory: 2048}}",
            ));
        };
        let Value::Map(nodes) = nodes else { return Ok(()) };
        for (name, settings) in nodes {
            let name = self.name(&[NODES], name)?;
            let Value::Map(settings) = settings else {
                return Err(self.wrong(
                    &[NODES, &name],
                    "has a wrong value",
                    "a map is expected, as {vm_memory: 2048}",
                ));
            };
            let place = self.key_place(&[NODES, &name]);
            let mut node = RawNode {
                place,
                ..RawNode::default()
            };
            for (key, value) in settings {
                let key = self.name(&[NODES, &name], key)?;
                let path = [NODES, &name, &key];
                if !NODE_NAMES.contains(&key.as_str()) {
                    return Err(self.unknown(&path, NODE_NAMES.iter().copied()));
                }
                let set = node.set(&key, value, self.origin(&path));
                set.map_err(|why| self.wrong(&path, "has a wrong value", &why))?;
            }
            raw.nodes.insert(name, node);
        }
        Ok(())
    }

    fn name(&self, parent: &[&str], key: &Value) -> Result<String, Failure> {
        match key {
            Value::Text(text) => Ok(text.clone()),
            key => Err(self.wrong(parent, "has a wrong key", &format!("{key} is no name"))),
        }
    }

    fn key_place(&self, path: &[&str]) -> Place {
        Place::of(self.file, self.text, yaml::key(self.text, path).unwrap_or(0))
    }

    fn origin(&self, path: &[&str]) -> Origin {
        Origin::File(self.key_place(path))
    }

    fn wrong(&self, path: &[&str], what: &str, why: &str) -> Failure {
        let at = match path {
            [] => Some(0),
            path => yaml::value_of(self.text, path),
        };
        let place = Place::of(self.file, self.text, at.unwrap_or(0));
        let name = path.last().copied().unwrap_or(self.file);
        let todo = format!("correct that line; docs/lab.yaml.md says what {name} may be");
        Failure::at(format!("{name} {what}"), &place, why, todo)
    }

    fn unknown<'n>(&self, path: &[&str], known: impl Iterator<Item = &'n str>) -> Failure {
        let name = path.last().copied().unwrap_or_default();
        let known: Vec<&str> = known.collect();
        let todo = match closest(name, &known) {
            Some(closest) => format!("did you mean {closest}?"),
            None => format!("write one of: {}", known.join(", ")),
        };
        let what = format!("unknown key {name:?}");
        Failure::at(what, &self.key_place(path), "a lab has no such setting", todo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Discovery;

    fn failure(text: &str) -> Failure {
        read(FILE, text).expect_err(text)
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "# a lab\nnum_instances: 5\nprefix: node\n\nforwarded_ports: {80: 8080}\ndiscovery: none\n";
        let raw = read(FILE, text).expect("a lab.yaml");
        let instances = raw.num_instances.expect("set");
        assert_eq!(
            (instances.value, instances.origin.to_string()),
            (5, "lab.yaml:2".to_string())
        );
        let prefix = raw.instance_name_prefix.expect("set");
        assert_eq!(
            (prefix.value.as_str(), prefix.origin.to_string()),
            ("node", "lab.yaml:3".to_string())
        );
        assert_eq!(raw.forwarded_ports.expect("set").value.get(&80), Some(&8080));
        assert_eq!(raw.discovery.expect("set").value, Discovery::None);
        assert_eq!(raw.vm_memory, None);
    }

    #[test]
    fn a_node_may_differ() {
        let text = "nodes:\n  core-02:\n    vm_memory: 2048\n    metadata: {role: database, rack: 7}\n    user_data: db.yaml\n";
        let raw = read(FILE, text).expect("a lab.yaml");
        let node = &raw.nodes["core-02"];
        assert_eq!(node.place.to_string(), "lab.yaml:2:3");
        assert_eq!(node.vm_memory.as_ref().map(|typed| typed.value), Some(2048));
        assert_eq!(node.metadata.as_ref().expect("set").value["rack"], "7");
        assert_eq!(node.user_data.as_ref().expect("set").origin.to_string(), "lab.yaml:5");
    }

    #[test]
    fn nothing_at_all_is_a_lab_of_defaults() {
        for text in ["", "# only a comment\n", "{}", "nodes:\n"] {
            assert_eq!(read(FILE, text).expect(text), Raw::default());
        }
    }

    #[test]
    fn an_unknown_key_is_shown_with_the_one_that_was_meant() {
        let failure = failure("update_channel: beta\nnum_instance: 3\n");
        assert_eq!(failure.what, "unknown key \"num_instance\"");
        assert_eq!(failure.place, "lab.yaml:2:1");
        assert_eq!(failure.todo, "did you mean num_instances?");
        assert_eq!(failure.excerpt.as_deref(), Some("2 | num_instance: 3\n  | ^"));
    }

    #[test]
    fn a_wrong_value_is_shown_with_what_is_expected() {
        for (text, place, why) in [
            ("num_instances: 0\n", "lab.yaml:1:16", "1 to 154 is expected, not 0"),
            ("num_instances: 155\n", "lab.yaml:1:16", "1 to 154 is expected, not 155"),
            (
                "num_instances: three\n",
                "lab.yaml:1:16",
                "a whole number is expected, not \"three\"",
            ),
            ("bare: yes\n", "lab.yaml:1:7", "true or false is expected, not \"yes\""),
            (
                "discovery: maybe\n",
                "lab.yaml:1:12",
                "own, public, none, or a URL is expected, not \"maybe\"",
            ),
            (
                "prefix: a_b\n",
                "lab.yaml:1:9",
                "letters, digits and inner hyphens are expected, not \"a_b\"",
            ),
            (
                "forwarded_ports: {0: 80}\n",
                "lab.yaml:1:18",
                "a map of ports, as {80: 8080} is expected, not a map",
            ),
            (
                "nodes: 3\n",
                "lab.yaml:1:8",
                "a map is expected, as {core-02: {vm_memory: 2048}}",
            ),
            (
                "nodes:\n  core-01:\n    vm_cpus: 0\n",
                "lab.yaml:3:14",
                "1 to 256 is expected, not 0",
            ),
        ] {
            let failure = failure(text);
            assert_eq!((failure.place.as_str(), failure.why.as_str()), (place, why), "{text}");
        }
    }

    #[test]
    fn a_folder_that_hides_the_keys_of_ssh_is_refused() {
        let failure = failure("shared_folders:\n  ./src: /home/core\n");
        assert!(failure.why.contains("ssh keys"), "{failure:?}");
    }

    #[test]
    fn a_key_that_is_said_twice_is_refused() {
        failure("bare: true\nbare: false\n");
        failure("prefix: a\ninstance_name_prefix: b\n");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z_:{}\\[\\]\"' \n#&*0-9-]{0,80}") {
            let _ = read(FILE, &text);
        }
    }
}
