//! Consensus and disk.
