//! Why a command did not do what it was asked to: four short parts and an exit code.
use std::fmt::Display;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Failed,
    Missing,
    Conflict,
    Timeout,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Failed => 1,
            Exit::Missing => 10,
            Exit::Conflict => 11,
            Exit::Timeout => 12,
        }
    }
}

#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub what: String,
    pub place: String,
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
            why: why.to_string(),
            todo: todo.into(),
        }
    }
}
