//! TLS as the walk-throughs set it up: certificates of etcd-ca and of openssl, given to etcd2 in variables.
use corelab_tests::hosts::{Host, Lab};
use corelab_tests::process::Process;

use crate::w0_encrypted::certificates;

/// The variables of clients' and peers' certificates.
fn conf(host: &Host, list: &str) -> String {
    let (name, address, home) = (&host.name, &host.address, host.home());
    let home = home.display();
    let sides = ["", "PEER_"].map(|side| {
        format!(
            "ETCD_{side}CERT_FILE={home}/{name}.crt
            ETCD_{side}KEY_FILE={home}/{name}.key.insecure
            ETCD_{side}TRUSTED_CA_FILE={home}/ca.crt
            ETCD_{side}CLIENT_CERT_AUTH=true"
        )
    });
    format!(
        "ETCD_NAME={name}
        ETCD_ADVERTISE_CLIENT_URLS=https://{address}:2379
        ETCD_LISTEN_CLIENT_URLS=https://{address}:2379
        ETCD_LISTEN_PEER_URLS=https://{address}:2380
        ETCD_INITIAL_ADVERTISE_PEER_URLS=https://{address}:2380
        ETCD_INITIAL_CLUSTER={list}
        {}",
        sides.join("\n")
    )
}

#[test]
fn three_hosts_speak_tls_and_strangers_are_kept_out() {
    let lab = Lab::new(3);
    certificates(&lab);
    let list = lab
        .hosts
        .iter()
        .map(|host| format!("{}=https://{}:2380", host.name, host.address));
    let list = list.collect::<Vec<_>>().join(",");
    let mut etcds: Vec<Process> = lab
        .hosts
        .iter()
        .map(|host| {
            host.drop_in(&conf(host, &list));
            host.start_etcd2()
        })
        .collect();
    for etcd in &mut etcds {
        etcd.wait_log("published {");
    }
    let [one, two, three] = &lab.hosts[..] else {
        unreachable!("three hosts")
    };
    let shown = |host: &Host| {
        let name = &host.name;
        format!("--ca-file ca.crt --cert-file {name}.crt --key-file {name}.key.insecure")
    };
    assert_eq!(
        one.types(&format!(
            "etcdctl {} --peers https://172.17.8.101:2379 set foobar asdf",
            shown(one)
        )),
        "asdf\n"
    );
    assert_eq!(
        two.types(&format!(
            "etcdctl {} -C https://172.17.8.103:2379 get -q foobar",
            shown(two)
        )),
        "asdf\n"
    );
    let by_variables = "ETCDCTL_CA_FILE=ca.crt ETCDCTL_CERT_FILE=core-03.crt ETCDCTL_KEY_FILE=core-03.key.insecure \
                        ETCDCTL_ENDPOINT=https://172.17.8.102:2379";
    let health = three.types(&format!("{by_variables} etcdctl cluster-health"));
    assert!(health.ends_with("cluster is healthy\n"), "{health}");
    for (member, path) in [(101, "keys/foobar"), (102, "keys/foobar?quorum=true"), (103, "members")] {
        let curl = format!(
            "curl -sSL --cacert ca.crt --cert core-02.crt --key core-02.key.insecure https://172.17.8.{member}:2379/v2/{path}"
        );
        let answer = two.types(&curl);
        assert!(answer.contains("asdf") || answer.contains("core-03"), "{answer}");
    }

    // No certificate, one that openssl made and nobody signed, no trust in the server, plain HTTP.
    let said = one.fails("curl -sS --cacert ca.crt https://172.17.8.101:2379/version");
    assert!(said.contains("alert"), "{said}");
    one.types(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout wrong.key -out wrong.crt -subj /CN=stranger -days 1 2>/dev/null",
    );
    for port in [2379, 2380] {
        let curl = "curl -sS --cacert ca.crt --cert wrong.crt --key wrong.key";
        let said = one.fails(&format!("{curl} https://172.17.8.101:{port}/version"));
        assert!(said.contains("alert"), "{said}");
    }
    let said = one.fails(
        "etcdctl --ca-file ca.crt --cert-file wrong.crt --key-file wrong.key --peers https://172.17.8.101:2379 get foobar",
    );
    assert!(said.contains("Error:  "), "{said}");
    let said = one.fails(
        "etcdctl --cert-file core-01.crt --key-file core-01.key.insecure --peers https://172.17.8.101:2379 get foobar",
    );
    assert!(said.contains("x509: certificate signed by unknown authority"), "{said}");
    let said = one.types("curl -s http://172.17.8.101:2379/version");
    assert!(
        said.contains("Client sent an HTTP request to an HTTPS server."),
        "{said}"
    );
}

#[test]
fn certificates_that_make_themselves_are_found_under_fixtures() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let mut etcd = host.start(
        "etcd -auto-tls -peer-auto-tls -data-dir a.etcd -listen-client-urls https://127.0.0.1:2379 \
         -advertise-client-urls https://127.0.0.1:2379",
    );
    etcd.wait_log("published {");
    let listed =
        host.types("etcdctl --ca-file a.etcd/fixtures/client/cert.pem --endpoint https://127.0.0.1:2379 member list");
    assert!(
        listed.contains("clientURLs=https://127.0.0.1:2379 isLeader=true"),
        "{listed}"
    );
}
