//! etcd by itself: three members under a Procfile runner, a fourth one that comes and goes, one's own discovery.
use corelab_tests::hosts::{Host, Lab};
use corelab_tests::process::Process;
use corelab_tests::{eventually, python};
use rustix::process::Signal;

/// etcd's own Procfile of that time, with its proxy.
const PROCFILE: &str = "\
etcd1: etcd -name infra1 -listen-client-urls http://127.0.0.1:4001 -advertise-client-urls http://127.0.0.1:4001 -listen-peer-urls http://127.0.0.1:7001 -initial-advertise-peer-urls http://127.0.0.1:7001 -initial-cluster-token etcd-cluster-1 -initial-cluster 'infra1=http://127.0.0.1:7001,infra2=http://127.0.0.1:7002,infra3=http://127.0.0.1:7003' -initial-cluster-state new
etcd2: etcd -name infra2 -listen-client-urls http://127.0.0.1:4002 -advertise-client-urls http://127.0.0.1:4002 -listen-peer-urls http://127.0.0.1:7002 -initial-advertise-peer-urls http://127.0.0.1:7002 -initial-cluster-token etcd-cluster-1 -initial-cluster 'infra1=http://127.0.0.1:7001,infra2=http://127.0.0.1:7002,infra3=http://127.0.0.1:7003' -initial-cluster-state new
etcd3: etcd -name infra3 -listen-client-urls http://127.0.0.1:4003 -advertise-client-urls http://127.0.0.1:4003 -listen-peer-urls http://127.0.0.1:7003 -initial-advertise-peer-urls http://127.0.0.1:7003 -initial-cluster-token etcd-cluster-1 -initial-cluster 'infra1=http://127.0.0.1:7001,infra2=http://127.0.0.1:7002,infra3=http://127.0.0.1:7003' -initial-cluster-state new
proxy: etcd -proxy=on -bind-addr 127.0.0.1:8080 -initial-cluster 'infra1=http://127.0.0.1:7001,infra2=http://127.0.0.1:7002,infra3=http://127.0.0.1:7003'
";

/// The fourth member's, with two dashes.
const NEWMEMBER: &str = "\
etcd4: etcd --name infra4 --listen-client-urls http://127.0.0.1:4004 --advertise-client-urls http://127.0.0.1:4004 --listen-peer-urls http://127.0.0.1:7004 --initial-advertise-peer-urls http://127.0.0.1:7004 --initial-cluster-token etcd-cluster-1 --initial-cluster 'infra1=http://127.0.0.1:7001,infra2=http://127.0.0.1:7002,infra3=http://127.0.0.1:7003,infra4=http://127.0.0.1:7004' --initial-cluster-state existing
";

const FIFTH: &str = "etcd -name infra5 -listen-client-urls http://127.0.0.1:4005 \
    -advertise-client-urls http://127.0.0.1:4005 -listen-peer-urls http://127.0.0.1:7005 \
    -initial-advertise-peer-urls http://127.0.0.1:7005 -initial-cluster-token etcd-cluster-1 \
    -initial-cluster 'infra1=http://127.0.0.1:7001,infra2=http://127.0.0.1:7002,infra3=http://127.0.0.1:7003,infra5=http://127.0.0.1:7005' \
    -initial-cluster-state existing";

/// `honcho start` in a directory, once so many members have published their names.
#[track_caller]
fn honcho(host: &Host, dir: &str, members: usize) -> Process {
    let runner = host.start_group(&format!("cd {dir}; honcho start"));
    eventually("all members have published", || {
        (runner.log().matches("published {").count() == members).then_some(())
    });
    runner
}

fn lab() -> Lab {
    let honcho = python::bin("honcho", &["honcho==2.0.0"]);
    let httpie = python::bin("httpie", &["httpie==3.2.4"]);
    let lab = Lab::new(1).programs(&honcho).programs(&httpie);
    lab.hosts[0].write("Procfile", PROCFILE);
    lab.hosts[0].write("newmember/Procfile", NEWMEMBER);
    lab
}

