//! How machines are reached: fleetctl's flags and variables, and ssh's configuration where they leave room.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Failure;
use crate::cloudinit::log;
use crate::ssh::Error;
use crate::ssh::client::{Checking, Target};
use crate::ssh::config::{self, HostConfig};
use crate::ssh::proxy::Proxy;

const KNOWN_HOSTS: &str = "~/.fleetctl/known_hosts";
const USER: &str = "core";
const TIMEOUT: f64 = 10.0;
const PORT: u16 = 22;

#[derive(Clone, Debug)]
pub struct SshSettings {
    pub tunnel: Option<String>,
    /// None: ssh's configuration says, or fleet's own default.
    pub known_hosts_file: Option<String>,
    pub strict_host_key_checking: bool,
    pub ssh_timeout: Duration,
    /// None: ssh's configuration says, or fleet's own default.
    pub username: Option<String>,
    pub identity: Vec<PathBuf>,
    /// None: the user's own, if it is there.
    pub ssh_config: Option<PathBuf>,
    pub home: PathBuf,
    pub agent: Option<PathBuf>,
}

impl SshSettings {
    /// `given` is what a flag, or else its variable, says; none where neither is there.
    pub fn new(given: &dyn Fn(&str) -> Option<String>, env: &[(String, String)]) -> Result<SshSettings, Failure> {
        let set = |name: &str| given(name).filter(|value| !value.is_empty());
        let variable = |name: &str| {
            let found = env.iter().find(|(have, value)| have == name && !value.is_empty());
            found.map(|(_, value)| PathBuf::from(value))
        };
        let invalid = |name: &str, value: &str| Failure {
            status: 2,
            text: format!("invalid value {value:?} for flag -{name}: parse error\n"),
        };
        let strict = match set("strict-host-key-checking").as_deref() {
            None | Some("1" | "t" | "T" | "TRUE" | "true" | "True") => true,
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => false,
            Some(other) => return Err(invalid("strict-host-key-checking", other)),
        };
        let seconds = match set("ssh-timeout") {
            None => TIMEOUT,
            Some(text) => {
                let seconds = text.parse().ok().filter(|seconds: &f64| (0.0..1e9).contains(seconds));
                seconds.ok_or_else(|| invalid("ssh-timeout", &text))?
            }
        };
        let home = variable("HOME").unwrap_or_else(|| "/".into());
        let path = |text: String| tilde(&text, &home);
        Ok(SshSettings {
            tunnel: set("tunnel"),
            known_hosts_file: set("known-hosts-file"),
            strict_host_key_checking: strict,
            ssh_timeout: Duration::from_secs_f64(seconds),
            username: set("ssh-username"),
            identity: set("identity").map(path).into_iter().collect(),
            ssh_config: set("ssh-config").map(path),
            agent: variable("SSH_AUTH_SOCK"),
            home: home.clone(),
        })
    }

    /// What is to be done to reach `place`, a host with or without a port, at `port` where it names none.
    pub fn target(&self, place: &str, port: Option<u16>) -> Result<Target, Error> {
        let (name, own) = split(place)?;
        let config = self.host_config(name)?;
        let host = config.host_name.clone().unwrap_or_else(|| name.to_string());
        let host = config::expand(&host, name, PORT, "", name);
        // A port that differs from the default was asked for.
        let asked = own.or(port.filter(|port| *port != PORT));
        let port = asked.or(config.port).unwrap_or(PORT);
        let user = self.username.clone().or(config.user).unwrap_or_else(|| USER.into());
        let known_hosts = self.known_hosts_file.clone().or(config.known_hosts);
        let checking = match (self.strict_host_key_checking, config.strict.as_deref()) {
            (false, _) | (true, Some("no" | "off")) => Checking::Off,
            (true, Some("yes")) => Checking::Refuse,
            _ => Checking::Ask,
        };
        let mut identities = self.identity.clone();
        identities.extend(config.identities.iter().map(|file| {
            let file = config::expand(file, &host, port, &user, name);
            tilde(&file, &self.home)
        }));
        let command = config.proxy_command.filter(|command| command != "none");
        let proxy = command.map(|command| Proxy {
            command: config::expand(&command, &host, port, &user, name),
            fdpass: config.proxy_fdpass == Some(true),
        });
        Ok(Target {
            known_hosts: tilde(known_hosts.as_deref().unwrap_or(KNOWN_HOSTS), &self.home),
            checking,
            agent: self.agent.clone(),
            identities,
            identities_only: config.identities_only == Some(true),
            proxy,
            timeout: self.ssh_timeout,
            forward_agent: false,
            warn: |text| log::say(&format!("WARN known_hosts.go:225: {text}")),
            host,
            port,
            user,
        })
    }

    fn host_config(&self, host: &str) -> Result<HostConfig, Error> {
        let own = self.home.join(".ssh/config");
        let file = self.ssh_config.as_deref().unwrap_or(&own);
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(_) if self.ssh_config.is_none() => return Ok(HostConfig::default()),
            Err(error) => {
                let why = crate::cloudconfig::go::errno(&error);
                return Err(Error(format!("--ssh-config {}: {why}", file.display())));
            }
        };
        Ok(config::read(&text, host, &|pattern| self.included(pattern)))
    }

    /// The texts of what an Include names: paths are of ~/.ssh, stars only in a file's name.
    fn included(&self, pattern: &str) -> Vec<String> {
        let path = self.home.join(".ssh").join(tilde(pattern, &self.home));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = |file: &Path| fs::read_to_string(file).ok();
        if !name.contains(['*', '?']) {
            return read(&path).into_iter().collect();
        }
        let listed = path.parent().and_then(|dir| fs::read_dir(dir).ok());
        let mut files: Vec<PathBuf> = listed
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.retain(|file| {
            let found = file.file_name().unwrap_or_default().to_string_lossy();
            !found.starts_with('.') && crate::ssh::known_hosts::wildcard(&name, &found)
        });
        files.sort();
        files.iter().filter_map(|file| read(file)).collect()
    }
}

