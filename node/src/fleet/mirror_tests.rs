//! What the mirror makes of keys.
use super::*;

fn filled() -> Mirror {
    let mut mirror = Mirror::default();
    let file = UnitFile::parse("[Service]\nExecStart=/bin/sleep 1234\n").unwrap();
    let object = serde_json::to_string(&JobObject {
        name: "a.service".into(),
        unit_hash: file.hash().0,
    })
    .unwrap();
    let blob = serde_json::to_string(&UnitBlob { raw: file.text() }).unwrap();
    for (key, value) in [
        ("/job/a.service/object", object.as_str()),
        ("/unit/b12755fc20dfcfdba3e74d2edeac068a7e586027", &blob),
        ("/job/a.service/target-state", "launched"),
        ("/job/a.service/target", "m1"),
        (
            "/machines/m1/object",
            r#"{"ID":"m1","PublicIP":"10.0.0.1","Metadata":{"role":"a"},"Version":"0.11.5"}"#,
        ),
    ] {
        mirror.apply(key, Some(value), 1);
    }
    mirror
}

#[test]
fn the_current_state_comes_from_the_machines_reports() {
    let mut mirror = filled();
    let current = |mirror: &Mirror| mirror.unit("a.service").unwrap().current_state;
    assert_eq!(current(&mirror), "inactive");
    let state = r#"{"loadState":"loaded","activeState":"active","subState":"running","machineState":{"ID":"m1","PublicIP":"","Metadata":null,"Version":""},"unitHash":"x"}"#;
    mirror.apply("/states/a.service/m1", Some(state), 2);
    assert_eq!(current(&mirror), "loaded");
    mirror.apply("/job/a.service/job-state", Some("m1"), 3);
    assert_eq!(current(&mirror), "launched");
    mirror.apply("/job/a.service", None, 4);
    assert_eq!(mirror.unit("a.service"), None);
    let again = serde_json::to_string(&mirror.states[&("a.service".into(), "m1".into())]).unwrap();
    assert_eq!(again, state, "written as fleet writes it");
}

#[test]
fn only_what_the_engine_decides_by_makes_a_new_version() {
    let mut mirror = filled();
    let before = mirror.version;
    let same = r#"{"ID":"m1","PublicIP":"10.0.0.1","Metadata":{"role":"a"},"Version":"0.11.5"}"#;
    mirror.apply("/machines/m1/object", Some(same), 7);
    mirror.apply("/job/a.service/job-state", Some("m1"), 8);
    assert_eq!(mirror.version, before);
    mirror.apply("/machines/m1/object", None, 9);
    assert_eq!(mirror.version, before + 1);
}

#[test]
fn metadata_that_was_patched_goes_before_the_machines_own() {
    let mut mirror = filled();
    mirror.apply("/machines/m1/metadata/disk", Some("ssd"), 2);
    mirror.apply("/machines/m1/metadata/role", Some(""), 3);
    assert_eq!(
        mirror.machine("m1").unwrap().metadata,
        [("disk".to_string(), "ssd".to_string())].into()
    );
    mirror.apply("/machines/m1/object", None, 4);
    assert!(mirror.machines().is_empty(), "metadata alone is no machine");
}

#[test]
fn what_a_silent_machine_said_last_stays_and_has_an_age() {
    let mut mirror = filled();
    let now = Instant::now();
    mirror.hear("m1", now);
    mirror.apply("/machines/m1/object", None, 5);
    let fresh = Duration::from_secs(20);
    assert_eq!(mirror.stale("m1", fresh, now + Duration::from_secs(20)), None);
    assert_eq!(mirror.stale("m1", fresh, now + Duration::from_secs(41)), Some(41));
    assert_eq!(mirror.missing(), ["m1".to_string()].into());
    assert!(
        !mirror.has_left("m1"),
        "its lease may have run out while nobody could write"
    );
    mirror.leave("m1");
    let mut read = filled();
    read.read_at(now, &mirror);
    assert!(!read.has_left("m1"), "it is there again");
}

#[test]
fn a_machine_has_its_own_jobs_and_a_turn_when_they_change() {
    let mut mirror = filled();
    let of = |mirror: &Mirror, machine: &str| {
        mirror
            .jobs_of(machine)
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&mirror, "m1"), ["a.service"]);
    let turns = |mirror: &Mirror| (mirror.turn("m1"), mirror.turn("m2"));
    let (one, two) = turns(&mirror);
    mirror.apply("/job/a.service/target-state", Some("loaded"), 2);
    assert_ne!(mirror.turn("m1"), one);
    assert_eq!(mirror.turn("m2"), two, "it is none of its business");
    let (one, two) = turns(&mirror);
    mirror.apply("/job/a.service/target", Some("m2"), 3);
    assert!(
        mirror.turn("m1") != one && mirror.turn("m2") != two,
        "one loses it, the other gets it"
    );
    assert_eq!(
        (of(&mirror, "m1"), of(&mirror, "m2")),
        (vec![], vec!["a.service".to_string()])
    );
    let file = UnitFile::parse("[X-Fleet]\nGlobal=true\n").unwrap();
    let object = JobObject {
        name: "a.service".into(),
        unit_hash: file.hash().0,
    };
    mirror.apply(
        "/job/a.service/object",
        Some(&serde_json::to_string(&object).unwrap()),
        4,
    );
    let blob = serde_json::to_string(&UnitBlob { raw: file.text() }).unwrap();
    mirror.apply(&format!("/unit/{}", file.hash()), Some(&blob), 5);
    assert_eq!(of(&mirror, "m1"), ["a.service"], "it is everybody's now");
    assert_eq!(of(&mirror, "m2"), ["a.service"]);
    mirror.apply("/job/a.service", None, 6);
    assert!(of(&mirror, "m1").is_empty() && of(&mirror, "m2").is_empty());
    let (one, _) = turns(&mirror);
    let mut read = filled();
    read.read_at(Instant::now(), &mirror);
    assert_ne!(read.turn("m1"), one, "all may be different");
}

#[test]
fn a_state_that_is_none_starts_nothing() {
    let mut mirror = filled();
    mirror.apply("/job/a.service/target-state", Some("bogus"), 2);
    assert_eq!(mirror.unit("a.service").unwrap().desired_state, "inactive");
}
