//! Unit files as fleet knows them: `file` (grammar, text, hash), `name`, `glob`, `requirements` ([X-Fleet]). Pure.
pub mod file;
pub mod glob;
pub mod name;
pub mod requirements;

pub use file::{Hash, Problem, UnitFile, UnitOption};
pub use name::UnitName;
pub use requirements::Requirements;
