//! Exercises as their author has them: what is wrong with one is said with its place, before anything runs.
mod common;

use common::Dir;

/// The author's guide's own example, with a hole for one more line of its step.
fn exercise(line: &str) -> String {
    format!(
        "\
lab: 1
title: A key that expires
time: 3m
topology: {{ num_instances: 1 }}
steps:
- id: ttl
  title: Set a key for three seconds
  say: etcd removes a key by itself when its time is over.
  do: [ {{ at: core-01, etcd: \"set /tmp-key hello --ttl 3\" }} ]
  check: [ {{ id: gone, etcd.get: {{ via: core-01, key: tmp-key, absent: true }}, for: 1s }} ]
{line}
"
    )
}

fn lint(text: &str) -> (Option<i32>, String) {
    let dir = Dir::new();
    std::fs::create_dir_all(dir.path().join("labs/01-key")).expect("a folder");
    dir.write("labs/01-key/lab.yaml", text);
    let output = dir.lab(&["lint"]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_guides_example_is_right_and_so_is_everything_that_a_step_can_say() {
    for line in [
        "",
        "  guard: [ { id: up, node: { ready: core-01 } } ]",
        "  cleanup: [ { at: core-01, run: rm -f x } ]",
        "  hints: [ { when: gone, text: wait, cost: 1 }, { after: 2m, text: wait on } ]",
        "  ask: { q: \"How long?\", answer: \"3|three\" }",
        "  load: { at: core-01 }\n  then: [ { id: lost, traffic: { lost: 0 } } ]",
        "- { id: two, title: Two, do: [ { at: core-01, http: { put: \"http://127.0.0.1:2379/v2/keys/a\", form: { value: b } } } ], check: [ { id: a, etcd.get: { via: core-01, key: a } } ] }",
    ] {
        let (code, said) = lint(&exercise(line));
        assert_eq!(code, Some(0), "{line}: {said}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let step = |acts: &str| {
        format!("- {{ id: two, title: Two, do: [ {acts} ], check: [ {{ id: a, node: {{ ready: all }} }} ] }}")
    };
    for (line, place, why) in [
        // Not YAML, not an exercise, not one that can be run.
        ("  guard: [", "12:1", "did not find"),
        ("  gaurd: []", "11:3", "unknown field `gaurd`"),
        (
            "  guard: [ { id: up, node: { ready: core-02 } } ]",
            "11:",
            "core-02 is no node",
        ),
        (
            "  guard: [ { id: up, at: core-01, run: \"test -e v(this.file)\" } ]",
            "11:",
            "no value v(this.file)",
        ),
        ("  guard: [ { id: up } ]", "11:", "a check has one of run"),
        (
            "  cleanup: [ { fault: { clock: { at: core-01, by: 2h } } } ]",
            "11:",
            "breaks nothing",
        ),
        ("  cleanup: [ { run: rm x } ]", "11:", "where? say at: core-01"),
        (
            "  then: [ { id: lost, traffic: { lost: 0 } } ]",
            "11:",
            "give it a load",
        ),
        (
            "  hints: [ { when: goon, text: wait } ]",
            "11:",
            "no check of this step is called goon",
        ),
        (
            &step("{ at: core-01, run: a, etcd: b }"),
            "11:",
            "this has run and etcd",
        ),
        (&step("{ etcd: ls }"), "11:", "where? say at: core-01"),
        (
            &step("{ at: core-01, etcd: etcdctl ls }"),
            "11:",
            "without etcdctl in front: ls",
        ),
        (
            &step("{ at: core-01, fleet: fleetctl list-units }"),
            "11:",
            "without fleetctl in front: list-units",
        ),
        (&step("{ at: core-01, lab: up }"), "11:", "lab has no at"),
        (
            &step("{ at: core-01, http: { form: { value: b } } }"),
            "11:",
            "one of get, put, post, delete",
        ),
        (
            &step("{ at: core-01, http: { put: x, form: { a: b }, body: c } }"),
            "11:",
            "a form or a body",
        ),
        (
            &step("{ at: core-01, etcd: \"set v(kee) x\" }"),
            "11:",
            "no value v(kee)",
        ),
        (
            &step("{ at: core-01, etcd: ls, capture: { id: \"(\" } }"),
            "11:",
            "is no regular expression",
        ),
        (
            &step("{ at: core-01, etcd: ls, until: end }"),
            "11:",
            "until is of faults",
        ),
    ] {
        let (code, said) = lint(&exercise(line));
        assert_eq!(code, Some(1), "{line}: {said}");
        assert!(
            said.contains(&format!("labs/01-key/lab.yaml:{place}")),
            "{line}: {said}"
        );
        assert!(said.contains(why), "{line}: {said}");
        for part in ["error: ", "  where: ", "  why:   ", "  do:    "] {
            assert!(said.contains(part), "{line}: no {part:?} in: {said}");
        }
    }
}

#[test]
fn the_schema_knows_every_word_of_the_exercises() {
    let dir = Dir::new();
    let schema: serde_json::Value = serde_json::from_str(&dir.ok(&["schema"])).expect("JSON");
    let words = |name: &str| -> Vec<String> {
        let all = schema["$defs"][name]["properties"].as_object();
        all.unwrap_or_else(|| panic!("no {name}")).keys().cloned().collect()
    };
    for word in [
        "guard", "do", "check", "then", "cleanup", "hints", "ask", "load", "for_each",
    ] {
        assert!(words("Step").iter().any(|own| own == word), "{word}");
    }
    for word in ["run", "etcd", "fleet", "http", "write", "unit", "fault", "lab"] {
        assert!(words("Act").iter().any(|own| own == word), "{word}");
    }
}
