//! What the tests and the benchmark share.
