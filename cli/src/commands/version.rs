//! `lab version`
use crate::ui::{self, Failure};

pub fn run() -> Result<(), Failure> {
    ui::line(&format!("lab {}", env!("CARGO_PKG_VERSION")));
    Ok(())
}
