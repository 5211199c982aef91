//! The description of the API in Google's format, which generated clients are made from.

pub const DOCUMENT: &str = include_str!("discovery.json");
