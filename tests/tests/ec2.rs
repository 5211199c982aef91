//! Clusters on instances that carry a tag: they find themselves, grow, and lose members, with moto's server for EC2.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use corelab_tests::ec2::{Machine, Moto, Ports, REGION, text_of};
use corelab_tests::process::Process;
use corelab_tests::{eventually, http, ports, tools};
use rustix::process::Signal;
use tempfile::TempDir;

const TAG: &[(&str, &str)] = &[("etcd", "prod")];

fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("corelab-")
        .tempdir()
        .expect("a temporary directory")
}

/// An EC2, and members at addresses of their own whose instances do not run yet.
struct Lab {
    dir: TempDir,
    moto: Moto,
    ports: Ports,
    scheme: &'static str,
}

impl Lab {
    #[track_caller]
    fn new() -> Lab {
        let dir = scratch();
        Lab {
            moto: Moto::start(dir.path()),
            ports: Ports::claim(),
            scheme: "http",
            dir,
        }
    }

    fn discovery(&self) -> String {
        format!("etcd=prod,region={REGION},endpoint={}", self.moto.url())
    }

    fn machine_at(&self, address: &str) -> Machine {
        Machine::new(address, &self.ports, self.scheme, &self.discovery(), self.dir.path())
    }

    fn machine(&self) -> Machine {
        self.machine_at(&self.moto.free_address())
    }

    /// A member whose instance runs.
    #[track_caller]
    fn running(&self) -> Running {
        let machine = self.machine();
        let id = self.moto.run(&machine.address, TAG);
        let process = machine.start(self.dir.path());
        Running { machine, id, process }
    }

    /// So many, in one cluster.
    #[track_caller]
    fn cluster(&self, size: usize) -> Vec<Running> {
        let mut all: Vec<Running> = (0..size).map(|_| self.running()).collect();
        for one in &mut all {
            one.process.wait_log("published {");
            // Each looks once for members whose instances are gone: from here on only those that start do.
            one.process.wait_log("every member's instance is there");
        }
        one_cluster(&all);
        all
    }
}

struct Running {
    machine: Machine,
    id: String,
    process: Process,
}

/// Waits until all know all of them, by the names of their instances.
#[track_caller]
fn one_cluster(all: &[Running]) {
    let mut names: Vec<String> = all.iter().map(|one| one.id.clone()).collect();
    names.sort();
    let clusters = all.iter().map(|one| {
        eventually(&format!("{} knows {names:?}", one.id), || {
            let (known, cluster) = one.machine.cluster()?;
            (known == names).then_some(cluster)
        })
    });
    let mut clusters: Vec<String> = clusters.collect();
    clusters.dedup();
    assert_eq!(clusters.len(), 1, "{clusters:?}");
    let set = http::ask(
        all[0].machine.client,
        "PUT",
        "/v2/keys/of",
        Some(&format!("value={}", names.len())),
    );
    assert!(matches!(set.expect("an answer").status, 200 | 201));
    for one in all {
        let got = one.machine.get("/v2/keys/of?quorum=true").expect("an answer").json();
        assert_eq!(got["node"]["value"], names.len().to_string().as_str(), "{got}");
    }
}

/// Runs to its end with exit status 1, having said this.
#[track_caller]
fn fails(machine: &Machine, dir: &Path, texts: &[&str]) {
    let mut process = machine.start(dir);
    assert_eq!(process.wait().code(), Some(1));
    for text in texts {
        assert!(process.log().contains(text), "no {text:?} in {}", process.log());
    }
}

#[test]
fn members_wait_for_a_second_instance_and_a_third_one_joins() {
    let lab = Lab::new();
    let machines: Vec<Machine> = (0..3).map(|_| lab.machine()).collect();
    let mut processes: Vec<Process> = machines.iter().map(|machine| machine.start(lab.dir.path())).collect();
    for process in &mut processes {
        process.wait_log("does not carry the tag etcd=prod; no instance has");
    }
    let run = |at: usize| lab.moto.run(&machines[at].address, TAG);
    let mut ids = vec![run(0)];
    processes[0].wait_log("waiting: 1 of 2 instances are there");
    ids.push(run(1));
    for process in &mut processes[..2] {
        process.wait_log("published {");
    }
    ids.push(run(2));
    processes[2].wait_log("to the cluster");
    processes[2].wait_log("published {");
    let all: Vec<Running> = machines
        .into_iter()
        .zip(ids)
        .zip(processes)
        .map(|((machine, id), process)| Running { machine, id, process })
        .collect();
    one_cluster(&all);
}

