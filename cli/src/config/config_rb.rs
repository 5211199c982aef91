//! coreos-vagrant's config.rb, read as it is and without Ruby: assignments of plain values to its variables (pure).
use std::collections::BTreeMap;

use super::raw::Raw;
use super::{Discovery, Origin, Typed, Value, closest};
use crate::failure::{Failure, Place};

pub const FILE: &str = "config.rb";
const PUBLIC: &str = "discovery.etcd.io";
const UNDERSTOOD: &str = "\
$name = VALUE, where VALUE is a number, 'text', \"text with #{$num_instances}\", true, false, nil
or {'a' => 'b', 80 => 8080}; comments; and the discovery token code of config.rb.sample";

/// Its variables, and what the settings call them. The old `$vb_` ones win where they are not nil.
const VARIABLES: &[(&str, &str)] = &[
    ("num_instances", "num_instances"),
    ("instance_name_prefix", "instance_name_prefix"),
    ("update_channel", "update_channel"),
    ("image_version", "image_version"),
    ("enable_serial_logging", "enable_serial_logging"),
    ("share_home", "share_home"),
    ("vm_gui", "vm_gui"),
    ("vm_memory", "vm_memory"),
    ("vm_cpus", "vm_cpus"),
    ("vb_gui", "vm_gui"),
    ("vb_memory", "vm_memory"),
    ("vb_cpus", "vm_cpus"),
    ("vb_cpuexecutioncap", "vb_cpuexecutioncap"),
    ("shared_folders", "shared_folders"),
    ("forwarded_ports", "forwarded_ports"),
    ("expose_docker_tcp", "expose_docker_tcp"),
    (NEW_TOKEN, NEW_TOKEN),
];
const NEW_TOKEN: &str = "new_discovery_url";

