//! What the walk-throughs have people type for etcd, typed at hosts of their own: one file each.
mod w0_encrypted;
mod w2_failures;
mod w2_tls;
mod w3_procfile;
