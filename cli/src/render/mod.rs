//! Topology to text (pure): a file each for what other programs read.
pub mod certificates;
pub mod changes;
pub mod config_rb;
pub mod known_hosts;
pub mod scalar;
pub mod ssh_config;
pub mod user_data;
pub mod vagrantfile;

/// A text in Ruby's single quotes.
fn ruby(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
