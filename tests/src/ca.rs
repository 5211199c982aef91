//! Certificates for tests, made by etcd-ca in a directory that goes away.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::tools;

pub struct Ca {
    dir: TempDir,
    pub crt: PathBuf,
}

/// A host's files, fit for `--cert-file` and `--key-file`.
#[derive(Clone)]
pub struct Host {
    pub crt: PathBuf,
    pub key: PathBuf,
}

impl Default for Ca {
    #[track_caller]
    fn default() -> Ca {
        let dir = tempfile::Builder::new().prefix("corelab-ca-").tempdir();
        let dir = dir.expect("a temporary directory");
        let ca = Ca {
            crt: dir.path().join("depot/ca.crt"),
            dir,
        };
        ca.run(&["init", "--key-bits", "2048", "--passphrase", ""]);
        ca
    }
}

impl Ca {
    /// A signed certificate for `ip`, and its key without encryption.
    #[track_caller]
    pub fn host(&self, name: &str, ip: &str) -> Host {
        self.run(&["new-cert", name, "--ip", ip, "--key-bits", "2048", "--passphrase", ""]);
        self.run(&["sign", name, "--passphrase", ""]);
        let tar = self.dir.path().join(format!("{name}.tar"));
        fs::write(
            &tar,
            self.run(&["export", "--insecure", "--passphrase", "", name]).stdout,
        )
        .expect("write a tar file");
        let mut untar = Command::new("tar");
        untar.arg("-C").arg(self.dir.path()).arg("-xf").arg(tar);
        let output = tools::run(&mut untar);
        assert!(output.status.success(), "{}", tools::outputs(&output));
        Host {
            crt: self.dir.path().join(format!("{name}.crt")),
            key: self.dir.path().join(format!("{name}.key.insecure")),
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(tools::labnode());
        command
            .arg("etcd-ca")
            .arg("--depot-path")
            .arg(self.dir.path().join("depot"));
        let output = tools::run(command.args(args));
        assert!(output.status.success(), "{args:?}: {}", tools::outputs(&output));
        output
    }
}

impl Host {
    /// Puts another host's certificate in place of this one, the key first, as people do.
    #[track_caller]
    pub fn replace_with(&self, other: &Host) {
        fs::copy(&other.key, &self.key).expect("copy a key");
        fs::copy(&other.crt, &self.crt).expect("copy a certificate");
    }
}
