//! Certificates of a CA of the lab's own, as the encrypted cluster of the walk-throughs has them.
use std::os::unix::fs::PermissionsExt;

use corelab_tests::lab::{Lab, Who};

const DIR: &str = "/etc/ssl/etcd";

fn etcdctl(rest: &str) -> String {
    format!("sudo etcdctl --ca-file {DIR}/ca.crt --cert-file {DIR}/node.crt --key-file {DIR}/node.key {rest}")
}

fn etcd_and_fleet_speak_tls_and_let_in_who_shows_a_certificate(who: Who) {
    let lab = Lab::of(who);
    lab.write("lab.yaml", "num_instances: 3\ncertificates: true\n");
    // Ready is what its etcd says over TLS.
    let said = lab.ok(&["up"]);
    assert!(said.contains("ready: 3 of 3") && said.contains("--ca-file"), "{said}");
    for (node, address) in [("core-01", "172.17.8.101"), ("core-03", "172.17.8.103")] {
        let health = lab.on(
            node,
            &etcdctl(&format!("--endpoint https://{address}:2379 cluster-health")),
        );
        assert!(health.contains("cluster is healthy"), "{health}");
        assert_eq!(
            health.matches("got healthy result from https://").count(),
            3,
            "{health}"
        );
        let members = lab.on(node, &etcdctl("--endpoint https://127.0.0.1:2379 member list"));
        assert_eq!(members.matches("peerURLs=https://").count(), 3, "{members}");
        // The certificate is of this host and of no other.
        let names = lab.sh(&format!(
            "lab ssh {node} -- sudo cat {DIR}/node.crt | openssl x509 -noout -ext subjectAltName"
        ));
        assert!(
            names.contains(&format!("IP Address:{address}")) && names.contains(node),
            "{names}"
        );
        let files = lab.on(node, &format!("stat -c '%a %U %n' {DIR}/*"));
        let expected = format!("644 etcd {DIR}/ca.crt\n644 etcd {DIR}/node.crt\n600 etcd {DIR}/node.key\n");
        assert_eq!(files, expected);
    }
    let curl = |rest: &str| lab.lab(&["ssh", "core-02", "--", &format!("sudo curl -sS {rest}")]);
    let with = format!("--cacert {DIR}/ca.crt --cert {DIR}/node.crt --key {DIR}/node.key");
    let set = curl(&format!(
        "{with} https://172.17.8.101:4001/v2/keys/svclocation -X PUT -d value=10.1.1.20:80"
    ));
    assert!(String::from_utf8_lossy(&set.stdout).contains("10.1.1.20:80"), "{set:?}");
    for refused in [
        format!("--cacert {DIR}/ca.crt https://172.17.8.101:2379/version"),
        format!("-f {with} http://172.17.8.101:2379/version"),
        format!("--cacert {DIR}/ca.crt https://172.17.8.101:2380/members"),
    ] {
        let output = curl(&refused);
        assert!(!output.status.success(), "{refused}: {output:?}");
    }
    let machines = "curl -s --unix-socket /var/run/fleet.sock http://fleet/fleet/v1/machines";
    corelab_tests::eventually("fleet's machines are there", || {
        (lab.on("core-03", machines).matches("primaryIP").count() == 3).then_some(())
    });

    // The CA is the user's own.
    let tls = lab.dir().join(".lab/tls");
    let mode = |name: &str| std::fs::metadata(tls.join(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("core-01.key")), (0o600, 0o600));
    lab.sh("openssl verify -CAfile .lab/tls/ca.crt .lab/tls/core-0?.crt");
    lab.gone();
}

fn a_node_that_is_made_again_has_another_certificate_of_the_same_ca(who: Who) {
    let lab = Lab::bare_of(who, 2);
    lab.ok(&["up", "--certificates"]);
    let sums = || -> Vec<String> {
        let text = lab.on("core-02", &format!("sudo sha256sum {DIR}/node.crt {DIR}/ca.crt"));
        text.lines()
            .map(|line| line.split(' ').next().unwrap_or_default().to_string())
            .collect()
    };
    let old = sums();
    lab.ok(&["destroy", "-f", "core-02"]);
    lab.ok(&["up"]);
    let new = sums();
    assert_ne!(old[0], new[0]);
    assert_eq!(old[1], new[1]);
    lab.gone();
}

fn a_cloud_config_of_the_users_gets_them_and_keeps_its_own_files(who: Who) {
    let lab = Lab::of(who);
    lab.write(
        "lab.yaml",
        "num_instances: 1\nuser_data: mine\ncertificates: {dir: /etc/tls, owner: 'core:core'}\n",
    );
    let mine = "#cloud-config
# the encrypted cluster
write_files:
  - path: /etc/mine
    permissions: 0644
    content: mine
coreos:
  etcd2:
    name: one
    cert-file: /etc/tls/node.crt
    key-file: /etc/tls/node.key
    trusted-ca-file: /etc/tls/ca.crt
    client-cert-auth: true
    listen-client-urls: https://$private_ipv4:2379
    advertise-client-urls: https://$private_ipv4:2379
";
    lab.write("mine", mine);
    lab.ok(&["validate"]);
    lab.ok(&["up"]);
    let files = lab.on("core-01", "stat -c '%a %U %n' /etc/tls/* /etc/mine");
    assert_eq!(
        files,
        "644 core /etc/tls/ca.crt\n644 core /etc/tls/node.crt\n600 core /etc/tls/node.key\n644 root /etc/mine\n"
    );
    assert_eq!(lab.sh("cat mine"), mine, "the file itself is left alone");
    let given = lab.on("core-01", "sudo cat /var/lib/coreos-vagrant/vagrantfile-user-data");
    assert!(given.contains("permissions: 0644\n    content: mine\n"), "{given}");
    // What is new of them is shown, and no key.
    lab.write("mine", &mine.replace("content: mine", "content: other"));
    let said = lab.ok(&["reload", "--provision"]);
    assert!(
        said.contains("+     content: other") && !said.contains("PRIVATE"),
        "{said}"
    );

    lab.write("mine", "#!/bin/sh\necho\n");
    for arguments in [&["validate"][..], &["up"]] {
        let error = lab.fails(arguments, 1);
        assert!(error.contains("mine:1:1") && error.contains("#cloud-config"), "{error}");
    }
    lab.gone();
}

corelab_tests::for_everybody! {
    a_node_that_is_made_again_has_another_certificate_of_the_same_ca
    etcd_and_fleet_speak_tls_and_let_in_who_shows_a_certificate
    a_cloud_config_of_the_users_gets_them_and_keeps_its_own_files
}