fn tilde(path: &str, home: &Path) -> PathBuf {
    match path.strip_prefix('~') {
        Some("") => home.to_path_buf(),
        Some(rest) if rest.starts_with('/') => home.join(&rest[1..]),
        _ => path.into(),
    }
}

/// `host`, `host:port`, `[v6]:port`, or a bare v6 address.
fn split(place: &str) -> Result<(&str, Option<u16>), Error> {
    let parse = |port: &str| {
        let parsed = port.parse::<u16>();
        parsed.map_err(|_| Error(format!("dial tcp: address {place}: invalid port {port:?}")))
    };
    if let Some((host, rest)) = place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(parse(port)?))),
            None => Ok((host, None)),
        };
    }
    match place.split_once(':') {
        Some((host, port)) if !port.contains(':') => Ok((host, Some(parse(port)?))),
        _ => Ok((place, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(given: &[(&str, &str)], home: &Path) -> SshSettings {
        let given = |name: &str| {
            let found = given.iter().find(|(flag, _)| *flag == name);
            found.map(|(_, value)| value.to_string())
        };
        let env = [("HOME".to_string(), home.display().to_string())];
        SshSettings::new(&given, &env).expect("settings")
    }

    #[test]
    fn fleets_defaults_hold_where_nothing_is_said() {
        let home = tempfile::tempdir().expect("a directory");
        let target = settings(&[], home.path()).target("10.0.0.1", None).expect("a target");
        assert_eq!(
            (target.host.as_str(), target.port, target.user.as_str()),
            ("10.0.0.1", 22, "core")
        );
        assert_eq!(target.known_hosts, home.path().join(".fleetctl/known_hosts"));
        assert_eq!(
            (target.checking, target.timeout),
            (Checking::Ask, Duration::from_secs(10))
        );
        assert_eq!((target.agent, target.proxy, target.identities.len()), (None, None, 0));
        for (place, host, port) in [("h:2222", "h", 2222), ("[::1]:23", "::1", 23), ("::1", "::1", 22)] {
            let target = settings(&[], home.path()).target(place, None).expect("a target");
            assert_eq!((target.host.as_str(), target.port), (host, port));
        }
        assert!(settings(&[], home.path()).target("h:ssh", None).is_err());
    }

    #[test]
    fn sshs_configuration_fills_in_and_flags_win() {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir(home.path().join(".ssh")).expect("a directory");
        fs::write(home.path().join(".ssh/config"), "Include lab/*.conf\n").expect("write");
        fs::create_dir(home.path().join(".ssh/lab")).expect("a directory");
        let block = "Host core-01\nHostName 172.17.8.101\nUser me\nPort 2222\nIdentityFile ~/id\nUserKnownHostsFile /k\n\
            StrictHostKeyChecking yes\nProxyCommand lab proxy %h %p\nProxyUseFdpass yes\n";
        fs::write(home.path().join(".ssh/lab/a.conf"), block).expect("write");
        let target = settings(&[], home.path()).target("core-01", None).expect("a target");
        assert_eq!(
            (target.host.as_str(), target.port, target.user.as_str()),
            ("172.17.8.101", 2222, "me")
        );
        assert_eq!(
            (target.known_hosts, target.checking),
            (PathBuf::from("/k"), Checking::Refuse)
        );
        assert_eq!(target.identities, [home.path().join("id")]);
        let proxy = Proxy {
            command: "lab proxy 172.17.8.101 2222".into(),
            fdpass: true,
        };
        assert_eq!(target.proxy, Some(proxy));
        let given = [
            ("ssh-username", "core"),
            ("known-hosts-file", "~/mine"),
            ("strict-host-key-checking", "false"),
            ("identity", "/own"),
        ];
        let target = settings(&given, home.path())
            .target("core-01:22", None)
            .expect("a target");
        assert_eq!(
            (target.user.as_str(), target.port, target.checking),
            ("core", 22, Checking::Off)
        );
        assert_eq!(target.known_hosts, home.path().join("mine"));
        assert_eq!(target.identities[0], PathBuf::from("/own"));
        let missing = settings(&[("ssh-config", "/not/there")], home.path()).target("core-01", None);
        let error = missing.expect_err("no such file").to_string();
        assert_eq!(error, "--ssh-config /not/there: no such file or directory");
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for (flag, value) in [
            ("strict-host-key-checking", "maybe"),
            ("ssh-timeout", "soon"),
            ("ssh-timeout", "-1"),
        ] {
            let given = |name: &str| (name == flag).then(|| value.to_string());
            let failure = SshSettings::new(&given, &[]).expect_err("refused");
            assert_eq!(failure.status, 2);
            assert!(
                failure.text.contains(flag) && failure.text.contains(value),
                "{}",
                failure.text
            );
        }
    }
}