pub fn read(file: &str, text: &str) -> Result<Raw, Failure> {
    let mut reader = Reader {
        file,
        text,
        at: 0,
        variables: BTreeMap::new(),
    };
    let mut raw = Raw::default();
    let mut token_code = None;
    loop {
        reader.skip_between();
        let start = reader.at;
        match reader.peek() {
            None => break,
            Some('$') => {
                let (name, value) = reader.assignment()?;
                reader.end_of_statement()?;
                reader.variables.insert(name, (start, value));
            }
            Some('i') if reader.is_token_code() => {
                token_code = Some(start);
                reader.skip_block()?;
            }
            Some(_) => return Err(reader.failure(start, "that is more Ruby than is understood here")),
        }
    }
    for old in [false, true] {
        for (name, (start, value)) in &reader.variables {
            let is_old = name.starts_with("vb_") && name != "vb_cpuexecutioncap";
            if is_old != old || name == NEW_TOKEN || (is_old && *value == Value::Nil) {
                continue;
            }
            let known = VARIABLES.iter().find(|(variable, _)| variable == name);
            let Some((_, setting)) = known else {
                return Err(reader.unknown(*start, name));
            };
            let origin = Origin::File(Place::of(file, text, *start));
            let set = raw.set(setting, value, origin);
            set.map_err(|why| reader.wrong(*start, name, &why))?;
        }
    }
    // The URL is only used by the code that fetches a token, which the sample has as a comment.
    if let Some(start) = token_code {
        let origin = Origin::File(Place::of(file, text, start));
        raw.discovery = match reader.variables.get(NEW_TOKEN) {
            Some((_, Value::Text(url))) if url.contains(PUBLIC) => Some(Typed::new(Discovery::Public, origin)),
            Some((at, Value::Text(url))) => {
                let url = url.parse().map_err(|why: String| reader.wrong(*at, NEW_TOKEN, &why))?;
                Some(Typed::new(url, origin))
            }
            Some((at, _)) => return Err(reader.wrong(*at, NEW_TOKEN, "a URL is expected")),
            None => {
                let why = "it takes the token from $new_discovery_url, which is not set";
                return Err(reader.failure(start, why));
            }
        };
    }
    Ok(raw)
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    at: usize,
    /// With the place of their last assignment.
    variables: BTreeMap<String, (usize, Value)>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, expected: &str) -> bool {
        let there = self.rest().starts_with(expected);
        if there {
            self.at += expected.len();
        }
        there
    }

    fn skip_while(&mut self, belongs: impl Fn(char) -> bool) -> &str {
        let start = self.at;
        while self.peek().is_some_and(&belongs) {
            self.next();
        }
        &self.text[start..self.at]
    }

    fn skip_spaces(&mut self) {
        self.skip_while(|c| c == ' ' || c == '\t' || c == '\r');
    }

    /// Space, ends of lines, semicolons and comments.
    fn skip_between(&mut self) {
        loop {
            self.skip_while(|c| c.is_whitespace() || c == ';' || c == '\u{feff}');
            let begins_line = self.at == 0 || self.text[..self.at].ends_with('\n');
            if begins_line && self.rest().starts_with("=begin") {
                match self.rest().find("\n=end") {
                    Some(end) => self.at += end + "\n=end".len(),
                    None => self.at = self.text.len(),
                }
                self.skip_line();
            } else if self.peek() == Some('#') {
                self.skip_line();
            } else {
                return;
            }
        }
    }

    fn skip_line(&mut self) {
        self.skip_while(|c| c != '\n');
    }

    fn assignment(&mut self) -> Result<(String, Value), Failure> {
        let name = self.variable()?;
        self.skip_spaces();
        if self.rest().starts_with("==") || !self.eat("=") {
            return Err(self.failure(self.at, "an = and a value are expected"));
        }
        self.skip_between_lines();
        Ok((name, self.value()?))
    }

    /// Ruby goes on after an operator at the end of a line.
    fn skip_between_lines(&mut self) {
        loop {
            self.skip_while(char::is_whitespace);
            if self.peek() != Some('#') {
                return;
            }
            self.skip_line();
        }
    }

    fn variable(&mut self) -> Result<String, Failure> {
        let start = self.at;
        self.eat("$");
        let name = self.skip_while(|c| c.is_alphanumeric() || c == '_').to_string();
        match name.is_empty() {
            true => Err(self.failure(start, "a variable's name is expected")),
            false => Ok(name),
        }
    }

    fn end_of_statement(&mut self) -> Result<(), Failure> {
        self.skip_spaces();
        match self.peek() {
            None | Some('\n' | ';' | '#') => Ok(()),
            Some(_) => Err(self.failure(self.at, "more than one plain value: nothing is computed here")),
        }
    }

    fn value(&mut self) -> Result<Value, Failure> {
        let start = self.at;
        match self.peek() {
            Some('\'') => self.single_quoted().map(Value::Text),
            Some('"') => self.double_quoted().map(Value::Text),
            Some('{') => self.hash(),
            Some('$') => {
                let name = self.variable()?;
                self.value_of(start, &name)
            }
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(),
            _ => {
                let word = self.skip_while(|c| c.is_alphanumeric() || c == '_').to_string();
                match word.as_str() {
                    "true" => Ok(Value::Bool(true)),
                    "false" => Ok(Value::Bool(false)),
                    "nil" => Ok(Value::Nil),
                    _ => Err(self.failure(start, "that is not a plain value")),
                }
            }
        }
    }

    fn value_of(&self, start: usize, name: &str) -> Result<Value, Failure> {
        let text = |text: &str| Ok(Value::Text(text.to_string()));
        match self.variables.get(name) {
            Some((_, value)) => Ok(value.clone()),
            // What coreos-vagrant has set before it reads the file.
            None => match name {
                "num_instances" | "vm_cpus" => Ok(Value::Int(1)),
                "vm_memory" => Ok(Value::Int(1024)),
                "instance_name_prefix" => text("core"),
                "update_channel" => text("alpha"),
                "image_version" => text("current"),
                _ => Err(self.failure(start, "that variable is not set here")),
            },
        }
    }

    fn number(&mut self) -> Result<Value, Failure> {
        let start = self.at;
        self.eat("-");
        let digits = self
            .skip_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
            .replace('_', "");
        let octal = digits.len() > 1 && digits.starts_with('0');
        let sign = if self.text[start..].starts_with('-') { -1 } else { 1 };
        match digits.parse::<i64>() {
            Ok(number) if !octal => Ok(Value::Int(sign * number)),
            _ => Err(self.failure(start, "a decimal number is expected")),
        }
    }

    fn single_quoted(&mut self) -> Result<String, Failure> {
        let start = self.at;
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('\'') => return Ok(text),
                Some('\\') if matches!(self.peek(), Some('\'' | '\\')) => text.extend(self.next()),
                Some(c) => text.push(c),
                None => return Err(self.failure(start, "the text has no end: a ' is missing")),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, Failure> {
        let start = self.at;
        self.next();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.next() {
                Some('"') => return Ok(text),
                Some('#') if self.eat("{") => {
                    self.skip_spaces();
                    let begin = self.at;
                    if self.peek() != Some('$') {
                        return Err(self.failure(at, "only a variable can stand in #{}, as in #{$num_instances}"));
                    }
                    let name = self.variable()?;
                    let value = self.value_of(begin, &name)?;
                    self.skip_spaces();
                    if !self.eat("}") {
                        return Err(self.failure(at, "only a variable can stand in #{}, as in #{$num_instances}"));
                    }
                    match value {
                        Value::Text(value) => text.push_str(&value),
                        Value::Nil => {}
                        value => text.push_str(&value.to_string()),
                    }
                }
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c @ ('"' | '\\' | '#' | '\'' | '/')) => text.push(c),
                    _ => return Err(self.failure(at, "of the escapes, \\n \\t \\\" \\# and \\\\ are understood")),
                },
                Some(c) => text.push(c),
                None => return Err(self.failure(start, "the text has no end: a \" is missing")),
            }
        }
    }

    fn hash(&mut self) -> Result<Value, Failure> {
        self.next();
        let mut entries = Vec::new();
        loop {
            self.skip_between_lines();
            if self.eat("}") {
                return Ok(Value::Map(entries));
            }
            if !entries.is_empty() && !self.text[..self.at].trim_end().ends_with(',') {
                return Err(self.failure(self.at, "a comma or a } is expected"));
            }
            let key = self.plain()?;
            self.skip_between_lines();
            if !self.eat("=>") {
                return Err(self.failure(self.at, "a => is expected"));
            }
            self.skip_between_lines();
            let value = self.plain()?;
            entries.push((key, value));
            self.skip_between_lines();
            if !self.eat(",") && self.peek() != Some('}') {
                return Err(self.failure(self.at, "a comma or a } is expected"));
            }
        }
    }

    /// Hashes in hashes are nothing that coreos-vagrant has.
    fn plain(&mut self) -> Result<Value, Failure> {
        match self.peek() {
            Some('{') => Err(self.failure(self.at, "a hash in a hash")),
            _ => self.value(),
        }
    }

    /// `if File.exists?('user-data') && ARGV[0].eql?('up')`
    fn is_token_code(&self) -> bool {
        let line = self.rest().lines().next().unwrap_or_default();
        line.starts_with("if ") && line.contains("user-data") && line.contains("ARGV")
    }

    /// Up to the `end` that stands below the `if`.
    fn skip_block(&mut self) -> Result<(), Failure> {
        let start = self.at;
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = &self.text[line_start..start];
        let end = format!("{indent}end");
        let mut at = start;
        for line in self.text[start..].split_inclusive('\n') {
            at += line.len();
            if line.trim_end() == end {
                self.at = at;
                return Ok(());
            }
        }
        Err(self.failure(start, "the code that fetches a token has no `end` below its `if`"))
    }

    fn place(&self, at: usize) -> Place {
        Place::of(self.file, self.text, at)
    }

    fn failure(&self, at: usize, why: &str) -> Failure {
        let todo = format!("write it as one of these, or in lab.yaml:\n{UNDERSTOOD}");
        Failure::at(format!("{} cannot be read", self.file), &self.place(at), why, todo)
    }

    fn wrong(&self, at: usize, name: &str, why: &str) -> Failure {
        Failure::at(
            format!("${name} has a wrong value"),
            &self.place(at),
            why,
            "correct that line",
        )
    }

    fn unknown(&self, at: usize, name: &str) -> Failure {
        let known: Vec<&str> = VARIABLES.iter().map(|(variable, _)| *variable).collect();
        let todo = match closest(name, &known) {
            Some(closest) => format!("did you mean ${closest}?"),
            None => format!("write one of: ${}", known.join(", $")),
        };
        Failure::at(
            format!("unknown variable ${name}"),
            &self.place(at),
            "coreos-vagrant has no such variable",
            todo,
        )
    }
}

#[cfg(test)]
#[path = "config_rb_tests.rs"]
mod tests;
