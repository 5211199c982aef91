//! What was typed: each setting once, or not at all, with the place where (pure).
use std::collections::BTreeMap;

use super::{Origin, Setting, Typed, Value, settings};
use crate::failure::Place;
use crate::topology::MAX_NODES;

/// What a node may have of its own.
pub const NODE_NAMES: &[&str] = &["vm_memory", "vm_cpus", "metadata", "user_data"];

/// What one node has that others do not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawNode {
    pub place: Place,
    pub vm_memory: Option<Typed<u32>>,
    pub vm_cpus: Option<Typed<u16>>,
    pub metadata: Option<Typed<BTreeMap<String, String>>>,
    pub user_data: Option<Typed<String>>,
}

impl RawNode {
    /// Why that cannot be, if it cannot.
    pub fn set(&mut self, name: &str, value: &Value, origin: Origin) -> Result<(), String> {
        check(name, value)?;
        match name {
            "vm_memory" => self.vm_memory = Some(Typed::new(read(value)?, origin)),
            "vm_cpus" => self.vm_cpus = Some(Typed::new(read(value)?, origin)),
            "metadata" => self.metadata = Some(Typed::new(read(value)?, origin)),
            "user_data" => self.user_data = Some(Typed::new(read(value)?, origin)),
            _ => return Err(format!("a node has no {name} of its own")),
        }
        Ok(())
    }
}

macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        /// What one source says.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Raw {
            $($(#[$doc])* pub $name: Option<Typed<$type>>,)*
            pub nodes: BTreeMap<String, RawNode>,
        }

        impl Raw {
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// This, and where it says nothing, that.
            pub fn over(self, below: Raw) -> Raw {
                let mut nodes = below.nodes;
                nodes.extend(self.nodes);
                Raw { $($name: self.$name.or(below.$name),)* nodes }
            }

            /// Why that cannot be, if it cannot.
            pub fn set(&mut self, name: &str, value: &Value, origin: Origin) -> Result<(), String> {
                check(name, value)?;
                match name {
                    $(stringify!($name) => self.$name = Some(Typed::new(read(value)?, origin)),)*
                    _ => return Err(format!("a lab has no {name}")),
                }
                Ok(())
            }
        }
    };
}
settings!(declare);

fn read<T: Setting>(value: &Value) -> Result<T, String> {
    T::read(value).ok_or_else(|| format!("{} is expected, not {value}", T::EXPECTED))
}

/// What its type does not say of a setting.
fn check(name: &str, value: &Value) -> Result<(), String> {
    let range = match name {
        "num_instances" => 1..=i64::from(MAX_NODES),
        // Less than that no kernel of the time boots with.
        "vm_memory" => 64..=1 << 22,
        "vm_cpus" => 1..=256,
        "vb_cpuexecutioncap" => 1..=100,
        "expose_docker_tcp" => 1..=i64::from(u16::MAX),
        _ => i64::MIN..=i64::MAX,
    };
    match (name, value) {
        (_, Value::Int(number)) if !range.contains(number) => Err(format!(
            "{} to {} is expected, not {number}",
            range.start(),
            range.end()
        )),
        ("instance_name_prefix", Value::Text(prefix)) if !is_host_name(prefix) => Err(format!(
            "letters, digits and inner hyphens are expected, not {prefix:?}"
        )),
        ("update_channel" | "image_version", Value::Text(word)) if !is_path_element(word) => {
            Err(format!("one word is expected, as a part of a URL, not {word:?}"))
        }
        ("metadata", Value::Map(entries)) => entries.iter().try_for_each(|(key, value)| {
            let plain = |value: &Value| !value.to_string().contains([',', '=', '\n']);
            match plain(key) && plain(value) {
                true => Ok(()),
                false => Err("fleet takes it as `a=b,c=d`: no comma, no equals sign".to_string()),
            }
        }),
        ("shared_folders", Value::Map(folders)) => {
            let mut guests = folders.iter().filter_map(|(_, guest)| <String as Setting>::read(guest));
            guests.try_for_each(|guest| check_guest(&guest))
        }
        _ => Ok(()),
    }
}

fn check_guest(guest: &str) -> Result<(), String> {
    match guest.trim_end_matches('/') {
        "" | "/home" | "/home/core" | "/home/core/.ssh" => Err(format!(
            "a folder at {guest} hides the ssh keys of core: nobody could log in; take /home/core/share"
        )),
        _ if !guest.starts_with('/') => Err(format!("a folder of the node begins with a slash, {guest:?} does not")),
        _ => Ok(()),
    }
}

fn is_host_name(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // With the hyphen and up to three digits after it: 63 at most.
    inner && (1..=59).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_path_element(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
}
