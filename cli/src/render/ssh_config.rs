//! ssh's configuration for the nodes: Vagrant's keys in Vagrant's order, and its installation (pure).
use std::fmt::Write;

/// How one node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A name, or several with blanks between them.
    pub host: String,
    pub host_name: String,
    pub port: u16,
    pub known_hosts: String,
    pub identity: String,
    /// Runs instead of a connection to the host's name, and hands over a connected socket.
    pub proxy_command: Option<String>,
}

pub fn render(entries: &[Entry]) -> String {
    entries.iter().map(block).collect()
}

/// Like Vagrant's, with two lines less of blind trust: the host keys are known before a node boots.
fn block(entry: &Entry) -> String {
    let mut text = format!("Host {}\n", entry.host);
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "  {key} {value}");
    };
    line("HostName", &entry.host_name);
    line("User", "core");
    line("Port", &entry.port.to_string());
    line("UserKnownHostsFile", &quoted(&entry.known_hosts));
    line("StrictHostKeyChecking", "yes");
    line("PasswordAuthentication", "no");
    line("IdentityFile", &quoted(&entry.identity));
    line("IdentitiesOnly", "yes");
    line("LogLevel", "FATAL");
    line("ForwardAgent", "yes");
    if let Some(command) = &entry.proxy_command {
        line("ProxyCommand", command);
        line("ProxyUseFdpass", "yes");
    }
    text.push('\n');
    text
}

/// A path as ssh takes it: quoted if it has a space, and no % of its own.
pub fn quoted(path: &str) -> String {
    let path = path.replace('%', "%%");
    match path.contains([' ', '\t', '#']) {
        true => format!("\"{path}\""),
        false => path,
    }
}

/// The line that `--install` puts before everything else: ssh takes the first value that it meets, and behind a `Host`
/// line an Include belongs to that host.
fn include(file: &str) -> String {
    format!("Include {}\n", quoted(file))
}

/// ~/.ssh/config with the lab's file included.
pub fn install(config: &str, file: &str) -> String {
    let line = include(file);
    match config.split_inclusive('\n').any(|have| have == line) {
        true => config.to_string(),
        false => line + config,
    }
}

/// ~/.ssh/config as it was.
pub fn uninstall(config: &str, file: &str) -> String {
    let line = include(file);
    config.split_inclusive('\n').filter(|have| *have != line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_vagrants() {
        let entry = Entry {
            host: "core-01".into(),
            host_name: "172.17.8.101".into(),
            port: 22,
            known_hosts: "/a b/known_hosts".into(),
            identity: "/lab/id".into(),
            proxy_command: Some("lab proxy %h %p".into()),
        };
        let expected = "\
Host core-01
  HostName 172.17.8.101
  User core
  Port 22
  UserKnownHostsFile \"/a b/known_hosts\"
  StrictHostKeyChecking yes
  PasswordAuthentication no
  IdentityFile /lab/id
  IdentitiesOnly yes
  LogLevel FATAL
  ForwardAgent yes
  ProxyCommand lab proxy %h %p
  ProxyUseFdpass yes

";
        assert_eq!(render(std::slice::from_ref(&entry)), expected);
        let plain = Entry {
            proxy_command: None,
            ..entry
        };
        assert!(render(&[plain]).ends_with("  ForwardAgent yes\n\n"));
    }

    #[test]
    fn installing_twice_is_installing_once() {
        let once = install("Host x\n", "/lab/ssh-config");
        assert_eq!(once, "Include /lab/ssh-config\nHost x\n");
        assert_eq!(install(&once, "/lab/ssh-config"), once);
    }

    proptest::proptest! {
        #[test]
        fn uninstalling_gives_back_every_byte(config in "(Host [a-z]{1,3}\r?\n|  Port 22\n|\n|[^\n]{0,20}){0,8}", file in "/[a-z %#]{1,8}") {
            proptest::prop_assert_eq!(uninstall(&install(&config, &file), &file), config);
        }

        #[test]
        fn two_labs_do_not_disturb_each_other(config in "[a-z \n]{0,20}") {
            let both = install(&install(&config, "/a"), "/b");
            proptest::prop_assert_eq!(uninstall(&uninstall(&both, "/a"), "/b"), config);
        }
    }
}
