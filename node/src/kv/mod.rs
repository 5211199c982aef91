//! The etcd 2 key space, pure: values in, values out.
