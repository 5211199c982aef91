//! Failure domains: etcd2 from one member to three, one lost for good, two that need both, disaster recovery.
use corelab_tests::eventually;
use corelab_tests::hosts::{Host, Lab};
use corelab_tests::process::Process;
use rustix::process::Signal;

/// 10-listen.conf, as the walk-through writes it for every host.
fn listen_conf(host: &Host) -> String {
    let (name, address) = (&host.name, &host.address);
    format!(
        "ETCD_NAME={name}
        ETCD_ADVERTISE_CLIENT_URLS=http://{address}:2379
        ETCD_LISTEN_CLIENT_URLS=http://{address}:2379,http://127.0.0.1:2379
        ETCD_LISTEN_PEER_URLS=http://{address}:2380"
    )
}

/// `systemctl start etcd2`, which returns when the member says that it is ready.
#[track_caller]
fn start(host: &Host) -> Process {
    let mut etcd = host.start_etcd2();
    etcd.wait_log("published {");
    etcd
}

#[track_caller]
fn stop(mut etcd: Process) {
    etcd.signal(Signal::TERM);
    etcd.wait();
}

/// The first host's member, from the defaults to a cluster that others can join.
#[track_caller]
fn first(host: &Host) -> Process {
    let etcd = start(host);
    assert_eq!(host.types("etcdctl set hello world"), "world\n");
    let url = format!("http://{}:2380", host.address);
    assert_eq!(
        host.types(&format!("etcdctl member update ce2a822cea30bfca {url}")),
        "Updated member with ID ce2a822cea30bfca in cluster\n"
    );
    stop(etcd);
    host.drop_in(&listen_conf(host));
    let etcd = start(host);
    assert_eq!(host.types("etcdctl get hello"), "world\n");
    etcd
}

/// The lines that `member add` prints, as a drop-in beside the host's own addresses.
#[track_caller]
fn join(host: &Host, through: &str, others: &mut Vec<Process>) {
    let Host { name, address, .. } = host;
    let printed = host.types(&format!(
        "etcdctl --peers {through} member add {name} http://{address}:2380"
    ));
    assert!(
        printed.starts_with(&format!("Added member named {name} with ID ")),
        "{printed}"
    );
    let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with("ETCD_")).collect();
    assert_eq!(lines.len(), 3, "{printed}");
    assert!(lines[1].contains(&format!("{name}=http://{address}:2380")), "{printed}");
    let settings = lines.join("\n").replace('"', "");
    host.drop_in(&format!(
        "{}\n{settings}\nETCD_INITIAL_ADVERTISE_PEER_URLS=http://{address}:2380",
        listen_conf(host)
    ));
    let etcd = start(host);
    // Until then it has no vote, and the others can go on without it.
    let id = printed.split(' ').nth(6).expect("an id");
    let line = format!("member {id} has caught up");
    eventually(&line, || {
        others.iter().any(|etcd| etcd.log().contains(&line)).then_some(())
    });
    others.push(etcd);
}

#[test]
fn one_member_becomes_three_of_which_one_is_lost_for_good() {
    let lab = Lab::new(3);
    let [one, two, three] = &lab.hosts[..] else {
        unreachable!("three hosts")
    };
    let etcd = start(one);
    assert_eq!(
        one.types("etcdctl member list"),
        format!(
            "ce2a822cea30bfca: name={} peerURLs=http://localhost:2380,http://localhost:7001 \
             clientURLs=http://localhost:2379,http://localhost:4001 isLeader=true\n",
            "0a".repeat(16)
        )
    );
    assert!(one.types("curl -L http://127.0.0.1:4001/version").contains("2.3."));
    stop(etcd);
    let mut etcds = vec![first(one)];
    assert_eq!(
        one.types("etcdctl member list"),
        "ce2a822cea30bfca: name=core-01 peerURLs=http://172.17.8.101:2380 clientURLs=http://172.17.8.101:2379 \
         isLeader=true\n"
    );
    join(two, "http://172.17.8.101:2379", &mut etcds);
    join(three, "http://172.17.8.102:2379", &mut etcds);
    assert_eq!(three.types("etcdctl get hello"), "world\n");
    assert_eq!(three.types("etcdctl member list").lines().count(), 3);
    assert!(two.types("etcdctl cluster-health").ends_with("cluster is healthy\n"));

    lab.unplug(0);
    drop(etcds.remove(0));
    eventually("the two that are left write", || {
        two.run("etcdctl set foobar asdf").status.success().then_some(())
    });
    assert_eq!(three.types("etcdctl get -q foobar"), "asdf\n");
    let health = two.types("etcdctl cluster-health");
    assert!(
        health.contains("member ce2a822cea30bfca is unreachable: [http://172.17.8.101:2379] are all unreachable\n"),
        "{health}"
    );
    assert!(health.ends_with("cluster is healthy\n"), "{health}");
    assert_eq!(
        two.types("etcdctl member remove ce2a822cea30bfca"),
        "Removed member ce2a822cea30bfca from cluster\n"
    );
    assert_eq!(three.types("etcdctl member list").lines().count(), 2);
}

#[test]
fn a_host_that_was_off_the_wire_takes_part_again() {
    let lab = Lab::new(3);
    let mut etcds = vec![first(&lab.hosts[0])];
    for host in &lab.hosts[1..] {
        join(host, "http://172.17.8.101:2379", &mut etcds);
    }
    // The one that leads, at that: then the others find a leader of their own.
    lab.unplug(0);
    let set = |at: usize, value: &str| {
        let output = lab.hosts[at].run(&format!("etcdctl set foobar {value}"));
        output.status.success().then_some(())
    };
    eventually("the two others write", || set(1, "asdf"));
    lab.plug(0);
    eventually("it writes as well", || set(0, "again"));
    assert_eq!(lab.hosts[2].types("etcdctl get -q foobar"), "again\n");
}