#[test]
fn however_instances_and_members_appear_they_end_in_one_cluster() {
    let lab = Lab::new();
    let begun = |_| {
        let machine = lab.machine();
        let pause = || Duration::from_millis(rand::random_range(0..4000));
        // By chance the member is there before its instance, or after it.
        if rand::random() {
            let process = machine.start(lab.dir.path());
            std::thread::sleep(pause());
            let id = lab.moto.run(&machine.address, TAG);
            return Running { machine, id, process };
        }
        let id = lab.moto.run(&machine.address, TAG);
        std::thread::sleep(pause());
        let process = machine.start(lab.dir.path());
        Running { machine, id, process }
    };
    let all: Vec<Running> = (0..4).map(begun).collect();
    one_cluster(&all);
}

#[test]
fn a_member_that_starts_again_removes_those_whose_instances_are_terminated_and_not_those_that_are_stopped() {
    let lab = Lab::new();
    let mut all = lab.cluster(3);
    let mut last = all.pop().expect("three");
    last.process.signal(Signal::KILL);
    last.process.wait();
    lab.moto.stop(&last.id);
    let restart = |one: &mut Running, expected: &str| {
        one.process.signal(Signal::TERM);
        one.process.wait();
        std::fs::remove_file(lab.dir.path().join(one.machine.log_name())).expect("begin a new log");
        one.process = one.machine.start(lab.dir.path());
        one.process.wait_log("already initialized as member before");
        one.process.wait_log("published {");
        one.process.wait_log(expected);
    };
    restart(&mut all[0], "every member's instance is there");
    assert_eq!(all[0].machine.cluster().expect("an answer").0.len(), 3);
    lab.moto.terminate(&last.id);
    restart(&mut all[1], &format!("({}): its instance is gone", last.id));
    one_cluster(&all);
    // It keeps the name of its instance though EC2 is not asked for it, and goes on when EC2 is away.
    drop(lab.moto);
    all[0].process.signal(Signal::TERM);
    all[0].process.wait();
    all[0].process = all[0].machine.start(lab.dir.path());
    all[0].process.wait_log("retrying in");
    one_cluster(&all);
}

#[test]
fn a_new_instance_takes_the_place_and_the_address_of_a_terminated_one() {
    let lab = Lab::new();
    let mut all = lab.cluster(3);
    let mut gone = all.pop().expect("three");
    gone.process.signal(Signal::KILL);
    gone.process.wait();
    lab.moto.terminate(&gone.id);
    // Elsewhere: the dead one's member is removed before the new one is added.
    let mut elsewhere = lab.running();
    elsewhere.process.wait_log("removed member");
    elsewhere.process.wait_log("published {");
    all.push(elsewhere);
    one_cluster(&all);
    eventually("the new one decides, too", || {
        let mut logs = all.iter().map(|one| one.process.log());
        logs.any(|log| log.contains("has caught up")).then_some(())
    });
    // At the same URL, with a disk of its own. Moto gives an address only once, so a tag has to say where.
    let mut gone = all.remove(0);
    gone.process.signal(Signal::KILL);
    gone.process.wait();
    lab.moto.terminate(&gone.id);
    let data = format!("{}.etcd", gone.machine.address);
    std::fs::remove_dir_all(lab.dir.path().join(data)).expect("the instance's disk goes with it");
    std::fs::remove_file(lab.dir.path().join(gone.machine.log_name())).expect("and its log");
    let url = format!("http%3A%2F%2F{}%3A{}", gone.machine.address, lab.ports.peer.number);
    gone.id = lab
        .moto
        .run(&lab.moto.free_address(), &[TAG[0], ("etcd-peer-url", &url)]);
    gone.process = gone.machine.start(lab.dir.path());
    gone.process.wait_log("removed member");
    gone.process.wait_log("published {");
    all.push(gone);
    one_cluster(&all);
}

