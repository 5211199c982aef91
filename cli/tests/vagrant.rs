//! What `lab render` writes, read by the real Vagrant: every combination of settings validates and lists its nodes.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// What Vagrant asks before it looks at its file: VirtualBox's version, and whether the kernel can serve NFS.
const PROGRAMS: [(&str, &str); 2] = [
    (
        "VBoxManage",
        "#!/bin/sh\ncase \"$*\" in *--version*) echo 6.1.50r161033;; esac\n",
    ),
    ("modinfo", "#!/bin/sh\nexit 0\n"),
];

/// A directory for a lab, with a home for Vagrant.
struct Dir {
    dir: tempfile::TempDir,
}

impl Dir {
    fn new() -> Dir {
        let dir = tempfile::tempdir().expect("a directory");
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("a directory for programs");
        for (name, script) in PROGRAMS {
            let program = bin.join(name);
            fs::write(&program, script).expect("a program");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        Dir { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn lab(&self, arguments: &[&str]) -> Output {
        let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
        lab.args(arguments).current_dir(self.path()).env_remove("NUM_INSTANCES");
        lab.output().expect("run lab")
    }

    #[track_caller]
    fn render(&self, arguments: &[&str]) -> String {
        let output = self.lab(&[&["render"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn vagrant(&self, provider: &str, arguments: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut vagrant = Command::new("vagrant");
        vagrant.args(arguments).current_dir(self.path().join("vagrant"));
        vagrant.env("PATH", format!("{}:{path}", self.path().join("bin").display()));
        vagrant
            .env("VAGRANT_HOME", self.path().join("home"))
            .env("HOME", self.path().join("user"));
        vagrant
            .env("VAGRANT_DEFAULT_PROVIDER", provider)
            .env("VAGRANT_CHECKPOINT_DISABLE", "1");
        vagrant.env_remove("NUM_INSTANCES");
        vagrant.output().expect("run vagrant, a Debian package")
    }

    /// Both providers accept it.
    #[track_caller]
    fn validates(&self) {
        fs::create_dir_all(self.path().join("user")).expect("a home to share");
        for provider in ["virtualbox", "libvirt"] {
            let output = self.vagrant(provider, &["validate"]);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("validated successfully"),
                "{provider}: {output:?}"
            );
        }
    }

    #[track_caller]
    fn nodes(&self) -> Vec<String> {
        let output = self.vagrant("virtualbox", &["status"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        let lines = text.lines().filter(|line| line.ends_with("not created (virtualbox)"));
        lines
            .filter_map(|line| Some(line.split_whitespace().next()?.to_string()))
            .collect()
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|index| format!("{prefix}-{index:02}")).collect()
}

#[test]
fn every_combination_of_settings_validates_and_lists_its_nodes() {
    let plain = ("", "core", 3);
    let all = "\
num_instances: 2
prefix: node
update_channel: stable
image_version: 1068.8.0
vm_memory: 512
vm_cpus: 2
vb_cpuexecutioncap: 50
vm_gui: true
enable_serial_logging: true
share_home: true
shared_folders: {'.': /srv/share, \"..\": \"/srv/it's\"}
forwarded_ports: {80: 8080, 443: 8443}
expose_docker_tcp: 2375
nodes: {node-02: {vm_memory: 2048, metadata: {role: database}}}
";
    let boxed = "num_instances: 1\nbox_name: mine\nbox_url: https://example.com/a'b.json\nbare: true\n";
    let nfs = "num_instances: 12\nnfs: true\nshared_folders: {'.': /srv}\ndiscovery: http://127.0.0.1:9/token\n";
    for (yaml, prefix, count) in [plain, (all, "node", 2), (boxed, "core", 1), (nfs, "core", 12)] {
        let dir = Dir::new();
        dir.write("lab.yaml", yaml);
        dir.render(&[]);
        dir.validates();
        assert_eq!(dir.nodes(), names(prefix, count), "{yaml}");
        let serial = dir.path().join("vagrant/log").join(format!("{prefix}-01-serial.txt"));
        assert_eq!(serial.exists(), yaml.contains("enable_serial_logging: true"), "{yaml}");
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
    assert_eq!(dir.nodes(), names("core", 2));
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
    assert_eq!(dir.nodes(), names("core", 2));
}
