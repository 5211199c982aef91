//! known_hosts: the lab's own, and other people's in which rebuilt nodes change (pure).

/// A node's host key, under every name that it is reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `172.17.8.101`, `core-01`, `[127.0.0.1]:2222`
    pub names: Vec<String>,
    /// `ssh-ed25519 AAAA...`, no comment
    pub key: String,
}

pub fn render(hosts: &[Host]) -> String {
    hosts
        .iter()
        .map(|host| format!("{} {}\n", host.names.join(","), host.key))
        .collect()
}

/// Other people's file with the entries of these hosts as they are now; entries of others stay byte for byte.
pub fn replace(text: &str, hosts: &[Host]) -> String {
    let mut kept = forget(text, hosts);
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    kept + &render(hosts)
}

/// Other people's file without these hosts.
pub fn forget(text: &str, hosts: &[Host]) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter_map(|line| without(line, hosts)).collect()
}

/// The line without these hosts; none, if it had no others.
fn without(line: &str, hosts: &[Host]) -> Option<String> {
    let ours = |name: &str| hosts.iter().any(|host| host.names.iter().any(|own| own == name));
    let content = line.trim_start();
    let Some((names, rest)) = content.split_once([' ', '\t']) else {
        return Some(line.to_string());
    };
    // Comments, @cert-authority and @revoked lines, hashed names.
    if names.starts_with(['#', '@', '|']) || !names.split(',').any(ours) {
        return Some(line.to_string());
    }
    let others: Vec<&str> = names.split(',').filter(|name| !ours(name)).collect();
    (!others.is_empty()).then(|| format!("{} {rest}", others.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, key: &str) -> Host {
        Host {
            names: vec![name.to_string(), format!("[{name}]:22")],
            key: format!("ssh-ed25519 {key}"),
        }
    }

    #[test]
    fn a_rebuilt_node_has_its_new_key_and_others_keep_theirs() {
        let old =
            "# mine\n172.17.8.101 ssh-rsa OLD\nother,172.17.8.101 ssh-rsa O2 me\n|1|hash ssh-rsa X\nhost ssh-rsa Y";
        let expected = "# mine\nother ssh-rsa O2 me\n|1|hash ssh-rsa X\nhost ssh-rsa Y\n172.17.8.101,[172.17.8.101]:22 ssh-ed25519 NEW\n";
        assert_eq!(replace(old, &[host("172.17.8.101", "NEW")]), expected);
    }

    #[test]
    fn saying_it_twice_changes_nothing_more() {
        let hosts = [host("a", "A"), host("b", "B")];
        let once = replace("x ssh-rsa X\n", &hosts);
        assert_eq!(replace(&once, &hosts), once);
        assert_eq!(forget(&once, &hosts), "x ssh-rsa X\n");
        assert_eq!(forget("", &hosts), "");
    }

    proptest::proptest! {
        #[test]
        fn nothing_of_others_is_touched(text in "([#@|a-c, .0-9]{0,12}\n?){0,6}") {
            proptest::prop_assert_eq!(forget(&text, &[host("172.17.8.101", "K")]), text);
        }
    }
}
