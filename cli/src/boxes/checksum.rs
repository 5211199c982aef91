//! Checksums of boxes, of the kinds that catalogs name.
use std::io::{self, Read};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

const KINDS: &str = "md5, sha1, sha256, sha384, sha512";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    pub kind: String,
    /// Hexadecimal, in lower case.
    pub digest: String,
}

impl Checksum {
    pub fn new(kind: &str, digest: &str) -> Result<Checksum, String> {
        let (kind, digest) = (kind.to_lowercase(), digest.trim().to_lowercase());
        let length = match kind.as_str() {
            "md5" => 32,
            "sha1" => 40,
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return Err(format!("checksum type {kind:?} is none of {KINDS}")),
        };
        if digest.len() != length || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!(
                "{digest:?} is no {kind} checksum: {length} hexadecimal digits are expected"
            ));
        }
        Ok(Checksum { kind, digest })
    }

    /// The digest of that kind of what is read.
    pub fn compute(&self, reader: impl Read) -> io::Result<String> {
        match self.kind.as_str() {
            "md5" => digest::<Md5>(reader),
            "sha1" => digest::<Sha1>(reader),
            "sha384" => digest::<Sha384>(reader),
            "sha512" => digest::<Sha512>(reader),
            _ => digest::<Sha256>(reader),
        }
    }
}

fn digest<D: Digest>(mut reader: impl Read) -> io::Result<String> {
    let mut state = D::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(state.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            length => state.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        for (kind, expected) in [
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("SHA1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "sha256",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            let checksum = Checksum::new(kind, &expected.to_uppercase()).expect(kind);
            assert_eq!(checksum.compute(&b"abc"[..]).expect("bytes"), expected);
        }
        let long = Checksum::new("sha512", &"0".repeat(128)).expect("sha512");
        assert!(
            long.compute(&b"abc"[..])
                .expect("bytes")
                .starts_with("ddaf35a193617abacc417349ae204131")
        );
    }

    #[test]
    fn what_can_be_no_checksum_is_refused() {
        for (kind, digest) in [("crc32", "00000000"), ("sha256", "00"), ("md5", &"g".repeat(32))] {
            assert!(Checksum::new(kind, digest).is_err(), "{kind}");
        }
    }
}
