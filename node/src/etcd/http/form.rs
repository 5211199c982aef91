//! Form fields from the query and the body, with the rules and the words of Go's net/url.
use std::borrow::Cow;

use super::path::hex;
use super::{Body, Request};

/// What Go's server reads of a form at most.
pub const MAX_FORM: usize = 10 << 20;

/// A field that is there and is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The fields in order of weight: the body's before the query's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Form<'a>(Vec<Field<'a>>);

type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

impl<'a> Form<'a> {
    /// Reads a request's form. The error is what was wrong, in Go's words.
    pub fn of(request: &Request<'a>) -> Result<Form<'a>, String> {
        let mut form = Form::default();
        let mut error = None;
        if matches!(request.method, "PUT" | "POST" | "PATCH") {
            match content_type(request.header("Content-Type")) {
                Ok(true) => match request.body {
                    Body::Bytes(body) => form.add(body, &mut error),
                    Body::TooLarge => error = Some("http: POST too large".to_string()),
                },
                Ok(false) => {}
                Err(what) => error = Some(what.to_string()),
            }
        }
        form.add(request.split_target().1.as_bytes(), &mut error);
        match error {
            None => Ok(form),
            Some(error) => Err(error),
        }
    }

    fn add(&mut self, text: &'a [u8], error: &mut Option<String>) {
        if text.is_empty() {
            return;
        }
        for pair in text.split(|byte| *byte == b'&') {
            if pair.contains(&b';') {
                error.get_or_insert_with(|| "invalid semicolon separator in query".into());
                continue;
            }
            if pair.is_empty() {
                continue;
            }
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            match (unescape(name), unescape(value)) {
                (Ok(name), Ok(value)) => self.0.push((name, value)),
                (Err(what), _) | (_, Err(what)) => {
                    error.get_or_insert(what);
                }
            }
        }
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(field, _)| field.as_ref() == name.as_bytes())
            .map(|(_, value)| value.as_ref())
    }

    /// A number, if the field is there; an error if it is no number.
    pub fn uint(&self, name: &str) -> Result<Option<u64>, Malformed> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Malformed);
        }
        std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok())
            .map(Some)
            .ok_or(Malformed)
    }

    /// A boolean in one of the spellings that Go takes, if the field is there.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Malformed> {
        match self.get(name) {
            None => Ok(None),
            Some(b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True") => Ok(Some(true)),
            Some(b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False") => Ok(Some(false)),
            Some(_) => Err(Malformed),
        }
    }
}

fn unescape(text: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'%' => {
                let digits = text
                    .get(at + 1)
                    .copied()
                    .and_then(hex)
                    .zip(text.get(at + 2).copied().and_then(hex));
                let Some((high, low)) = digits else {
                    let broken = String::from_utf8_lossy(&text[at..text.len().min(at + 3)]);
                    return Err(format!("invalid URL escape {broken:?}"));
                };
                out.push(high << 4 | low);
                at += 3;
            }
            b'+' => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(Cow::Owned(out))
}

/// Is it a form? The error is Go's for a media type it cannot read.
fn content_type(value: Option<&str>) -> Result<bool, &'static str> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(false);
    };
    let (media, mut rest) = value.split_once(';').unwrap_or((value, ""));
    let media = media.trim().to_ascii_lowercase();
    let token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
    };
    match media.split_once('/') {
        None if media.is_empty() => return Err("mime: no media type"),
        None if !token(&media) => return Err("mime: expected slash after first token"),
        Some((main, sub)) if !token(main) || !token(sub) => return Err("mime: unexpected content after media subtype"),
        _ => {}
    }
    while !rest.trim().is_empty() {
        let (parameter, after) = rest.split_once(';').unwrap_or((rest, ""));
        let named = parameter
            .trim()
            .split_once('=')
            .is_some_and(|(name, value)| token(name.trim_end()) && !value.trim().is_empty());
        if !named {
            return Err("mime: invalid media parameter");
        }
        rest = after;
    }
    Ok(media == "application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Form<'_>, String> {
        let mut form = Form::default();
        let mut error = None;
        form.add(query.as_bytes(), &mut error);
        error.map_or(Ok(form), Err)
    }

    #[test]
    fn the_first_of_repeated_fields_counts() {
        let form = parse("a=1&a=2&b").unwrap();
        assert_eq!(form.get("a"), Some(&b"1"[..]));
        assert_eq!(form.get("b"), Some(&b""[..]));
        assert_eq!(form.get("c"), None);
    }

    #[test]
    fn a_broken_escape_is_named() {
        assert_eq!(parse("a=%zz"), Err("invalid URL escape \"%zz\"".into()));
        assert_eq!(parse("a=%4"), Err("invalid URL escape \"%4\"".into()));
        assert_eq!(parse("a=1;b=2"), Err("invalid semicolon separator in query".into()));
    }

    #[test]
    fn numbers_and_booleans_are_read_as_go_reads_them() {
        let form = parse("n=12&m=-1&e=&big=18446744073709551616&t=T&y=yes").unwrap();
        assert_eq!(form.uint("n"), Ok(Some(12)));
        assert_eq!(form.uint("m"), Err(Malformed));
        assert_eq!(form.uint("e"), Err(Malformed));
        assert_eq!(form.uint("big"), Err(Malformed));
        assert_eq!(form.uint("none"), Ok(None));
        assert_eq!(form.boolean("t"), Ok(Some(true)));
        assert_eq!(form.boolean("y"), Err(Malformed));
    }

    #[test]
    fn media_types_are_read_as_go_reads_them() {
        assert_eq!(content_type(None), Ok(false));
        assert_eq!(
            content_type(Some("application/x-www-form-urlencoded; charset=utf-8")),
            Ok(true)
        );
        assert_eq!(content_type(Some("Application/X-WWW-Form-Urlencoded")), Ok(true));
        assert_eq!(content_type(Some("text/plain")), Ok(false));
        assert_eq!(
            content_type(Some("application/x-www-form-urlencoded; charset")),
            Err("mime: invalid media parameter")
        );
    }
}
