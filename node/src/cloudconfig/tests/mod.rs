//! Properties of the whole: nothing makes it panic, and a plan that is carried out again changes nothing.
use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::config::Section;
use super::plan::{Facts, Options, Plan, Step, plan};
use super::substitute::Values;
use super::{UserData, parse, strict, validate};

/// Lines that are near what a cloud-config is made of.
fn line() -> impl Strategy<Value = String> {
    let indent = prop::sample::select(&["", "  ", "- ", "  - ", "    "][..]);
    let key = prop::sample::select(
        &[
            "hostname",
            "users",
            "name",
            "coreos",
            "units",
            "write-files",
            "path",
            "permissions",
            "content",
            "encoding",
            "etcd2",
            "update",
            "reboot-strategy",
            "command",
            "drop-ins",
            "<<",
            "y",
            "\"q\"",
            "*a",
            "&a x",
            "? k",
        ][..],
    );
    let value = prop::sample::select(
        &[
            "",
            "x",
            "yes",
            "0644",
            "420",
            "[a, b",
            "{a: b}",
            "|",
            ">-",
            "\"\\x\"",
            "'",
            "*a",
            "&a",
            "!!binary ab",
            "!!int x",
            "$public_ipv4",
            "\\$private_ipv4",
            "base64",
            "%%%",
            "restart",
            "off",
            "~",
            "1e9",
            "\t",
            "é",
            "[[[[",
            "- -",
        ][..],
    );
    (indent, key, value).prop_map(|(indent, key, value)| format!("{indent}{key}: {value}\n"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(lines in vec(line(), 0..12), noise in vec(any::<u8>(), 0..8)) {
        let text = [b"#cloud-config\n", lines.concat().as_bytes(), &noise].concat();
        let _ = parse(&text);
        let _ = validate::validate(&text);
        for problem in strict::check(&text, &Values::new()) {
            let _ = strict::print(&problem, "u", &text);
        }
        let _ = parse(&noise);
    }

    /// What validates strictly can be read: the original's reader takes all that ours does.
    #[test]
    fn what_is_strictly_right_can_be_planned(lines in vec(line(), 0..6)) {
        let text = format!("#cloud-config\n{}", lines.concat());
        let errors = strict::check(text.as_bytes(), &Values::new());
        if errors.iter().all(|problem| problem.severity != validate::Severity::Error) {
            prop_assert!(parse(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_plan_carried_out_twice_is_one_carried_out_once(config in config(), before in before()) {
        let Ok(UserData::Config(config)) = parse(config.as_bytes()) else {
            return Err(TestCaseError::fail(config));
        };
        let mut once = before;
        once.apply(&config);
        let mut twice = once.clone();
        twice.apply(&config);
        prop_assert_eq!(once, twice);
    }
}

/// A machine as far as plans change it.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    hostname: String,
    users: BTreeSet<String>,
    passwords: BTreeMap<String, String>,
    keys: BTreeMap<(String, String), Vec<String>>,
    /// None is a mask.
    files: BTreeMap<String, Option<(Vec<u8>, String, String)>>,
    enabled: BTreeSet<String>,
    failed: Option<String>,
}

impl World {
    fn plan(&self, config: &Section) -> Plan {
        let content = |path: &str| Some(self.files.get(path)?.as_ref()?.0.clone());
        let facts = Facts {
            users: self.users.clone(),
            hostname: self.hostname.clone(),
            update_conf: content("/etc/coreos/update.conf").ok_or_else(|| "no update.conf".to_string()),
            environment: content("/etc/environment").unwrap_or_default(),
            interfaces: Vec::new(),
        };
        let options = Options {
            ssh_key_name: "coreos-cloudinit".into(),
            variables: vec![("COREOS_PUBLIC_IPV4", "1.2.3.4".into())],
            interfaces: Vec::new(),
            strict: false,
        };
        plan(config, &facts, &options)
    }

    fn apply(&mut self, config: &Section) {
        for step in self.plan(config).0 {
            match step {
                Step::Hostname(name) => self.hostname = name,
                Step::CreateUser { name, args } => {
                    self.passwords.insert(name.clone(), args[1].clone());
                    self.users.insert(name);
                }
                Step::Password { user, hash } => drop(self.passwords.insert(user, hash)),
                Step::AuthorizeKeys { user, name, keys } => drop(self.keys.insert((user, name), keys)),
                Step::Write(file) => {
                    let found = (file.content, file.permissions, file.owner);
                    self.files.insert(file.path, Some(found));
                }
                Step::Mask(path) => drop(self.files.insert(path, None)),
                Step::Unmask(path) => {
                    let empty = |found: &Option<(Vec<u8>, String, String)>| match found {
                        Some((content, ..)) => content.is_empty(),
                        None => true,
                    };
                    if self.files.get(&path).is_some_and(empty) {
                        self.files.remove(&path);
                    }
                }
                Step::Enable { unit, .. } => drop(self.enabled.insert(unit)),
                Step::Fail(why) => self.failed = Some(why),
                _ => {}
            }
        }
    }
}

fn before() -> impl Strategy<Value = World> {
    let file = |path: &'static str, content: &'static str| {
        prop::option::of(Just((
            path.to_string(),
            Some((content.as_bytes().to_vec(), "0644".to_string(), String::new())),
        )))
    };
    (
        file("/etc/coreos/update.conf", "GROUP=alpha\n#SERVER=x"),
        file("/etc/environment", "A=1\nCOREOS_PUBLIC_IPV4=9.9.9.9"),
        file("/run/systemd/system/a.service", ""),
    )
        .prop_map(|(update, environment, unit)| World {
            files: [update, environment, unit].into_iter().flatten().collect(),
            users: BTreeSet::from(["root".to_string()]),
            ..World::default()
        })
}

fn config() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(&["a", "b", "root"][..]);
    let user = (name(), prop::option::of("[a-z]{3}"), any::<bool>()).prop_map(|(name, hash, keys)| {
        let hash = hash.map_or(String::new(), |hash| format!("  passwd: {hash}\n"));
        let keys = if keys { "  ssh-authorized-keys: [k1, k2]\n" } else { "" };
        format!("- name: {name}\n{hash}{keys}")
    });
    let file = (
        prop::sample::select(&["/etc/environment", "/a", "/etc/hosts"][..]),
        "[a-z]{0,4}",
        prop::sample::select(&["0644", "600"][..]),
    )
        .prop_map(|(path, content, mode)| format!("- path: {path}\n  content: '{content}'\n  permissions: '{mode}'\n"));
    let flag = || prop::sample::select(&["yes", "no"][..]);
    let unit = (name(), flag(), flag(), flag(), prop::option::of("[a-z]{1,3}")).prop_map(
        |(name, mask, runtime, enable, content)| {
            let content = content.map_or(String::new(), |content| format!("    content: {content}\n"));
            format!(
                "  - name: {name}.service\n    mask: {mask}\n    runtime: {runtime}\n    enable: {enable}\n{content}"
            )
        },
    );
    let update = prop::sample::select(
        &[
            "",
            "  update: {reboot-strategy: off}\n",
            "  update: {group: g, server: s}\n",
            "  update: {reboot-strategy: 'off'}\n",
        ][..],
    );
    let hosts = prop::sample::select(&["", "manage_etc_hosts: localhost\n", "hostname: h\n"][..]);
    (vec(user, 0..3), vec(file, 0..3), vec(unit, 0..3), update, hosts).prop_map(
        |(users, files, units, update, hosts)| {
            let list = |key: &str, items: Vec<String>| match items.is_empty() {
                true => String::new(),
                false => format!("{key}:\n{}", items.concat()),
            };
            let units = list("  units", units);
            let (users, files) = (list("users", users), list("write_files", files));
            format!("#cloud-config\n{hosts}{users}{files}coreos:\n  etcd2: {{name: n}}\n{update}{units}")
        },
    )
}

#[test]
fn a_block_at_the_end_needs_no_line_break() {
    let hostname = |text: &str| {
        let text = format!("#cloud-config\nhostname: {text}");
        match parse(text.as_bytes()) {
            Ok(UserData::Config(config)) => config.text("hostname"),
            other => panic!("{other:?}"),
        }
    };
    for (text, value) in [
        ("|\n  b", "b"),
        ("|\n  b\n", "b\n"),
        ("|\n  b\n  ", "b\n"),
        ("|-\n  b", "b"),
        ("|+\n  b\n\n", "b\n\n"),
        (">\n  a\n  b", "a b"),
        ("|\n  b\n# a comment", "b\n"),
    ] {
        assert_eq!(hostname(text), value, "{text:?}");
    }
}