#[test]
fn one_of_two_that_is_left_goes_on_alone_when_told_to_and_grows_again() {
    let lab = Lab::new();
    let mut all = lab.cluster(2);
    let mut gone = all.pop().expect("two");
    gone.process.signal(Signal::KILL);
    gone.process.wait();
    lab.moto.terminate(&gone.id);
    let mut newcomer = lab.running();
    let line = newcomer.process.wait_log("does not add this member");
    assert!(line.contains("/v2/members"), "{line}");
    let left = &mut all[0];
    left.process.signal(Signal::TERM);
    left.process.wait();
    left.machine.args.push("--force-new-cluster".into());
    left.process = left.machine.start(lab.dir.path());
    newcomer.process.wait_log("published {");
    all.push(newcomer);
    one_cluster(&all);
}

#[test]
fn nobody_begins_while_an_instance_with_the_tag_is_silent() {
    let lab = Lab::new();
    let silent = lab.machine();
    let id = lab.moto.run(&silent.address, TAG);
    let mut all: Vec<Running> = (0..2).map(|_| lab.running()).collect();
    for one in &mut all {
        let line = one.process.wait_log("no answer from");
        assert!(
            line.contains(&id) && line.contains("terminate it or take its tag"),
            "{line}"
        );
    }
    lab.moto.terminate(&id);
    for one in &mut all {
        one.process.wait_log("published {");
    }
    one_cluster(&all);
}

