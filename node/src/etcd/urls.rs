//! The addresses in etcd's flags: `http://host:port` and nothing more, with etcd's words for what is wrong.
use std::fmt;
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
}

/// Shown exactly as it was typed: member ids are hashes over this text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub scheme: Scheme,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    text: String,
}

impl Url {
    pub fn parse(input: &str) -> Result<Url, String> {
        let input = input.trim();
        let bad = |what: &str| format!("parse {input:?}: {what}");
        if input.chars().any(|c| c.is_ascii_control()) {
            return Err(bad("net/url: invalid control character in URL"));
        }
        let (scheme_text, rest) = split_scheme(input).map_err(bad)?;
        check_characters(rest).map_err(|what| bad(&what))?;
        let scheme = match scheme_text.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(format!("URL scheme must be http or https: {input}")),
        };
        let form = || format!("URL address does not have the form \"host:port\": {input}");
        let authority_and_path = rest.strip_prefix("//").ok_or_else(form)?;
        let end = authority_and_path
            .find(['/', '?', '#'])
            .unwrap_or(authority_and_path.len());
        let (authority, path) = authority_and_path.split_at(end);
        if authority.contains('@') {
            return Err(format!(
                "URL must not contain a user name or a password: {scheme_text}://..@{}",
                after_at(authority)
            ));
        }
        let (host, port_text) = split_host_port(authority).map_err(|e| match e {
            HostPort::Form => form(),
            HostPort::Port(p) => bad(&format!("invalid port {p:?} after host")),
            HostPort::Bracket => bad("missing ']' in host"),
        })?;
        if !path.is_empty() {
            return Err(format!("URL must not contain a path: {input}"));
        }
        let port = port_text
            .parse::<u16>()
            .map_err(|_| bad(&format!("invalid port {port_text:?}, want 0 to 65535")))?;
        Ok(Url {
            scheme,
            host: host.into(),
            port,
            text: format!("{}:{rest}", scheme_text.to_ascii_lowercase()),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `host:port` as it stands in the text, fit for a connect or a bind.
    pub fn address(&self) -> &str {
        self.text.split_once("://").map_or("", |(_, rest)| rest)
    }

    /// A listener needs an address of this machine. A name other than localhost would bind to whatever it resolves to today.
    pub fn can_bind(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A comma-separated list, sorted as etcd sorts it.
pub fn parse_list(input: &str) -> Result<Vec<Url>, String> {
    sorted(input.split(','))
}

pub fn sorted<'a>(inputs: impl Iterator<Item = &'a str>) -> Result<Vec<Url>, String> {
    let mut urls = inputs.map(Url::parse).collect::<Result<Vec<_>, _>>()?;
    urls.sort_by(|a, b| a.text.cmp(&b.text));
    Ok(urls)
}

pub fn join(urls: &[Url]) -> String {
    urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
}

fn after_at(authority: &str) -> &str {
    authority.rsplit_once('@').map_or("", |(_, host)| host)
}

/// Go's rule: what precedes the first colon is a scheme if it looks like one.
fn split_scheme(input: &str) -> Result<(&str, &str), &'static str> {
    for (i, c) in input.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            ':' if i == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&input[..i], &input[i + 1..])),
            _ => break,
        }
    }
    match input.split(['/', '?', '#']).next() {
        Some(first) if first.contains(':') => Err("first path segment in URL cannot contain colon"),
        _ => Ok(("", input)),
    }
}

/// What Go's parser minds in an address whatever its scheme: characters that no host has, and broken escapes.
fn check_characters(rest: &str) -> Result<(), String> {
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(wrong) = host.chars().find(|c| r" \^`{|}".contains(*c)) {
        return Err(format!("invalid character {:?} in host name", wrong.to_string()));
    }
    for text in [host, path] {
        for (at, _) in text.match_indices('%') {
            let escape = &text.as_bytes()[at..text.len().min(at + 3)];
            if escape.len() < 3 || !escape[1..].iter().all(u8::is_ascii_hexdigit) {
                return Err(format!("invalid URL escape {:?}", String::from_utf8_lossy(escape)));
            }
        }
    }
    Ok(())
}

