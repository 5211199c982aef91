//! The encrypted cluster: certificates of one CA per host, etcd started the 0.4 way over TLS, curl at every member.
use corelab_tests::eventually;
use corelab_tests::hosts::{Host, Lab};
use corelab_tests::process::Process;

/// Every host's certificate made on the first one, and carried there as `ca.crt`, NAME.crt and NAME.key.insecure.
#[track_caller]
pub fn certificates(lab: &Lab) {
    let ca = &lab.hosts[0];
    assert_eq!(
        ca.types("etcd-ca init --key-bits 2048"),
        "Created ca/key\nCreated ca/crt\n"
    );
    for host in &lab.hosts {
        let Host { name, address, .. } = host;
        let made = ca.types(&format!("etcd-ca new-cert --ip {address} --key-bits 2048 {name}"));
        assert_eq!(made, format!("Created {name}/key\nCreated {name}/csr\n"));
        let signed = ca.types(&format!("etcd-ca sign {name}"));
        assert_eq!(signed, format!("Created {name}/crt from {name}/csr signed by ca/key\n"));
        let chain = ca.types(&format!("etcd-ca chain {name}"));
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
        ca.types(&format!(
            "etcd-ca export --insecure {name} > {name}.tar; tar -xf {name}.tar"
        ));
        ca.types("etcd-ca export > ca.tar; tar -xf ca.tar ca.crt");
        for file in ["ca.crt".into(), format!("{name}.crt"), format!("{name}.key.insecure")] {
            if host.name != ca.name {
                std::fs::copy(ca.file(&file), host.file(&file)).expect("carry a file");
            }
        }
    }
}

/// etcd as 0.4's cloud-config has it: addresses, a token, and certificates for both sides.
#[track_caller]
fn start(host: &Host, token: &str) -> Process {
    let Host { name, address, .. } = host;
    let files = |side: &str| {
        format!("ETCD_{side}CA_FILE=ca.crt ETCD_{side}CERT_FILE={name}.crt ETCD_{side}KEY_FILE={name}.key.insecure")
    };
    host.start(&format!(
        "env ETCD_NAME={name} ETCD_ADDR={address}:4001 ETCD_PEER_ADDR={address}:7001 ETCD_DISCOVERY={token} {} {} etcd",
        files(""),
        files("PEER_")
    ))
}

#[test]
fn the_curl_lines_of_0_4_work_over_tls_at_every_member() {
    let lab = Lab::new(3);
    certificates(&lab);
    let one = &lab.hosts[0];
    let _discovery = one.start("discovery --addr 172.17.8.101:8087 --host http://172.17.8.101:8087");
    let token = eventually("a token", || {
        let output = one.run("curl -sf http://172.17.8.101:8087/new?size=3");
        output.status.success().then_some(output.stdout)
    });
    let token = String::from_utf8_lossy(&token).into_owned();
    let mut etcds: Vec<Process> = lab.hosts.iter().map(|host| start(host, &token)).collect();
    for etcd in &mut etcds {
        etcd.wait_log("published {");
    }
    let with = "--cacert ca.crt --cert core-01.crt --key core-01.key.insecure";
    let curl = |rest: &str| one.types(&format!("curl -sSL {with} {rest}"));
    let machines = [
        "https://172.17.8.101:4001",
        "https://172.17.8.102:4001",
        "https://172.17.8.103:4001",
    ];
    eventually("all know all", || {
        let all = |url: &str| {
            let listed = curl(&format!("{url}/v2/machines"));
            machines.iter().all(|machine| listed.contains(machine))
        };
        machines.iter().all(|url| all(url)).then_some(())
    });
    // Leaders and followers alike.
    for (url, peer) in machines.iter().map(|url| (url, url.replace("4001", "7001"))) {
        let set = curl(&format!("{url}/v2/keys/svclocation -X PUT -d value=10.1.1.20:80"));
        assert!(set.contains(r#""value":"10.1.1.20:80""#), "{set}");
        let get = curl(&format!("'{url}/v2/keys/?recursive=true&sorted=true&consistent=true'"));
        assert!(get.contains("10.1.1.20:80"), "{get}");
        let leader = curl(&format!("{url}/v2/leader"));
        assert!(
            leader.starts_with("https://172.17.8.10") && leader.ends_with(":7001"),
            "{leader}"
        );
        assert_eq!(
            curl(&format!("{peer}/v2/admin/config")),
            r#"{"activeSize":9,"removeDelay":1800,"syncInterval":5}"#
        );
        let admin = curl(&format!("{peer}/v2/admin/machines"));
        let admin: serde_json::Value = serde_json::from_str(&admin).expect("JSON");
        assert_eq!(admin.as_array().map(Vec::len), Some(3), "{admin}");
        assert!(
            admin.to_string().contains(r#""clientURL":"https://172.17.8.103:4001""#),
            "{admin}"
        );
        let keys = curl(&format!("{url}/v2/keys/_etcd/machines"));
        assert_eq!(keys.matches(r#""key":"/_etcd/machines/"#).count(), 3, "{keys}");
    }
    // etcdctl over TLS, through the loopback as well: 0.4 listens everywhere.
    let shown = "--ca-file ca.crt --cert-file core-02.crt --key-file core-02.key.insecure";
    assert_eq!(
        lab.hosts[1].types(&format!(
            "etcdctl {shown} --peers https://172.17.8.102:4001 get svclocation"
        )),
        "10.1.1.20:80\n"
    );
    let said = one.fails("curl -sS --cacert ca.crt https://172.17.8.102:4001/v2/leader");
    assert!(said.contains("alert"), "{said}");
    let said = one.fails("curl -sS --cacert ca.crt https://172.17.8.102:7001/v2/admin/machines");
    assert!(said.contains("alert"), "{said}");
}