#[test]
fn requests_are_signed_and_what_the_credentials_lack_is_said() {
    let lab = Lab::new();
    lab.moto.iam("Action=CreateUser&UserName=etcd");
    let keys = lab.moto.iam("Action=CreateAccessKey&UserName=etcd");
    let (key, secret) = (text_of(&keys, "AccessKeyId"), text_of(&keys, "SecretAccessKey"));
    lab.moto.iam("Action=CreateUser&UserName=nobody");
    let nobody = lab.moto.iam("Action=CreateAccessKey&UserName=nobody");
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22ec2%3ADescribeInstances%22%2C%22Resource%22%3A%22*%22%7D%5D%7D";
    lab.moto.iam(&format!(
        "Action=PutUserPolicy&UserName=etcd&PolicyName=p&PolicyDocument={policy}"
    ));
    let machine = |pairs: &[(&str, &str)]| {
        let mut machine = lab.machine();
        machine.env = pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        machine.env.push(("AWS_EC2_METADATA_DISABLED".into(), "true".into()));
        machine
    };
    let mut good = machine(&[]);
    lab.moto.run(&good.address, TAG);
    lab.moto.check_signatures();

    let by_keys = |key: &str, secret: &str| machine(&[("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)]);
    let dir = lab.dir.path();
    let place = format!("DescribeInstances at {}/: ", lab.moto.url());
    fails(
        &by_keys("AKIAUNKNOWN", "hush-hush"),
        dir,
        &[&place, "AuthFailure", "from the environment: are they right"],
    );
    fails(&by_keys(&key, "hush-hush"), dir, &[&place, "are they right"]);
    let other = by_keys(&text_of(&nobody, "AccessKeyId"), &text_of(&nobody, "SecretAccessKey"));
    fails(&other, dir, &[&place, "AccessDenied", "allow ec2:DescribeInstances"]);
    fails(
        &machine(&[("AWS_ACCESS_KEY_ID", &key)]),
        dir,
        &["AWS_SECRET_ACCESS_KEY is not: set both"],
    );
    fails(&machine(&[]), dir, &["there are no credentials for the EC2 API"]);

    let file = dir.join("keys");
    let profile = format!("[lab]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    std::fs::write(&file, profile).expect("write the credentials");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("keep them secret");
    let path = file.display().to_string();
    good.env.extend([
        ("AWS_PROFILE".into(), "lab".into()),
        ("AWS_SHARED_CREDENTIALS_FILE".into(), path),
    ]);
    good.start(dir).wait_log("waiting: 1 of 2 instances are there");
    for log in std::fs::read_dir(dir).expect("the logs") {
        let path = log.expect("a log").path();
        if path.extension().is_some_and(|extension| extension == "log") && !path.ends_with("moto.log") {
            let text = std::fs::read_to_string(&path).expect("a log");
            assert!(
                !text.contains("hush-hush") && !text.contains(&secret),
                "a secret in {}",
                path.display()
            );
        }
    }
}

#[test]
fn an_endpoint_that_is_away_is_waited_for_and_one_that_is_none_is_said() {
    let dir = scratch();
    let (port, members) = (ports::claim(), Ports::claim());
    let url = format!("http://127.0.0.1:{}", port.number);
    let discovery = format!("etcd=prod,region={REGION},endpoint={url},min=1");
    let machine = Machine::new("127.99.0.1", &members, "http", &discovery, dir.path());
    let mut process = machine.start(dir.path());
    let line = process.wait_log("retrying in");
    assert!(
        line.contains(&format!("DescribeInstances at {url}/: Connection refused")),
        "{line}"
    );
    let moto = Moto::start_at(port, dir.path());
    process.wait_log("no instance has");
    // Where EC2 says another address than the one advertised, others would not find the member.
    let other = moto.free_address();
    let peer = format!("http://127.99.0.1:{}", members.peer.number);
    let id = moto.run(
        &other,
        &[TAG[0], ("etcd-peer-url", &peer.replace(':', "%3A").replace('/', "%2F"))],
    );
    process.wait_log("found all 1 members");
    process.wait_log("published {");
    assert_eq!(machine.cluster().expect("an answer").0, [id]);

    let single = corelab_tests::cluster::Setup::members(1).start();
    let wrong = format!("etcd=prod,region={REGION},endpoint={}", single.members[0].url());
    let machine = Machine::new("127.99.0.2", &members, "http", &wrong, dir.path());
    fails(&machine, dir.path(), &["is the endpoint's URL that of an EC2 API?"]);
    let mut machine = Machine::new("127.99.0.2", &members, "http", "etcd=prod", dir.path());
    machine.env.push(("AWS_ENDPOINT_URL".into(), url));
    fails(&machine, dir.path(), &["--discovery-ec2 needs a region"]);
}

#[test]
fn an_instances_role_is_enough() {
    let lab = Lab::new();
    let mut machine = lab.machine();
    machine.env = vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT".into(), lab.moto.url())];
    lab.moto.run(&machine.address, TAG);
    machine
        .start(lab.dir.path())
        .wait_log("waiting: 1 of 2 instances are there");
}

#[test]
fn members_that_make_their_own_certificates_find_each_other() {
    let lab = Lab {
        scheme: "https",
        ..Lab::new()
    };
    let mut all: Vec<(Machine, Process)> = Vec::new();
    for count in 1..=3 {
        let mut machine = lab.machine();
        machine.args.extend(["-auto-tls".into(), "-peer-auto-tls".into()]);
        lab.moto.run(&machine.address, TAG);
        let process = machine.start(lab.dir.path());
        all.push((machine, process));
        for (_, process) in all.iter_mut().filter(|_| count > 1) {
            process.wait_log("published {");
        }
    }
    let (machine, _) = &all[0];
    let data = lab.dir.path().join(format!("{}.etcd", machine.address));
    let mut etcdctl = Command::new(tools::labnode());
    etcdctl
        .arg("etcdctl")
        .arg("--endpoints")
        .arg(format!("https://{}", machine.client));
    etcdctl.arg("--ca-file").arg(data.join("fixtures/client/cert.pem"));
    let output = tools::run(etcdctl.args(["--no-sync", "member", "list"]));
    let text = tools::outputs(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("peerURLs=https://").count(), 3, "{text}");
    assert_eq!(text.matches("name=i-").count(), 3, "{text}");
}

#[test]
fn members_are_added_and_removed_with_curl_as_the_walk_through_does() {
    let lab = Lab::new();
    let all = lab.cluster(2);
    let members = format!("http://{}/v2/members", all[0].machine.client);
    let curl = |args: &[&str]| {
        let mut curl = Command::new("curl");
        let output = tools::run(curl.args(["-s", "-w", "\n%{http_code}"]).args(args));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let body = r#"{"peerURLs":["http://10.9.9.9:2380"]}"#;
    let added = curl(&[&members, "-XPOST", "-H", "Content-Type: application/json", "-d", body]);
    assert!(added.ends_with("\n201"), "{added}");
    let json: serde_json::Value = serde_json::from_str(added.trim_end_matches("201")).expect("JSON");
    let id = json["id"].as_str().expect("an id");
    assert_eq!(curl(&[&format!("{members}/{id}"), "-XDELETE"]), "\n204");
    one_cluster(&all);
}

#[test]
fn a_proxy_finds_the_instances_too() {
    let lab = Lab::new();
    let all = lab.cluster(2);
    let mut proxy = lab.machine();
    proxy.args.push("--proxy=on".into());
    let _process = proxy.start(lab.dir.path());
    eventually("the proxy reads", || {
        let answer = proxy.get("/v2/keys/of")?;
        (answer.status == 200).then_some(())
    });
    one_cluster(&all);
}
