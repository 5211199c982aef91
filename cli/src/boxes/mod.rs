//! Boxes: images with a name, a version and a provider, as Vagrant has them, from catalogs with many versions.
pub mod catalog;
pub mod checksum;
pub mod download;
pub mod source;
pub mod store;
pub mod version;
