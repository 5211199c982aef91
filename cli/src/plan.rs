//! What an `up` would change of the nodes that are there, and what it takes to have it (pure).
use std::collections::BTreeMap;

use crate::local::protocol::{Forward, State};
use crate::project::Made;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// While it runs.
    Live,
    /// When it starts.
    Start,
    /// New user data is applied only when somebody asks for it, as with Vagrant.
    Provision,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub node: String,
    /// `memory 512 MiB -> 1024 MiB`
    pub what: String,
    pub how: How,
}

/// What is different of one node. Nothing is known of a node that has no disk: it is made as it is to be.
pub fn of_node(name: &str, state: State, was: &Made, is: &Made) -> Vec<Change> {
    let mut changes = Vec::new();
    let how = match state {
        State::New => return changes,
        State::Booting | State::Ready => How::Live,
        State::Halting | State::Halted | State::Failed => How::Start,
    };
    let mut change = |what: String, how: How| {
        let node = name.to_string();
        changes.push(Change { node, what, how });
    };
    if was.memory != is.memory {
        let show = |memory: Option<u32>| memory.map_or("unlimited".to_string(), |mib| format!("{mib} MiB"));
        change(
            format!("memory {} -> {}", show(was.memory), show(is.memory)),
            how.clone(),
        );
    }
    if was.cpus != is.cpus {
        let show = |cpus: Option<u16>| cpus.map_or("unlimited".to_string(), |cpus| cpus.to_string());
        change(format!("processors {} -> {}", show(was.cpus), show(is.cpus)), how);
    }
    if was.metadata != is.metadata {
        let what = format!("metadata {} -> {}", pairs(&was.metadata), pairs(&is.metadata));
        change(what, How::Provision);
    } else if was.user_data != is.user_data {
        change("user data".to_string(), How::Provision);
    }
    changes
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
    match pairs.is_empty() {
        true => "none".to_string(),
        false => pairs.join(","),
    }
}

/// Which ways from the host come and go, as lines.
pub fn of_forwards(was: &[Forward], is: &[Forward]) -> Vec<String> {
    let line = |sign: &str, forward: &Forward| {
        let Forward { host, node, guest } = forward;
        format!("127.0.0.1:{host} to {node}:{guest} {sign}")
    };
    let gone = was.iter().filter(|old| !is.contains(old));
    let new = is.iter().filter(|new| !was.contains(new));
    gone.map(|old| line("is closed", old))
        .chain(new.map(|new| line("is opened", new)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(memory: Option<u32>, role: &str, user_data: &str) -> Made {
        Made {
            memory,
            cpus: None,
            metadata: [("role".to_string(), role.to_string())].into(),
            user_data: Some(user_data.to_string()),
        }
    }

    fn said(changes: Vec<Change>) -> Vec<(String, How)> {
        changes.into_iter().map(|change| (change.what, change.how)).collect()
    }

    #[test]
    fn limits_change_live_and_user_data_when_it_is_asked_for() {
        let (was, is) = (made(None, "a", "1"), made(Some(256), "b", "2"));
        let memory = "memory unlimited -> 256 MiB".to_string();
        let metadata = ("metadata role=a -> role=b".to_string(), How::Provision);
        assert_eq!(
            said(of_node("n", State::Ready, &was, &is)),
            [(memory.clone(), How::Live), metadata.clone()]
        );
        assert_eq!(
            said(of_node("n", State::Halted, &was, &is)),
            [(memory, How::Start), metadata]
        );
        assert_eq!(said(of_node("n", State::New, &was, &is)), []);
        assert_eq!(said(of_node("n", State::Ready, &was, &was)), []);
        let other = Made {
            user_data: Some("2".into()),
            ..was.clone()
        };
        assert_eq!(
            said(of_node("n", State::Ready, &was, &other)),
            [("user data".to_string(), How::Provision)]
        );
    }

    #[test]
    fn ports_that_stay_are_not_told() {
        let forward = |host| Forward {
            host,
            node: "core-01".into(),
            guest: 80,
        };
        let lines = of_forwards(&[forward(1), forward(2)], &[forward(2), forward(3)]);
        assert_eq!(
            lines,
            [
                "127.0.0.1:1 to core-01:80 is closed",
                "127.0.0.1:3 to core-01:80 is opened"
            ]
        );
    }
}
