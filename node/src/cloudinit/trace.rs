//! `--trace`: commands and D-Bus calls as lines of a file, instead of being done.
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

use crate::cloudconfig::go::errno;

pub struct Trace(Mutex<File>);

impl Trace {
    pub fn create(path: &str) -> Result<Trace, String> {
        match File::create(path) {
            Ok(file) => Ok(Trace(Mutex::new(file))),
            Err(error) => Err(format!("open {path}: {}", errno(&error))),
        }
    }

    fn line(&self, line: &str) -> Result<(), String> {
        let mut file = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        let written = writeln!(file, "{line}");
        written.map_err(|error| format!("cannot write the trace: {}", errno(&error)))
    }

    pub fn command(&self, program: &str, args: &[String], input: &str) -> Result<(), String> {
        let args: String = args.iter().map(|arg| format!(" [{arg}]")).collect();
        self.line(&format!("EXEC {program}{args}"))?;
        input.lines().try_for_each(|line| self.line(&format!("STDIN {line}")))
    }

    /// A method's arguments as Python prints a list of them.
    pub fn call(&self, method: &str, arguments: &str) -> Result<(), String> {
        self.line(&format!("DBUS {method} {arguments}"))
    }
}

/// A string as Python prints it in a list.
pub fn python(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

pub fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
