//! Requests to the API that change machines and units, and those that are refused.
use crate::cluster::*;

fn message(body: &str) -> String {
    let error: serde_json::Value = serde_json::from_str(body).unwrap();
    error["error"]["message"].as_str().unwrap().to_string()
}

#[tokio::test]
async fn metadata_is_patched_over_what_the_machine_says_and_hidden_by_a_removal() {
    let etcd = etcd().await;
    let nodes = [Node::new(&etcd, "m1", "metadata=role=a,disk=ssd\n").await];
    eventually("it is there", || nodes[0].machine().registry.mirror().machine("m1")).await;
    eventually("it answers", || nodes[0].machine().monitor.reachable().then_some(())).await;
    let patch = async |body: &str| nodes[0].ask("PATCH", "/fleet/v1/machines", body).await;
    let shown = async || nodes[0].ask("GET", "/fleet/v1/machines", "").await.1;
    let all = r#"[{"op":"add","path":"/m1/metadata/zone","value":"1"},{"op":"replace","path":"/m1/metadata/role","value":{"value":"b"}}]"#;
    assert_eq!(patch(all).await.0, 204);
    assert!(
        shown()
            .await
            .contains(r#""metadata":{"disk":"ssd","role":"b","zone":"1"}"#),
        "{}",
        shown().await
    );
    assert_eq!(patch(r#"[{"op":"remove","path":"/m1/metadata/disk"}]"#).await.0, 204);
    assert!(
        shown().await.contains(r#""metadata":{"role":"b","zone":"1"}"#),
        "{}",
        shown().await
    );
    for (body, why) in [
        (
            r#"[{"op":"frob","path":"/m1/metadata/a","value":"1"}]"#,
            "invalid op: expect add, remove, or replace",
        ),
        (
            r#"[{"op":"add","path":"/m1/a","value":"1"}]"#,
            "machine metadata path invalid",
        ),
        (
            r#"[{"op":"add","path":"/m1/metadata/a"}]"#,
            "invalid value: add and replace require a value",
        ),
        ("[", "unexpected EOF"),
    ] {
        let (status, answer) = patch(body).await;
        assert_eq!((status, message(&answer).as_str()), (400, why), "{body}");
    }
    assert_eq!(
        nodes[0]
            .ask("GET", "/fleet/v1/machines?nextPageToken=EwBMLg==", "")
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn a_unit_that_makes_no_sense_is_refused_with_its_line_and_nothing_of_it_is_stored() {
    let etcd = etcd().await;
    let nodes = cluster(&etcd, &["m1"]).await;
    let put = async |state: &str, name: &str, value: &str| {
        let options = serde_json::json!([
            {"section": "Service", "name": "ExecStart", "value": "/bin/true"},
            {"section": "X-Fleet", "name": name, "value": value},
        ]);
        let body = serde_json::json!({"desiredState": state, "options": options}).to_string();
        nodes[0].ask("PUT", "/fleet/v1/units/a.service", &body).await
    };
    for (state, name, value, why) in [
        ("inactive", "MachineMetadata", "role", "line 5: MachineMetadata: "),
        ("inactive", "Conflicts", "[", "line 5: Conflicts: "),
        ("inactive", "Weight", "none", "line 5: Weight: "),
        ("inactive", "RestartFailed", "perhaps", "line 5: RestartFailed: "),
        (
            "inactive",
            "Global",
            "true\n[Service]\nExecStartPre=/bin/false",
            "line break",
        ),
        ("bogus", "Weight", "1", "invalid desiredState \"bogus\""),
    ] {
        let (status, answer) = put(state, name, value).await;
        assert!(
            status == 400 && message(&answer).contains(why),
            "{name}={value:?}: {status} {answer}"
        );
    }
    assert_eq!(nodes[0].ask("GET", "/fleet/v1/units", "").await, (200, "{}".into()));
    assert_eq!(put("launched", "Weight", "1").await.0, 201);
    let (status, answer) = nodes[0]
        .ask("PUT", "/fleet/v1/units/a.service", r#"{"desiredState":"bogus"}"#)
        .await;
    assert!(status == 400, "{answer}");
    assert_eq!(
        nodes[0].ask("GET", "/fleet/v1/units/a.service", "").await.0,
        200,
        "it is not poisoned"
    );
}
