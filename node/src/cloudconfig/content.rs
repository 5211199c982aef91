//! The encodings of write_files: base64, gzip, and one in the other.
use std::io::Read;

use flate2::read::GzDecoder;

use super::go::quote;

/// What a decompressed text may grow to; a cloud-config is kilobytes.
const MAX_SIZE: u64 = 64 << 20;

pub fn decode(content: &[u8], encoding: &str) -> Result<Vec<u8>, String> {
    match encoding {
        "" => Ok(content.to_vec()),
        "b64" | "base64" => decode_base64(content),
        "gz" | "gzip" => decode_gzip(content),
        "gz+base64" | "gzip+base64" | "gz+b64" | "gzip+b64" => decode_gzip(&decode_base64(content)?),
        other => Err(format!("Unsupported encoding {}", quote(other))),
    }
}

fn decode_base64(content: &[u8]) -> Result<Vec<u8>, String> {
    base64(content).map_err(|at| {
        let reason = format!("illegal base64 data at input byte {at}");
        format!("Unable to decode base64: {}", quote(&reason))
    })
}

/// A header that is none is an error, a body that breaks off is not: the original keeps what there is.
fn decode_gzip(content: &[u8]) -> Result<Vec<u8>, String> {
    if let Some(reason) = bad_header(content) {
        return Err(format!("Unable to decode gzip: {}", quote(reason)));
    }
    let mut out = Vec::new();
    let _ = GzDecoder::new(content).take(MAX_SIZE).read_to_end(&mut out);
    Ok(out)
}

fn bad_header(content: &[u8]) -> Option<&'static str> {
    match content.len() {
        0 => Some("EOF"),
        1..10 => Some("unexpected EOF"),
        _ if content[..3] != [0x1f, 0x8b, 8] => Some("gzip: invalid header"),
        _ => None,
    }
}

/// The whole of a gzip file; an error comes with what could be read before it.
pub fn gunzip(data: &[u8]) -> Result<Vec<u8>, (String, Vec<u8>)> {
    if let Some(reason) = bad_header(data) {
        return Err((reason.into(), Vec::new()));
    }
    let mut out = Vec::new();
    let why = match GzDecoder::new(data).take(MAX_SIZE + 1).read_to_end(&mut out) {
        Ok(_) if out.len() as u64 > MAX_SIZE => format!("gzip: grows to more than {} MiB", MAX_SIZE >> 20),
        Ok(_) => return Ok(out),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "unexpected EOF".into(),
        Err(error) if error.to_string().contains("crc") => "gzip: invalid checksum".into(),
        Err(_) => "flate: corrupt input".into(),
    };
    Err((why, out))
}

/// Standard base64 with line breaks anywhere; an error is the byte where Go's decoder gives up, which the messages name.
pub fn base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let skip = |mut at: usize| {
        while text.get(at).is_some_and(&is_break) {
            at += 1;
        }
        at
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut count, mut at) = (0u32, 0, 0);
    while at < text.len() {
        let byte = text[at];
        at += 1;
        if is_break(&byte) {
            continue;
        }
        if let Some(value) = value(byte) {
            group = group << 6 | u32::from(value);
            count += 1;
            if count == 4 {
                out.extend_from_slice(&group.to_be_bytes()[1..]);
                (group, count) = (0, 0);
            }
            continue;
        }
        if byte != b'=' || count < 2 {
            return Err(at - 1);
        }
        if count == 2 {
            at = skip(at);
            match text.get(at) {
                None => return Err(text.len()),
                Some(b'=') => at += 1,
                Some(_) => return Err(at - 1),
            }
        }
        at = skip(at);
        if at < text.len() {
            return Err(at);
        }
        let bytes = (group << (6 * (4 - count))).to_be_bytes();
        out.extend_from_slice(&bytes[1..count]);
        return Ok(out);
    }
    match count {
        0 => Ok(out),
        _ => Err(at - count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_errors_name_gos_byte() {
        assert_eq!(base64(b"cGxhaW4g\nYjY0Cg==\n").as_deref(), Ok(&b"plain b64\n"[..]));
        assert_eq!(base64(b"YWI=").as_deref(), Ok(&b"ab"[..]));
        for (text, at) in [
            ("%%%", 0),
            ("YWJ", 0),
            ("YWJjZ", 4),
            ("YW=x", 2),
            ("YW==x", 4),
            ("YW=", 3),
            ("Y===", 1),
        ] {
            assert_eq!(base64(text.as_bytes()), Err(at), "{text}");
        }
    }

    #[test]
    fn unknown_and_broken_encodings_say_so() {
        assert_eq!(decode(b"x", "rot13"), Err("Unsupported encoding \"rot13\"".into()));
        assert_eq!(
            decode(b"aaaaaaaaaaaa", "gz"),
            Err("Unable to decode gzip: \"gzip: invalid header\"".into())
        );
        let error = decode(b"%", "b64").expect_err("not base64");
        assert_eq!(
            error,
            "Unable to decode base64: \"illegal base64 data at input byte 0\""
        );
    }
}
