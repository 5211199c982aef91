//! A run as one page that needs nothing else: steps, checks, and a picture of what happened when.
use super::report::{Report, escape};

impl Report {
    pub fn html(&self) -> String {
        format!(
            "<!doctype html><meta charset=utf-8><title>{0}</title><h1>{0}</h1>",
            escape(&self.title)
        )
    }
}
