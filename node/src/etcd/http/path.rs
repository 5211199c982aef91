//! Paths as Go's mux sees them: unescaped, then cleaned or redirected.

/// Undoes percent-escapes. None where an escape is broken.
pub fn unescape(path: &str) -> Option<Vec<u8>> {
    let bytes = path.as_bytes();
    if !bytes.contains(&b'%') {
        return Some(bytes.to_vec());
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(hex(*bytes.get(at + 1)?)? << 4 | hex(*bytes.get(at + 2)?)?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(out)
}

pub fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// The path without `//`, `.` and `..`, a final slash kept. None when it is that already.
pub fn cleaned(path: &[u8]) -> Option<Vec<u8>> {
    if is_clean(path) {
        return None;
    }
    let mut out = join(path);
    if path.ends_with(b"/") && out != b"/" {
        out.push(b'/');
    }
    Some(out)
}

fn is_clean(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let empty_inside = segment.is_empty() && segments.peek().is_some();
        if empty_inside || segment == b"." || segment == b".." {
            return false;
        }
    }
    true
}

/// The absolute path these segments lead to, without a final slash.
pub fn join(path: &[u8]) -> Vec<u8> {
    let mut ends = Vec::new();
    let mut out = Vec::with_capacity(path.len() + 1);
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => out.truncate(ends.pop().unwrap_or(0)),
            name => {
                ends.push(out.len());
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Escapes a path for a Location header.
pub fn escape(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b'$'
            | b'&'
            | b'+'
            | b','
            | b'/'
            | b':'
            | b';'
            | b'='
            | b'@' => out.push(*byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_like_go() {
        assert_eq!(cleaned(b"/a/../b"), Some(b"/b".to_vec()));
        assert_eq!(cleaned(b"/a//b/"), Some(b"/a/b/".to_vec()));
        assert_eq!(cleaned(b"/a/./b"), Some(b"/a/b".to_vec()));
        assert_eq!(cleaned(b"/../../x"), Some(b"/x".to_vec()));
        assert_eq!(cleaned(b"/a/.."), Some(b"/".to_vec()));
        assert_eq!(cleaned(b"/a/b/"), None);
        assert_eq!(cleaned(b"/"), None);
        assert_eq!(cleaned(b"/..."), None);
    }

    #[test]
    fn a_broken_escape_is_refused() {
        assert_eq!(unescape("/a%2Fb"), Some(b"/a/b".to_vec()));
        assert_eq!(unescape("/a%zz"), None);
        assert_eq!(unescape("/a%2"), None);
    }
}