#[test]
fn of_two_members_neither_can_do_without_the_other() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!("two hosts")
    };
    let mut etcds = vec![first(one)];
    join(two, "http://172.17.8.101:2379", &mut etcds);
    stop(etcds.remove(1));
    let said = one.fails("etcdctl set foobar asdf");
    assert!(said.contains("exit status: 4"), "{said}");
    let unhealthy = one.fails("etcdctl cluster-health");
    assert!(unhealthy.contains("cluster is unhealthy"), "{unhealthy}");
    let _second = start(two);
    eventually("writes work again", || {
        one.run("etcdctl set foobar asdf").status.success().then_some(())
    });
    assert_eq!(two.types("etcdctl get foobar"), "asdf\n");
}

#[test]
fn a_member_that_cannot_be_had_back_is_removed_by_force() {
    let lab = Lab::new(3);
    let [one, two, three] = &lab.hosts[..] else {
        unreachable!("three hosts")
    };
    let mut etcds = vec![first(one)];
    join(two, "http://172.17.8.101:2379", &mut etcds);
    join(three, "http://172.17.8.101:2379", &mut etcds);
    let listed = one.types("etcdctl member list");
    let id = listed.lines().find(|line| line.contains("core-02")).expect("core-02");
    let id = id.split(':').next().expect("an id");
    stop(etcds.remove(2));
    let said = one.fails(&format!("etcdctl member remove {id}"));
    assert!(
        said.contains("1 can be reached and 2 are needed") && said.contains(&format!("member remove --force {id}")),
        "{said}"
    );
    // What is left has no quorum then, until the third one is back.
    let line = format!("etcdctl --total-timeout 50s --timeout 10s member remove --force {id}");
    let (_third, said) = std::thread::scope(|scope| {
        let forced = scope.spawn(|| one.types(&line));
        (start(three), forced.join().expect("etcdctl"))
    });
    assert_eq!(said, format!("Removed member {id} from cluster\n"));
    assert_eq!(etcds[1].wait().code(), Some(0));
    assert_eq!(one.types("etcdctl member list").lines().count(), 2);
    assert_eq!(one.types("etcdctl set foobar asdf"), "asdf\n");
}

/// Brings one member of a lost cluster back on another host, alone, and grows it again.
#[track_caller]
fn recover(lab: &Lab) {
    let [_, _, _, fourth, fifth] = &lab.hosts[..] else {
        unreachable!("five hosts")
    };
    fourth.drop_in(&(listen_conf(fourth) + "\nETCD_FORCE_NEW_CLUSTER=1"));
    let etcd = start(fourth);
    assert_eq!(fourth.types("etcdctl get /data/42"), "forty-two\n");
    let listed = fourth.types("etcdctl member list");
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(
        listed.contains("clientURLs=http://172.17.8.104:2379 isLeader=true"),
        "{listed}"
    );
    let id = listed.split(':').next().expect("an id");
    fourth.types(&format!("etcdctl member update {id} http://172.17.8.104:2380"));
    stop(etcd);
    fourth.drop_in(&listen_conf(fourth));
    let mut etcds = vec![start(fourth)];
    join(fifth, "http://172.17.8.104:2379", &mut etcds);
    assert_eq!(fifth.types("etcdctl get /data/42"), "forty-two\n");
    assert_eq!(fifth.types("etcdctl set /data/43 more"), "more\n");
}

/// Three members with data.
#[track_caller]
fn three_with_data(lab: &Lab) -> Vec<Process> {
    let mut etcds = vec![first(&lab.hosts[0])];
    for host in &lab.hosts[1..3] {
        join(host, "http://172.17.8.101:2379", &mut etcds);
    }
    lab.hosts[1].types("etcdctl set /data/42 forty-two");
    etcds
}

/// `scp` of a file in the home directory.
#[track_caller]
fn copy(from: &Host, to: &Host, file: &str) {
    std::fs::copy(from.file(file), to.file(file)).expect("copy a file");
}

#[test]
fn a_tar_of_a_live_members_directory_is_restored_elsewhere() {
    let lab = Lab::new(5);
    let etcds = three_with_data(&lab);
    lab.hosts[1].types("tar -C /var/lib/etcd2 -cf backup.tar .");
    drop(etcds);
    for lost in 0..3 {
        lab.unplug(lost);
    }
    copy(&lab.hosts[1], &lab.hosts[3], "backup.tar");
    lab.hosts[3].types("mkdir -p /var/lib/etcd2; tar -C /var/lib/etcd2 -xf backup.tar");
    recover(&lab);
}

#[test]
fn etcdctl_backup_is_restored_elsewhere() {
    let lab = Lab::new(5);
    let etcds = three_with_data(&lab);
    let said = lab.hosts[1]
        .types("etcdctl backup --data-dir /var/lib/etcd2 --backup-dir /var/lib/etcd2_backup; ls /var/lib/etcd2_backup");
    assert!(said.ends_with("member\n"), "{said}");
    lab.hosts[1].types("tar -C /var/lib/etcd2_backup -cf backup.tar .");
    drop(etcds);
    copy(&lab.hosts[1], &lab.hosts[3], "backup.tar");
    lab.hosts[3].types("mkdir -p /var/lib/etcd2; tar -C /var/lib/etcd2 -xf backup.tar");
    recover(&lab);
}
