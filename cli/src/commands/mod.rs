//! One verb a file.
pub mod down;
pub mod status;
pub mod up;
pub mod version;
