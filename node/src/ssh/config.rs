//! What ssh's own configuration says of a host: the settings that `lab ssh-config` writes, and Include (pure).
use super::known_hosts::wildcard;

/// As written: paths may begin with `~`, commands hold `%h`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    pub host_name: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identities: Vec<String>,
    pub identities_only: Option<bool>,
    pub known_hosts: Option<String>,
    /// `yes`, `no`, `ask`...
    pub strict: Option<String>,
    pub proxy_command: Option<String>,
    pub proxy_fdpass: Option<bool>,
}

/// How deep files include each other, as in OpenSSH.
const DEEPEST: usize = 16;

/// Reads what is meant for `host`: of a setting that is there twice, the first counts. `include` gives the texts of the
/// files that a pattern names.
pub fn read(text: &str, host: &str, include: &dyn Fn(&str) -> Vec<String>) -> HostConfig {
    let mut config = HostConfig::default();
    collect(&mut config, text, host, include, true, 0);
    config
}

fn collect(
    config: &mut HostConfig,
    text: &str,
    host: &str,
    include: &dyn Fn(&str) -> Vec<String>,
    outer: bool,
    depth: usize,
) {
    let mut meant = outer;
    for line in text.lines() {
        let words = words(line);
        let Some((key, values)) = words.split_first() else {
            continue;
        };
        match key.to_ascii_lowercase().as_str() {
            "host" => meant = outer && hosts(values, host),
            // Its conditions may run commands: only the one without any is met.
            "match" => meant = outer && matches!(values, [all] if all.eq_ignore_ascii_case("all")),
            "include" if meant && depth < DEEPEST => {
                for text in values.iter().flat_map(|pattern| include(pattern)) {
                    collect(config, &text, host, include, true, depth + 1);
                }
            }
            key if meant => set(config, key, values, rest(line)),
            _ => {}
        }
    }
}

fn hosts(patterns: &[String], host: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(not) if wildcard(not, host) => return false,
            Some(_) => {}
            None => found |= wildcard(pattern, host),
        }
    }
    found
}

fn set(config: &mut HostConfig, key: &str, values: &[String], rest: &str) {
    let Some(value) = values.first() else {
        return;
    };
    let yes = || value.eq_ignore_ascii_case("yes") || value.eq_ignore_ascii_case("true");
    match key {
        "hostname" => config.host_name = config.host_name.take().or_else(|| Some(value.clone())),
        "user" => config.user = config.user.take().or_else(|| Some(value.clone())),
        "port" => config.port = config.port.or_else(|| value.parse().ok()),
        "identityfile" => config.identities.push(value.clone()),
        "identitiesonly" => config.identities_only = config.identities_only.or_else(|| Some(yes())),
        "userknownhostsfile" => config.known_hosts = config.known_hosts.take().or_else(|| Some(value.clone())),
        "stricthostkeychecking" => config.strict = config.strict.take().or_else(|| Some(value.to_ascii_lowercase())),
        // The rest of the line as it is: a shell reads it.
        "proxycommand" => config.proxy_command = config.proxy_command.take().or_else(|| Some(rest.to_string())),
        "proxyusefdpass" => config.proxy_fdpass = config.proxy_fdpass.or_else(|| Some(yes())),
        _ => {}
    }
}

/// Behind the keyword.
fn rest(line: &str) -> &str {
    let line = line.trim();
    let end = line.find([' ', '\t', '=']).unwrap_or(line.len());
    line[end..].trim_start_matches([' ', '\t', '='])
}

/// Words in quotes are one; `Key=value` is `Key value`.
fn words(line: &str) -> Vec<String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Vec::new();
    }
    let keyword = &line[..line.find([' ', '\t', '=']).unwrap_or(line.len())];
    let mut words = vec![keyword.to_string()];
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for c in rest(line).chars() {
        match c {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            ' ' | '\t' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            '#' if !quoted && !begun => break,
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// `%h`, `%p`, `%r`, `%n` of a command, `%%`; what else follows a `%` stays.
pub fn expand(text: &str, host: &str, port: u16, user: &str, original: &str) -> String {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('h') => out.push_str(host),
            Some('p') => out.push_str(&port.to_string()),
            Some('r') => out.push_str(user),
            Some('n') => out.push_str(original),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Vec<String> {
        Vec::new()
    }

    #[test]
    fn a_labs_block_is_read_whole() {
        let text = "Host core-01\n  HostName 172.17.8.101\n  User core\n  Port 22\n  UserKnownHostsFile \"/a b/known_hosts\"\n  \
            StrictHostKeyChecking yes\n  IdentityFile /lab/id\n  IdentitiesOnly yes\n  ProxyCommand lab proxy --fdpass %h %p\n  \
            ProxyUseFdpass yes\n\nHost core-02\n  HostName 172.17.8.102\n";
        let config = read(text, "core-01", &nothing);
        let expected = HostConfig {
            host_name: Some("172.17.8.101".into()),
            user: Some("core".into()),
            port: Some(22),
            identities: vec!["/lab/id".into()],
            identities_only: Some(true),
            known_hosts: Some("/a b/known_hosts".into()),
            strict: Some("yes".into()),
            proxy_command: Some("lab proxy --fdpass %h %p".into()),
            proxy_fdpass: Some(true),
        };
        assert_eq!(config, expected);
        assert_eq!(read(text, "core-03", &nothing), HostConfig::default());
    }

    #[test]
    fn the_first_value_counts_and_identities_add_up() {
        let text = "User=me\nIdentityFile a\nHost x* !xy\nUser you\nIdentityFile b # mine\nMatch exec \"true\"\nPort 1\nMatch all\nPort 2\n";
        let config = read(text, "xa", &nothing);
        assert_eq!((config.user.as_deref(), config.port), (Some("me"), Some(2)));
        assert_eq!(config.identities, ["a", "b"]);
        assert_eq!(read(text, "xy", &nothing).identities, ["a"]);
    }

    #[test]
    fn files_include_files_but_not_without_end() {
        let include = |pattern: &str| match pattern {
            "/lab/ssh config" => vec!["Host core-01\nPort 2222\n".to_string()],
            _ => vec![format!("Include {pattern}\n")],
        };
        let config = read("Include \"/lab/ssh config\"\nInclude /self\n", "core-01", &include);
        assert_eq!(config.port, Some(2222));
        let config = read("Host other\nInclude \"/lab/ssh config\"\n", "core-01", &include);
        assert_eq!(config.port, None);
    }

    #[test]
    fn commands_are_filled_in() {
        assert_eq!(
            expand("nc %h %p %r %n %% %z%", "h", 22, "core", "n"),
            "nc h 22 core n % %z%"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "((Host|Port|Include|Match|User)?[ =\"#a-c*!\n%]{0,6}){0,8}") {
            let _ = read(&text, "a", &nothing);
        }
    }
}
