//! What nodes get, with and without a file of the user's.
use super::*;
use crate::config::raw::Raw;
use crate::config::resolved::Settings;
use crate::topology;

const BOTH: Services = Services {
    etcd: true,
    fleet: true,
};

fn nodes() -> Vec<Node> {
    let mut nodes = topology::nodes(&Settings::resolve(Raw::default()), topology::none_given, |_| true);
    nodes[1].metadata = [("role", "database"), ("disk", "ssd")]
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .into();
    nodes
}

fn token() -> Bootstrap {
    Bootstrap::Token("https://discovery.example/abc".to_string())
}

#[test]
fn the_default_starts_etcd2_and_fleet_by_the_token() {
    let expected = "\
#cloud-config

hostname: core-02

coreos:
  etcd2:
    name: core-02
    discovery: https://discovery.example/abc
    advertise-client-urls: http://$public_ipv4:2379
    initial-advertise-peer-urls: http://$private_ipv4:2380
    listen-client-urls: http://0.0.0.0:2379,http://0.0.0.0:4001
    listen-peer-urls: http://$private_ipv4:2380,http://$private_ipv4:7001
  fleet:
    public-ip: $public_ipv4
    metadata: \"disk=ssd,role=database\"
  units:
    - name: etcd2.service
      command: start
    - name: fleet.service
      command: start
";
    assert_eq!(default(&nodes()[1], &token(), BOTH, None), expected);
}

#[test]
fn a_list_of_members_needs_no_service() {
    let nodes = nodes();
    let text = default(&nodes[0], &Bootstrap::all(&nodes, &Certificates::default()), BOTH, None);
    let list = "core-01=http://172.17.8.101:2380,core-02=http://172.17.8.102:2380,core-03=http://172.17.8.103:2380";
    assert!(
        text.contains(&format!("    name: core-01\n    initial-cluster: {list}\n")),
        "{text}"
    );
    assert!(!text.contains("discovery"), "{text}");
}

#[test]
fn a_bare_node_has_only_its_name() {
    let none = Services {
        etcd: false,
        fleet: false,
    };
    assert_eq!(
        default(&nodes()[0], &Bootstrap::Alone, none, None),
        "#cloud-config\n\nhostname: core-01\n"
    );
    assert!(
        default(&nodes()[1], &Bootstrap::Alone, none, None).ends_with("    metadata: \"disk=ssd,role=database\"\n")
    );
}

#[test]
fn what_is_rendered_is_yaml() {
    for node in nodes() {
        for bootstrap in [
            token(),
            Bootstrap::all(&nodes(), &Certificates::default()),
            Bootstrap::Alone,
        ] {
            let text = default(&node, &bootstrap, BOTH, None);
            let parsed = yaml::parse("user-data", &text).expect("YAML");
            assert_eq!(parsed["coreos"]["units"].as_sequence().map(Vec::len), Some(2));
            assert_eq!(parsed["hostname"].as_str(), Some(node.name.as_str()));
        }
    }
}

#[test]
fn a_users_file_gets_token_name_and_metadata_and_keeps_the_rest() {
    let text = "#cloud-config\n\n# ours\ncoreos:\n  etcd2:\n    #discovery: https://discovery.etcd.io/<token>\n    proxy: off\nwrite_files:\n  - path: /a\n    permissions: 0644\n";
    let expected = "#cloud-config\n\n# ours\ncoreos:\n  fleet: {metadata: \"disk=ssd,role=database\"}\n  etcd2:\n    #discovery: https://discovery.etcd.io/<token>\n    name: core-02\n    discovery: https://discovery.example/abc\n    proxy: off\nwrite_files:\n  - path: /a\n    permissions: 0644\n";
    assert_eq!(
        personal("user-data", text, &nodes()[1], &token(), None).expect("edited"),
        expected
    );
}

#[test]
fn a_users_own_members_and_scripts_are_left_alone() {
    for text in [
        "#!/bin/sh\necho discovery:\n",
        "#cloud-config\ncoreos:\n  etcd2:\n    initial-cluster: a=http://1:2380\n",
        "#cloud-config\nhostname: x\n",
    ] {
        assert_eq!(
            personal("user-data", text, &nodes()[0], &token(), None).expect(text),
            text
        );
    }
}

#[test]
fn a_token_that_nobody_can_replace_is_refused_with_its_place() {
    let text = "#cloud-config\ncoreos:\n  etcd2:\n    discovery: https://discovery.etcd.io/old\n";
    let nodes = nodes();
    let failure = personal(
        "user-data",
        text,
        &nodes[0],
        &Bootstrap::all(&nodes, &Certificates::default()),
        None,
    )
    .expect_err("an old token");
    assert_eq!(failure.place, "user-data:4:5");
    assert_eq!(
        personal("user-data", text, &nodes[0], &Bootstrap::Alone, None).expect("kept"),
        text
    );
}

#[test]
fn with_certificates_etcd_and_fleet_speak_tls_with_them() {
    use labnode::ca::authority::Pair;
    let settings = Certificates {
        wanted: true,
        peer: false,
        ..Certificates::default()
    };
    let certificate = Certificate {
        settings: &settings,
        ca: "CA\n".into(),
        pair: Pair {
            cert: "CERT\n".into(),
            key: "KEY\n".into(),
        },
    };
    let text = default(&nodes()[0], &token(), BOTH, Some(&certificate));
    let parsed = yaml::parse("user-data", &text).expect("YAML");
    let etcd = &parsed["coreos"]["etcd2"];
    assert_eq!(
        etcd["listen-client-urls"].as_str(),
        Some("https://0.0.0.0:2379,https://0.0.0.0:4001")
    );
    assert_eq!(
        etcd["initial-advertise-peer-urls"].as_str(),
        Some("http://$private_ipv4:2380")
    );
    assert_eq!(etcd["client-cert-auth"].as_bool(), Some(true));
    assert!(etcd["peer-cert-file"].is_null());
    assert_eq!(
        parsed["coreos"]["fleet"]["etcd-keyfile"].as_str(),
        Some("/etc/ssl/etcd/node.key")
    );
    assert_eq!(parsed["write_files"].as_sequence().map(Vec::len), Some(3));
}
