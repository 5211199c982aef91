//! A node has the memory and the processors that its settings give it, and no more.
use corelab_tests::lab::{Lab, Who};
use corelab_tests::tools::outputs;

/// What doctor says of a check.
fn has(lab: &Lab, check: &str) -> bool {
    let output = lab.lab(&["doctor", "--format", "json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = answer["checks"].as_array().expect("a list").clone();
    let found = checks.iter().find(|one| one["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {answer}"))["ok"] == true
}

fn memory_and_processors_are_limited_or_the_lab_says_why_not(who: Who) {
    let lab = Lab::of(who);
    lab.write("lab.yaml", "num_instances: 1\nbare: true\nvm_memory: 160\nvm_cpus: 1\n");
    let said = lab.ok(&["up"]);
    match has(&lab, "memory limits") {
        true => {
            let hog = lab.lab(&["ssh", "core-01", "--", "head -c 600M /dev/zero | tail > /dev/null"]);
            assert!(!hog.status.success(), "{}", outputs(&hog));
            // Only the one that took too much is gone.
            assert_eq!(lab.on("core-01", "hostname").trim(), "core-01");
            assert_eq!(lab.node("core-01")["boots"], 1);
        }
        false => assert!(said.contains("memory is not limited"), "{said}"),
    }
    match has(&lab, "cpu limits") {
        true => {
            let spent = lab.on(
                "core-01",
                "bash -c 'for n in 1 2 3; do timeout 2 sh -c \"while :; do :; done\" & done; wait; times' | tail -1",
            );
            // Minutes and seconds, of all that were waited for: user, then system.
            let seconds: f64 = spent
                .split_whitespace()
                .map(|time| {
                    let (minutes, seconds) = time.trim_end_matches('s').split_once('m').expect("0m1.2s");
                    minutes.parse::<f64>().expect("minutes") * 60.0 + seconds.parse::<f64>().expect("seconds")
                })
                .sum();
            assert!(seconds < 2.8, "one processor for two seconds gave {seconds} s");
        }
        false => assert!(said.contains("cpu is not limited"), "{said}"),
    }
    lab.gone();
}

corelab_tests::for_everybody! {
    memory_and_processors_are_limited_or_the_lab_says_why_not
}
