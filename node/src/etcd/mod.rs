//! The etcd 2 server.
