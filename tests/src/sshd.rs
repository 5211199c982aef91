//! A real sshd on a port of its own, with keys of its own, and an ssh-agent: nothing of the machine's is used.
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::ports::{self, Port};
use crate::process::Process;
use crate::tools;

pub const KINDS: [&str; 3] = ["ecdsa", "ed25519", "rsa"];

pub struct Sshd {
    pub dir: TempDir,
    pub port: Port,
    _process: Process,
}

impl Sshd {
    /// Lets root in with `key`, and shows the host keys of `kinds`. Commands find programs in `programs` first.
    #[track_caller]
    pub fn start(key: &Path, kinds: &[&str], programs: &Path) -> Sshd {
        let dir = tempfile::tempdir().expect("a directory");
        // sshd wants it to be there, and the package's service makes it.
        fs::create_dir_all("/run/sshd").expect("make sshd's directory");
        let public = fs::read(key.with_extension("pub")).expect("the public key");
        fs::write(dir.path().join("authorized_keys"), public).expect("write the authorized keys");
        let port = ports::claim();
        let mut config = format!(
            "Port {}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n\
             PermitRootLogin prohibit-password\nAuthorizedKeysFile {}/authorized_keys\nPrintMotd no\nPrintLastLog no\n\
             SetEnv PATH={}:/usr/local/bin:/usr/bin:/bin:/usr/sbin\n",
            port.number,
            dir.path().display(),
            programs.display(),
        );
        for kind in kinds {
            keygen(kind, &dir.path().join(kind), "");
            config += &format!("HostKey {}/{kind}\n", dir.path().display());
        }
        let file = dir.path().join("sshd_config");
        fs::write(&file, config).expect("write the configuration");
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(&file);
        let mut process = Process::spawn(command, &dir.path().join("log"));
        process.wait_log("Server listening on 127.0.0.1");
        Sshd {
            dir,
            port,
            _process: process,
        }
    }

    /// How known_hosts calls it.
    pub fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port.number)
    }

    /// `ssh-rsa AAAA...`
    pub fn public(&self, kind: &str) -> String {
        let text = fs::read_to_string(self.dir.path().join(format!("{kind}.pub"))).expect("a public key");
        let fields: Vec<&str> = text.split_ascii_whitespace().take(2).collect();
        fields.join(" ")
    }

    /// In MD5, as ssh-keygen says it.
    pub fn fingerprint(&self, kind: &str) -> String {
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-l", "-E", "md5", "-f"])
            .arg(self.dir.path().join(format!("{kind}.pub")));
        let text = String::from_utf8_lossy(&tools::run(&mut command).stdout).into_owned();
        let field = text.split_ascii_whitespace().nth(1).unwrap_or_default();
        field.trim_start_matches("MD5:").to_string()
    }
}

#[track_caller]
pub fn keygen(kind: &str, file: &Path, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "of-the-test", "-f"])
        .arg(file);
    let output = tools::run(&mut command);
    assert!(output.status.success(), "{}", tools::outputs(&output));
}

pub struct Agent {
    pub socket: PathBuf,
    _process: Process,
}

impl Agent {
    #[track_caller]
    pub fn start(dir: &Path, keys: &[&Path]) -> Agent {
        let socket = dir.join("agent");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        let process = Process::spawn(command, &dir.join("agent.log"));
        // The socket is there a moment before it is listened on.
        crate::eventually("the agent listens", || UnixStream::connect(&socket).ok());
        for key in keys {
            let mut add = Command::new("ssh-add");
            add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket);
            let output = tools::run(&mut add);
            assert!(output.status.success(), "{}", tools::outputs(&output));
        }
        Agent {
            socket,
            _process: process,
        }
    }
}