#[test]
fn a_procfile_starts_three_members_and_their_proxy() {
    let lab = lab();
    let host = &lab.hosts[0];
    let _runner = honcho(host, ".", 3);
    let listed = host.types("etcdctl member list");
    for number in 1..=3 {
        let line = format!(
            ": name=infra{number} peerURLs=http://127.0.0.1:700{number} clientURLs=http://127.0.0.1:400{number} isLeader="
        );
        assert!(listed.contains(&line), "{listed}");
    }
    let set = host.types("curl -L http://127.0.0.1:4002/v2/keys/mykey -XPUT -d value='this is awesome'");
    assert!(set.contains(r#""value":"this is awesome""#), "{set}");
    assert_eq!(host.types("etcdctl get mykey"), "this is awesome\n");

    let put = host.types("http put http://127.0.0.1:4001/v2/keys/app01/username value==romain");
    assert!(put.contains(r#""action":"set""#) && put.contains("romain"), "{put}");
    let get = host.types("http --ignore-stdin --body http://127.0.0.1:4003/v2/keys/app01/username quorum==true");
    assert!(get.contains("romain"), "{get}");
    assert_eq!(host.types("etcdctl get /app01/username"), "romain\n");

    let through = eventually("the proxy answers", || {
        let output = host.run("curl -fsL http://127.0.0.1:8080/v2/keys/app01/username");
        output.status.success().then_some(output.stdout)
    });
    assert!(String::from_utf8_lossy(&through).contains("romain"));
    assert_eq!(
        host.types("tree -d --noreport infra3.etcd"),
        "infra3.etcd\n└── member\n    ├── snap\n    └── wal\n"
    );
}

#[test]
fn a_fourth_member_is_added_removed_and_never_let_in_again() {
    let lab = lab();
    let host = &lab.hosts[0];
    let runner = honcho(host, ".", 3);
    host.types("etcdctl set /app01/username romain");
    let said = host.fails(FIFTH);
    assert!(said.contains("member count is unequal"), "{said}");
    assert!(
        said.contains("etcdctl member add infra5 http://127.0.0.1:7005"),
        "{said}"
    );

    let added = host.types("etcdctl member add infra4 http://127.0.0.1:7004");
    let id = added.split(' ').nth(6).expect("an id");
    assert!(
        host.types("etcdctl member list")
            .contains(&format!("{id}[unstarted]: peerURLs=http://127.0.0.1:7004\n"))
    );
    let mut fourth = honcho(host, "newmember", 1);
    assert_eq!(
        host.types("curl -sL http://127.0.0.1:4004/v2/keys/app01/username?quorum=true | grep -o romain"),
        "romain\n"
    );
    eventually("infra4 decides, too", || {
        runner
            .log()
            .contains(&format!("member {id} has caught up"))
            .then_some(())
    });
    assert_eq!(
        host.types(&format!("etcdctl member remove {id}")),
        format!("Removed member {id} from cluster\n")
    );
    fourth.wait();
    let gone = "the member has been permanently removed from the cluster";
    assert!(fourth.log().contains(gone), "{}", fourth.log());

    let again = host.run("cd newmember; honcho start");
    assert!(corelab_tests::tools::outputs(&again).contains(gone));
    let wiped = host.run("cd newmember; rm -rf infra4.etcd; honcho start");
    let wiped = corelab_tests::tools::outputs(&wiped);
    assert!(wiped.contains("member count is unequal"), "{wiped}");
    assert_eq!(host.types("etcdctl member list").lines().count(), 3);
    assert!(host.types("etcdctl cluster-health").ends_with("cluster is healthy\n"));
    runner.signal(Signal::TERM);
}

#[test]
fn an_etcd_of_ones_own_is_the_discovery_service_and_one_too_many_becomes_a_proxy() {
    let lab = Lab::new(5);
    let (one, others) = lab.hosts.split_first().expect("hosts");
    let mut service = one.start(
        "etcd -listen-client-urls http://172.17.8.101:2379,http://127.0.0.1:2379 \
         -advertise-client-urls http://172.17.8.101:2379",
    );
    service.wait_log("published {");
    let url = "http://172.17.8.101:2379/v2/keys/discovery/6c007a14875d53d9bf0ef5a6fc0257c817f0fb83";
    one.types(&format!("curl -X PUT {url}/_config/size -d value=3"));
    let start = |host: &Host| {
        let Host { name, address, .. } = host;
        host.start(&format!(
            "etcd -name {name} -initial-advertise-peer-urls http://{address}:2380 -listen-peer-urls http://{address}:2380 \
             -listen-client-urls http://{address}:2379,http://127.0.0.1:2379 -advertise-client-urls http://{address}:2379 \
             -discovery {url}"
        ))
    };
    let mut members: Vec<Process> = others[..3].iter().map(start).collect();
    for member in &mut members {
        member.wait_log("published {");
    }
    let mut extra = start(&others[3]);
    extra.wait_log("discovery cluster full, falling back to proxy");
    assert_eq!(others[0].types("etcdctl member list").lines().count(), 3);
    others[1].types("etcdctl set foobar asdf");
    eventually("the proxy answers", || {
        let output = others[3].run("curl -fsL http://127.0.0.1:2379/v2/keys/foobar");
        String::from_utf8_lossy(&output.stdout).contains("asdf").then_some(())
    });
    assert!(
        one.types(&format!("curl -s {url}"))
            .contains("core-02=http://172.17.8.102:2380")
    );
}
