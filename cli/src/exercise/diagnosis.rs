//! Why a check may be red, from what the nodes say of themselves: facts first, then sentences (pure).
use super::check;
use super::world::World;
use std::time::Duration;

const SCRIPT: &str = r#"
for unit in etcd2 etcd fleet; do
    state=$(systemctl is-active $unit 2>/dev/null)
    failed=$(systemctl show -p Result --value $unit 2>/dev/null)
    echo "unit $unit $state $failed"
done
journalctl -u etcd2 -u etcd --no-pager -n 200 -o cat 2>/dev/null |
    grep -E ' [EC] \| |[Ee]rror|panic|unequal|mismatch|no space|refused|expired' | tail -n 1 | sed 's/^/log /'
df --output=pcent /var/lib/etcd2 2>/dev/null | tail -n 1 | sed 's/^ */disk /'
"#;
const LIMIT: Duration = Duration::from_secs(5);

/// What one node says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub node: String,
    /// As `lab status` has it, and the detail.
    pub state: String,
    pub detail: String,
    /// Unit, state, result: of those that are not inactive.
    pub units: Vec<(String, String, String)>,
    pub cluster: Option<String>,
    pub leader: Option<String>,
    pub last_error: Option<String>,
    pub disk: Option<String>,
}

pub fn gather(world: &World) -> Vec<Facts> {
    let states = world.states().unwrap_or_default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = world
            .nodes
            .iter()
            .map(|(node, _)| {
                let state = states.iter().find(|(name, _, _)| name == node).cloned();
                scope.spawn(move || facts(world, node, state))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

fn facts(world: &World, node: &str, state: Option<(String, String, String)>) -> Facts {
    let (_, state, detail) = state.unwrap_or_else(|| (node.into(), "new".into(), String::new()));
    let mut facts = Facts {
        node: node.into(),
        state,
        detail,
        ..Facts::default()
    };
    if facts.state != "ready" && facts.state != "booting" {
        return facts;
    }
    if let Ok(outcome) = world.run(node, "root", SCRIPT, LIMIT) {
        for line in outcome.stdout.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["unit", unit, state, result] if state != "inactive" || result != "success" => {
                    facts.units.push((unit.into(), state.into(), result.into()));
                }
                ["log", ..] => facts.last_error = Some(line["log ".len()..].to_string()),
                ["disk", full] => facts.disk = Some(full.to_string()),
                _ => {}
            }
        }
    }
    if let Ok(answer) = world.http("GET", &format!("http://{node}:2379/v2/keys/"), "") {
        let id = answer.headers.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("X-Etcd-Cluster-Id")
                .then(|| value.trim().to_string())
        });
        facts.cluster = id;
        let leader = check::leader(world, node);
        facts.leader = leader.ok().map(|leader| leader.unwrap_or("nobody".into()));
    }
    facts
}

/// The most telling first.
pub fn explain(all: &[Facts]) -> Vec<String> {
    let mut said = Vec::new();
    for facts in all {
        let node = &facts.node;
        if !matches!(facts.state.as_str(), "ready" | "new") {
            said.push(format!("{node} is {}{}", facts.state, dashed(&facts.detail)));
        } else if facts.detail.contains("fault") {
            said.push(format!("{node}: {}", facts.detail));
        }
        for (unit, state, result) in &facts.units {
            if state == "failed" || (state == "activating" && result != "success") {
                let log = facts.last_error.as_deref().unwrap_or_default();
                said.push(format!("{node}: {unit} {} ({result}){}", doing(state), dashed(log)));
            } else if state == "activating" {
                said.push(format!("{node}: {unit} waits for the others of its cluster"));
            }
        }
        if facts.disk.as_deref() == Some("100%") {
            said.push(format!("{node}: the disk below /var/lib/etcd2 is full"));
        }
    }
    said.extend(clusters(all));
    let without: Vec<&str> = all
        .iter()
        .filter(|facts| facts.leader.as_deref() == Some("nobody"))
        .map(|facts| facts.node.as_str())
        .collect();
    if !without.is_empty() {
        said.push(format!(
            "{} know no leader: fewer than half of the members reach each other",
            without.join(", ")
        ));
    }
    said
}

fn dashed(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

fn doing(state: &str) -> &str {
    if state == "failed" {
        "has failed"
    } else {
        "starts again and again"
    }
}

/// Who is in another cluster than most.
fn clusters(all: &[Facts]) -> Vec<String> {
    let ids: Vec<&String> = all.iter().filter_map(|facts| facts.cluster.as_ref()).collect();
    let count = |id: &String| ids.iter().filter(|other| **other == id).count();
    let Some(most) = ids.iter().max_by_key(|id| count(id)) else {
        return Vec::new();
    };
    let other = |facts: &Facts| facts.cluster.clone().filter(|id| id != *most);
    let tell = |facts: &Facts, id: String| {
        format!(
            "{} holds cluster {id}, the others {most}: it has an old data directory, or began a cluster of its own",
            facts.node
        )
    };
    all.iter()
        .filter_map(|facts| Some(tell(facts, other(facts)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(node: &str) -> Facts {
        Facts {
            node: node.into(),
            state: "ready".into(),
            cluster: Some("aa".into()),
            leader: Some("core-01".into()),
            ..Facts::default()
        }
    }

    #[test]
    fn nothing_is_said_of_a_healthy_cluster() {
        assert_eq!(explain(&[facts("core-01"), facts("core-02")]), [""; 0]);
    }

    #[test]
    fn the_one_in_another_cluster_is_named() {
        let mut other = facts("core-03");
        other.cluster = Some("bb".into());
        let said = explain(&[facts("core-01"), facts("core-02"), other]);
        assert!(
            said[0].starts_with("core-03 holds cluster bb, the others aa"),
            "{said:?}"
        );
    }

    #[test]
    fn a_node_that_is_down_and_a_unit_that_fails_are_told() {
        let mut down = facts("core-01");
        down.state = "halted".into();
        down.detail = "killed".into();
        let mut failing = facts("core-02");
        failing.units = vec![("etcd2".into(), "failed".into(), "exit-code".into())];
        failing.last_error = Some("C | etcdmain: boom".into());
        failing.leader = Some("nobody".into());
        let said = explain(&[down, failing]);
        assert_eq!(said[0], "core-01 is halted: killed");
        assert_eq!(said[1], "core-02: etcd2 has failed (exit-code): C | etcdmain: boom");
        assert!(said[2].starts_with("core-02 know no leader"), "{said:?}");
    }
}
