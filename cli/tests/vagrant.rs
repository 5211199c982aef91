//! What `lab render` writes, read by the real Vagrant: every pair of settings validates.
use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

mod common;

/// What Vagrant asks before it looks at its file: VirtualBox's version, and whether the kernel can serve NFS.
const PROGRAMS: [(&str, &str); 2] = [
    (
        "VBoxManage",
        "#!/bin/sh\ncase \"$*\" in *--version*) echo 6.1.50r161033;; esac\n",
    ),
    ("modinfo", "#!/bin/sh\nexit 0\n"),
];

/// Where `lab render` is typed, then `vagrant`.
struct Dir(common::Dir);

impl std::ops::Deref for Dir {
    type Target = common::Dir;

    fn deref(&self) -> &common::Dir {
        &self.0
    }
}

impl Dir {
    fn new() -> Dir {
        let dir = common::Dir::new();
        for (name, script) in PROGRAMS {
            dir.program(name, script);
        }
        fs::create_dir_all(dir.path().join("user")).expect("a home to share");
        Dir(dir)
    }

    #[track_caller]
    fn render(&self, arguments: &[&str]) -> String {
        self.ok(&[&["render"], arguments].concat())
    }

    #[track_caller]
    fn nodes(&self, provider: &str) -> Vec<String> {
        let output = self.vagrant(provider, &["status"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        let end = format!("not created ({provider})");
        let lines = text.lines().filter(|line| line.ends_with(&end));
        lines
            .filter_map(|line| Some(line.split_whitespace().next()?.to_string()))
            .collect()
    }
}

fn is_valid(output: &Output) -> bool {
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains("validated successfully")
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|index| format!("{prefix}-{index:02}")).collect()
}

/// Every setting that changes the Vagrantfile's shape or config.rb, with values that each make another one. PREFIX and
/// so on are replaced by what the row has of that setting.
const FACTORS: [(&str, &[&str]); 17] = [
    ("provider", &["virtualbox", "libvirt"]),
    ("size", &["num_instances: 1", "num_instances: 2", "num_instances: 12"]),
    ("prefix", &["", "prefix: node"]),
    ("channel", &["", "update_channel: stable"]),
    ("version", &["", "image_version: 1068.8.0"]),
    (
        "box",
        &[
            "",
            "box_name: it's mine",
            "box_url: https://example.com/a'b.json",
            "box_name: mine\nbox_url: https://example.com/mine.json",
        ],
    ),
    ("memory", &["", "vm_memory: 512\nvm_cpus: 2"]),
    ("cap", &["", "vb_cpuexecutioncap: 50"]),
    ("gui", &["", "vm_gui: true"]),
    ("serial", &["", "enable_serial_logging: true"]),
    ("home", &["", "share_home: true"]),
    (
        "folders",
        &["", "shared_folders: {'.': /srv/share, \"..\": \"/srv/it's\"}"],
    ),
    ("nfs", &["", "nfs: true"]),
    ("ports", &["", "forwarded_ports: {80: 8080, 443: 8443}"]),
    ("docker", &["", "expose_docker_tcp: 2375"]),
    (
        "discovery",
        &[
            "",
            "discovery: none",
            "discovery: http://127.0.0.1:9/token",
            "bare: true",
        ],
    ),
    (
        "nodes",
        &["", "nodes: {NODE-01: {vm_memory: 2048, metadata: {role: database}}}"],
    ),
];

/// Rows of values such that every two values of two factors are together in one of them: what goes wrong, goes wrong by
/// two settings, hardly by three.
fn pairwise() -> Vec<Vec<usize>> {
    let pairs = |row: &[usize]| -> BTreeSet<(usize, usize, usize, usize)> {
        let all = (0..row.len()).flat_map(|one| (0..one).map(move |two| (one, two)));
        all.map(|(one, two)| (one, row[one], two, row[two])).collect()
    };
    let mut missing = BTreeSet::new();
    for (one, (_, ones)) in FACTORS.iter().enumerate() {
        for (two, (_, twos)) in FACTORS.iter().enumerate().take(one) {
            let both = (0..ones.len()).flat_map(|of_one| (0..twos.len()).map(move |of_two| (of_one, of_two)));
            missing.extend(both.map(|(of_one, of_two)| (one, of_one, two, of_two)));
        }
    }
    let mut rows = Vec::new();
    while let Some(&(one, of_one, two, of_two)) = missing.iter().next() {
        // What is missing first, then for each factor what is missing most beside it.
        let mut row: Vec<Option<usize>> = vec![None; FACTORS.len()];
        (row[one], row[two]) = (Some(of_one), Some(of_two));
        for factor in 0..FACTORS.len() {
            if row[factor].is_some() {
                continue;
            }
            let gain = |value: &usize| {
                let is_missing = |(other, chosen): (usize, &Option<usize>)| {
                    let Some(chosen) = *chosen else { return false };
                    let pair = match other < factor {
                        true => (factor, *value, other, chosen),
                        false => (other, chosen, factor, *value),
                    };
                    missing.contains(&pair)
                };
                row.iter().enumerate().filter(|pair| is_missing(*pair)).count()
            };
            // Of equals the one that differs from the row before.
            row[factor] = (0..FACTORS[factor].1.len()).rev().max_by_key(gain);
        }
        let row: Vec<usize> = row.into_iter().map(Option::unwrap_or_default).collect();
        let found = pairs(&row);
        missing.retain(|pair| !found.contains(pair));
        rows.push(row);
    }
    rows
}

#[test]
fn every_pair_of_settings_validates_and_lists_its_nodes() {
    let rows = pairwise();
    assert!((12..30).contains(&rows.len()), "{} runs of vagrant", rows.len());
    for (number, row) in rows.iter().enumerate() {
        let value = |factor: &str| {
            let at = FACTORS.iter().position(|(name, _)| *name == factor).expect("a factor");
            FACTORS[at].1[row[at]]
        };
        let prefix = if value("prefix").is_empty() { "core" } else { "node" };
        let lines: Vec<&str> = FACTORS
            .iter()
            .zip(row)
            .skip(1)
            .map(|((_, values), value)| values[*value])
            .collect();
        let yaml = lines.join("\n").replace("NODE", prefix);
        let dir = Dir::new();
        dir.write("lab.yaml", &yaml);
        dir.render(&[]);
        let provider = value("provider");
        let output = dir.vagrant(provider, &["validate"]);
        assert!(is_valid(&output), "{provider}: {yaml}\n{output:?}");
        let serial = dir.path().join("vagrant/log").join(format!("{prefix}-01-serial.txt"));
        assert_eq!(serial.exists(), !value("serial").is_empty(), "{yaml}");
        // Its nodes are those of the number and the prefix.
        if number < 3 {
            let count: usize = value("size")
                .trim_start_matches("num_instances: ")
                .parse()
                .expect("a number");
            assert_eq!(dir.nodes(provider), names(prefix, count), "{yaml}");
        }
    }
}

#[test]
fn vagrant_sees_what_is_changed_in_config_rb_afterwards() {
    let dir = Dir::new();
    dir.render(&["--num-instances", "1"]);
    let config = dir.read("vagrant/config.rb");
    dir.write(
        "vagrant/config.rb",
        &config.replace("$num_instances=1", "$num_instances=2"),
    );
    assert_eq!(dir.nodes("virtualbox"), names("core", 2));
    dir.write("vagrant/config.rb", "$forwarded_ports = { 0 => 8080 }\n");
    let output = dir.vagrant("virtualbox", &["validate"]);
    assert_eq!(output.status.code(), Some(1), "a wrong port is seen: {output:?}");
    dir.write("vagrant/config.rb", "$shared_folders = { '.' => '/home/core/' }\n");
    let output = dir.vagrant("virtualbox", &["validate"]);
    let text = format!("{output:?}");
    assert!(
        !output.status.success() && text.contains("would hide the ssh keys"),
        "{text}"
    );
}

/// As coreos-vagrant's Vagrantfile of 2016 uses its variables.
const LIKE_COREOS_VAGRANT: &str = r##"
CONFIG = File.join(File.dirname(__FILE__), "config.rb")
require CONFIG
Vagrant.configure("2") do |config|
  config.ssh.insert_key = false
  config.vm.box = "coreos-%s" % $update_channel
  config.vm.box_version = $image_version if $image_version != "current"
  (1..$num_instances).each do |i|
    config.vm.define vm_name = "%s-%02d" % [$instance_name_prefix, i] do |config|
      config.vm.hostname = vm_name
      config.vm.network "forwarded_port", guest: 2375, host: ($expose_docker_tcp + i - 1), auto_correct: true if $expose_docker_tcp
      $forwarded_ports.each { |guest, host| config.vm.network "forwarded_port", guest: guest, host: host, auto_correct: true }
      config.vm.provider :virtualbox do |vb|
        vb.gui = $vm_gui
        vb.memory = $vm_memory
        vb.cpus = $vm_cpus
        vb.customize ["modifyvm", :id, "--cpuexecutioncap", "#{$vb_cpuexecutioncap}"]
      end
      config.vm.network :private_network, ip: "172.17.8.#{i+100}"
      $shared_folders.each_with_index do |(host_folder, guest_folder), index|
        config.vm.synced_folder host_folder.to_s, guest_folder.to_s, id: "core-share%02d" % index, nfs: true
      end
    end
  end
end
"##;

#[test]
fn config_rb_serves_coreos_vagrants_own_vagrantfile() {
    let dir = Dir::new();
    dir.write(
        "lab.yaml",
        "forwarded_ports: {80: 8080}\nexpose_docker_tcp: 2375\nshared_folders: {'.': /srv}\n",
    );
    dir.render(&["--num-instances", "2"]);
    dir.write("vagrant/Vagrantfile", LIKE_COREOS_VAGRANT);
    let output = dir.vagrant("virtualbox", &["validate"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(dir.nodes("virtualbox"), names("core", 2));
}
