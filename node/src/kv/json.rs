//! JSON as Go's encoding/json writes it, HTML escapes included.
use std::io::Write;

/// Appends `bytes` as they stand inside a JSON string. Each byte that is not UTF-8 becomes `\ufffd`.
pub(super) fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    // The usual case, checked several times faster than chunk by chunk.
    if let Ok(text) = std::str::from_utf8(bytes) {
        return escape_str(out, text);
    }
    for chunk in bytes.utf8_chunks() {
        escape_str(out, chunk.valid());
        // Go replaces an unfinished sequence byte by byte.
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// The bytes at which copying has to stop: those to be escaped, and the first of U+2028.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        special[byte] = matches!(byte as u8, 0x00..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        byte += 1;
    }
    special
};

fn escape_str(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain = 0;
    let mut from = 0;
    while let Some(ahead) = bytes[from..].iter().position(|&byte| SPECIAL[usize::from(byte)]) {
        let at = from + ahead;
        let byte = bytes[at];
        from = at + 1;
        let width = match byte {
            // U+2028 and U+2029 end a line in JavaScript.
            0xe2 if matches!(bytes[at + 1..at + 3], [0x80, 0xa8 | 0xa9]) => 3,
            0xe2 => continue,
            _ => 1,
        };
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + width;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xe2 => out.extend_from_slice(if bytes[at + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" }),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.extend_from_slice(&bytes[plain..]);
}

pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    escape(out, bytes);
    out.push(b'"');
}

pub(super) fn number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{number}");
}

/// An object under construction: puts the commas.
pub(super) struct Object<'a> {
    pub out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes the name; the caller writes the value to what it gets back.
    pub fn field(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub fn close(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_those_recorded_from_etcd() {
        assert_eq!(
            escaped(b"\"\\\n\t\r\x01\x08\x0c\x1f\x7f"),
            r#"\"\\\n\t\r\u0001\u0008\u000c\u001f"#.to_owned() + "\x7f"
        );
        assert_eq!(
            escaped(b"<a href=\"x\">&</a>"),
            "\\u003ca href=\\\"x\\\"\\u003e\\u0026\\u003c/a\\u003e"
        );
        assert_eq!(
            escaped("a\u{2028}b\u{2029}c\u{2030}".as_bytes()),
            "a\\u2028b\\u2029c\u{2030}"
        );
        assert_eq!(escaped("grün 漢 😀".as_bytes()), "grün 漢 😀");
    }

    #[test]
    fn every_invalid_byte_becomes_one_replacement() {
        assert_eq!(escaped(b"\xff"), "\\ufffd");
        assert_eq!(escaped(b"a\xe2\x82z"), "a\\ufffd\\ufffdz");
        assert_eq!(escaped(b"\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd");
        assert_eq!(escaped(b"\xf0\x9f\x98"), "\\ufffd\\ufffd\\ufffd");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_back_from_its_json(text: String) {
            let mut out = Vec::new();
            string(&mut out, text.as_bytes());
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn any_bytes_give_ascii_or_utf8(bytes: Vec<u8>) {
            let mut out = Vec::new();
            string(&mut out, &bytes);
            proptest::prop_assert!(serde_json::from_slice::<String>(&out).is_ok());
        }
    }
}
