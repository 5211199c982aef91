//! Why a command did not do what it was asked to: four short parts and an exit code.
use std::fmt::Display;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Failed,
    Usage,
    /// A check of an exercise is not what it should be.
    Red,
    Missing,
    Conflict,
    Timeout,
    Unsupported,
    /// What a program ended with that spoke for itself.
    Status(u8),
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Status(code) => code,
            Exit::Red => 3,
            Exit::Missing => 10,
            Exit::Conflict => 11,
            Exit::Timeout => 12,
            Exit::Unsupported => 13,
        }
    }
}

#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub what: String,
    pub place: String,
    /// That place's line with a caret below, where the place is in a file that somebody wrote.
    pub excerpt: Option<Box<str>>,
    pub why: String,
    /// The command to type next.
    pub todo: String,
}

impl Failure {
    pub fn new(
        exit: Exit,
        what: impl Into<String>,
        place: impl Display,
        why: impl Display,
        todo: impl Into<String>,
    ) -> Failure {
        Failure {
            exit,
            what: what.into(),
            place: place.to_string(),
            excerpt: None,
            why: why.to_string(),
            todo: todo.into(),
        }
    }

    /// A file or directory that the system does not let us have.
    pub fn io(verb: &str, path: &Path, error: &std::io::Error) -> Failure {
        let what = format!("cannot {verb} {}", path.display());
        let place = std::env::current_dir().unwrap_or_default();
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let todo = format!(
            "ls -ld {0}; df {0} (permissions and space), then try again",
            parent.display()
        );
        Failure::new(Exit::Failed, what, place.display(), error, todo)
    }

    /// A program failed that has said why.
    pub fn status(code: u8) -> Failure {
        Failure::new(Exit::Status(code), "", "", "", "")
    }

    /// One that a file is the reason of.
    pub fn at(what: impl Into<String>, place: &Place, why: impl Display, todo: impl Into<String>) -> Failure {
        Failure {
            excerpt: Some(place.excerpt().into()),
            ..Failure::new(Exit::Failed, what, place, why, todo)
        }
    }
}

/// A character of a file; lines and columns count from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// That whole line.
    pub text: String,
}

impl Place {
    /// The place of a byte of a text.
    pub fn of(file: &str, text: &str, at: usize) -> Place {
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let before = &text[..at.unwrap_or(0)];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: file.to_string(),
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            text: text[start..].lines().next().unwrap_or_default().to_string(),
        }
    }

    fn excerpt(&self) -> String {
        let number = self.line.to_string();
        // What is a tab above the caret has to be one below, too.
        let indent = self.text.chars().chain(std::iter::repeat(' ')).take(self.column - 1);
        let indent: String = indent.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let margin = " ".repeat(number.len());
        format!("{number} | {}\n{margin} | {indent}^", self.text)
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_characters_and_shown_with_a_caret() {
        let text = "a: 1\n\tü: x y\n";
        let at = text.find('x').expect("an x");
        let place = Place::of("lab.yaml", text, at);
        assert_eq!(place.to_string(), "lab.yaml:2:5");
        assert_eq!(place.excerpt(), "2 | \tü: x y\n  | \t   ^");
        assert_eq!(Place::of("f", "", 9).to_string(), "f:1:1");
    }
}
