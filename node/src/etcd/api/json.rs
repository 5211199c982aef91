//! JSON as Go reads and writes it: clients see the words of its errors, and its escapes.
use std::io;

use serde::Serialize;

/// Deeper than any request; Go stops at 10,000, but our stack is smaller.
const MAX_DEPTH: usize = 1000;

/// A value as it was sent. Fields stay in order: of repeated ones the last counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool,
    Number,
    String(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// Go's `json.Unmarshal`: one value and nothing behind it.
pub fn unmarshal(input: &[u8]) -> Result<Value, String> {
    let mut parser = Parser { input, at: 0 };
    let value = parser.value(0)?;
    parser.blanks();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.unexpected("after top-level value")),
    }
}

/// Go's `json.Decoder`: the first value; what follows is not looked at.
pub fn decode_first(input: &[u8]) -> Result<Value, String> {
    Parser { input, at: 0 }.value(0)
}

/// What is wrong with a well-formed value: not the type that was wanted.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch(pub &'static str);

impl Value {
    /// The type as Go's errors name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool => "bool",
            Value::Number => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }

    /// The fields of an object; `null` has none.
    pub fn fields(&self) -> Result<&[(String, Value)], Mismatch> {
        match self {
            Value::Object(fields) => Ok(fields),
            Value::Null => Ok(&[]),
            other => Err(Mismatch(other.kind())),
        }
    }

    /// Into a string; `null` leaves what is there.
    pub fn into_string(&self, target: &mut String) -> Result<(), Mismatch> {
        match self {
            Value::String(text) => target.clone_from(text),
            Value::Null => {}
            other => return Err(Mismatch(other.kind())),
        }
        Ok(())
    }

    /// Into a list of strings; `null` makes it no list, and an element of `null` is empty.
    pub fn into_strings(&self, target: &mut Option<Vec<String>>) -> Result<(), Mismatch> {
        match self {
            Value::Array(values) => {
                let strings = values.iter().map(|value| {
                    let mut string = String::new();
                    value.into_string(&mut string).map(|()| string)
                });
                *target = Some(strings.collect::<Result<_, _>>()?);
            }
            Value::Null => *target = None,
            other => return Err(Mismatch(other.kind())),
        }
        Ok(())
    }
}

/// Do a field's name in the input and in the struct match? Go does not mind the case.
pub fn names(sent: &str, field: &str) -> bool {
    sent.eq_ignore_ascii_case(field)
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Go's error at this place.
    fn unexpected(&self, context: &str) -> String {
        match self.peek() {
            Some(_) => self.unexpected_inside(context),
            None => "unexpected end of JSON input".to_string(),
        }
    }

    /// Go's error inside a word, a number or an escape. It tries a blank at the end of the input; here none fits.
    fn unexpected_inside(&self, context: &str) -> String {
        format!("invalid character {} {context}", quote(self.peek().unwrap_or(b' ')))
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.blanks();
        match self.peek() {
            Some(b'{') if depth < MAX_DEPTH => self.object(depth),
            Some(b'[') if depth < MAX_DEPTH => self.array(depth),
            Some(b'{' | b'[') => Err("exceeded max depth".to_string()),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| Value::Number),
            Some(b't') => self.literal("true", Value::Bool),
            Some(b'f') => self.literal("false", Value::Bool),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut fields = Vec::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(fields));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let name = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            fields.push((name, self.value(depth + 1)?));
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(fields));
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut values = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(values));
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, String> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                let context = format!("in literal {word} (expecting {})", quote(expected));
                return Err(self.unexpected_inside(&context));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<(), String> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected_inside(context));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(&out).into_owned());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                Some(byte) if byte >= 0x20 => {
                    out.push(byte);
                    self.at += 1;
                }
                _ => return Err(self.unexpected("in string literal")),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode(out),
            _ => return Err(self.unexpected_inside("in string escape code")),
        };
        out.push(plain);
        self.at += 1;
        Ok(())
    }

    /// `u` and four digits; two halves of a pair make one character, a half alone the replacement character.
    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let first = self.four_digits()?;
        let mut code = first;
        if (0xd800..0xdc00).contains(&first) && self.input[self.at..].starts_with(b"\\u") {
            let here = self.at;
            self.at += 1;
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            } else {
                self.at = here;
            }
        }
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32, String> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| (byte as char).to_digit(16));
            let digit = digit.ok_or_else(|| self.unexpected_inside("in \\u hexadecimal character escape"))?;
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }
}