enum HostPort<'a> {
    Form,
    Bracket,
    Port(&'a str),
}

fn split_host_port(authority: &str) -> Result<(&str, &str), HostPort<'_>> {
    let (host, colon_port) = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or(HostPort::Bracket)?,
        None => authority.split_at(authority.rfind(':').ok_or(HostPort::Form)?),
    };
    let port = match colon_port.strip_prefix(':') {
        Some(port) => port,
        None if colon_port.is_empty() => return Err(HostPort::Form),
        None => return Err(HostPort::Port(colon_port)),
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostPort::Port(colon_port));
    }
    if port.is_empty() || (host.contains(':') && !authority.starts_with('[')) {
        return Err(HostPort::Form);
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_as_it_was_typed() {
        for text in [
            "http://localhost:2380",
            "https://10.0.0.1:0",
            "http://[::1]:2379",
            "http://[::]:4001",
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_ipv6_host_loses_its_brackets_but_the_address_keeps_them() {
        let url = Url::parse("http://[::1]:2379").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.address()),
            ("::1", 2379, "[::1]:2379")
        );
    }

    #[test]
    fn blanks_around_a_url_and_the_case_of_its_scheme_do_not_matter() {
        assert_eq!(Url::parse(" HTTP://a:1 ").unwrap().as_str(), "http://a:1");
    }

    #[test]
    fn a_list_is_sorted() {
        assert_eq!(
            join(&parse_list("http://b:1,http://a:1").unwrap()),
            "http://a:1,http://b:1"
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_etcds_words() {
        let cases = [
            ("", "URL scheme must be http or https: "),
            ("x", "URL scheme must be http or https: x"),
            ("localhost:2379", "URL scheme must be http or https: localhost:2379"),
            ("unix://a:1", "URL scheme must be http or https: unix://a:1"),
            (
                "127.0.0.1:2379",
                r#"parse "127.0.0.1:2379": first path segment in URL cannot contain colon"#,
            ),
            ("://a:1", r#"parse "://a:1": missing protocol scheme"#),
            (
                "http://127.0.0.1",
                r#"URL address does not have the form "host:port": http://127.0.0.1"#,
            ),
            (
                "http:127.0.0.1:1",
                r#"URL address does not have the form "host:port": http:127.0.0.1:1"#,
            ),
            ("http://", r#"URL address does not have the form "host:port": http://"#),
            (
                "http://a:",
                r#"URL address does not have the form "host:port": http://a:"#,
            ),
            (
                "http://::1:1",
                r#"URL address does not have the form "host:port": http://::1:1"#,
            ),
            (
                "http://127.0.0.1:xx",
                r#"parse "http://127.0.0.1:xx": invalid port ":xx" after host"#,
            ),
            (
                "http://a:70000",
                r#"parse "http://a:70000": invalid port "70000", want 0 to 65535"#,
            ),
            (
                "http://a b:1",
                r#"parse "http://a b:1": invalid character " " in host name"#,
            ),
            ("http://a%zz:1", r#"parse "http://a%zz:1": invalid URL escape "%zz""#),
            ("%zz", r#"parse "%zz": invalid URL escape "%zz""#),
            ("http://[::1", r#"parse "http://[::1": missing ']' in host"#),
            (
                "http://127.0.0.1:1/a",
                "URL must not contain a path: http://127.0.0.1:1/a",
            ),
            (
                "http://127.0.0.1:1/",
                "URL must not contain a path: http://127.0.0.1:1/",
            ),
            (
                "http://u:secret@a:1",
                "URL must not contain a user name or a password: http://..@a:1",
            ),
        ];
        for (input, want) in cases {
            assert_eq!(Url::parse(input).unwrap_err(), want, "{input}");
        }
    }
}