/// A byte as Go's scanner quotes it: as the character of that number.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_string(),
        b'\\' => r"'\\'".to_string(),
        7 => r"'\a'".to_string(),
        8 => r"'\b'".to_string(),
        b'\t' => r"'\t'".to_string(),
        b'\n' => r"'\n'".to_string(),
        11 => r"'\v'".to_string(),
        12 => r"'\f'".to_string(),
        b'\r' => r"'\r'".to_string(),
        0..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", byte as char),
    }
}

/// What Go's `json.Marshal` makes of it: `<`, `>` and `&` are escaped.
pub fn marshal(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter);
    // These are plain structs and strings: nothing of them can fail, and a Vec takes all.
    let _ = value.serialize(&mut serializer);
    out
}

struct GoFormatter;

impl serde_json::ser::Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut after = rest[at..].chars();
            if let Some(character) = after.next() {
                write!(writer, "\\u{:04x}", character as u32)?;
            }
            rest = after.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_are_gos() {
        let cases: [(&[u8], &str); 27] = [
            (b"", "unexpected end of JSON input"),
            (b"  ", "unexpected end of JSON input"),
            (b"{", "unexpected end of JSON input"),
            (b"{\"a\":", "unexpected end of JSON input"),
            (b"tru", "invalid character ' ' in literal true (expecting 'e')"),
            (b"-", "invalid character ' ' in numeric literal"),
            (b"\"\\u12", "invalid character ' ' in \\u hexadecimal character escape"),
            (b"\"a", "unexpected end of JSON input"),
            (b"nojson", "invalid character 'o' in literal null (expecting 'u')"),
            (b"trxe", "invalid character 'x' in literal true (expecting 'u')"),
            (b"x", "invalid character 'x' looking for beginning of value"),
            (b"'a'", "invalid character '\\'' looking for beginning of value"),
            (b"[1,]", "invalid character ']' looking for beginning of value"),
            (b"[1 2]", "invalid character '2' after array element"),
            (
                b"{a}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            (
                b"{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            (b"{\"a\" 1}", "invalid character '1' after object key"),
            (b"{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            (b"{} x", "invalid character 'x' after top-level value"),
            (b"01", "invalid character '1' after top-level value"),
            (b"-x", "invalid character 'x' in numeric literal"),
            (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
            (b"1ex", "invalid character 'x' in exponent of numeric literal"),
            (b"\"\n\"", "invalid character '\\n' in string literal"),
            (b"\"\\x\"", "invalid character 'x' in string escape code"),
            (
                b"\"\\u12g4\"",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            (b"\xc3\xa9", "invalid character '\u{c3}' looking for beginning of value"),
        ];
        for (input, error) in cases {
            assert_eq!(unmarshal(input), Err(error.to_string()), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn well_formed_values_are_read() {
        let string = |text: &str| Value::String(text.into());
        assert_eq!(unmarshal(b" null "), Ok(Value::Null));
        assert_eq!(
            unmarshal(b"{\"a\":[1,-2.5e+3,true,\"\\u00e9\\n\"],\"a\":{}}"),
            Ok(Value::Object(vec![
                (
                    "a".into(),
                    Value::Array(vec![Value::Number, Value::Number, Value::Bool, string("\u{e9}\n")])
                ),
                ("a".into(), Value::Object(vec![])),
            ]))
        );
        assert_eq!(
            unmarshal(b"\"\\ud83d\\ude00\\ud83d!\""),
            Ok(string("\u{1f600}\u{fffd}!"))
        );
        assert_eq!(decode_first(b"\"a\" and more"), Ok(string("a")));
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(unmarshal(&[b'['; 100_000]), Err("exceeded max depth".into()));
    }

    #[test]
    fn what_html_would_take_for_markup_is_escaped() {
        assert_eq!(
            marshal(&"a<b>&\"\u{2028}\n"),
            b"\"a\\u003cb\\u003e\\u0026\\\"\\u2028\\n\""
        );
    }
}
