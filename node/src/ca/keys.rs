//! RSA keys, and their encrypted PEM form of old: `Proc-Type: 4,ENCRYPTED` with DES-EDE3-CBC, which `openssl rsa` reads.
//!
//! ring, which signs everything else here, makes no RSA keys; the `rsa` crate does, builds without a C compiler and in a
//! few seconds. It is used for that and for the encoding alone: signing stays with ring, whose time does not depend on
//! the key.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use des::TdesEde3;
use md5::{Digest, Md5};
use rand::TryRngCore;
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::EncodePrivateKey;
use rustls::pki_types::PrivatePkcs8KeyDer;

const LABEL: &str = "RSA PRIVATE KEY";
const DEK: &str = "DEK-Info: DES-EDE3-CBC,";
/// Said of a wrong passphrase, as Go says it.
pub const INCORRECT: &str = "x509: decryption password incorrect";

pub struct Key(RsaPrivateKey);

impl Key {
    pub fn generate(bits: usize) -> Result<Key, String> {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits);
        key.map(Key).map_err(|error| format!("cannot make an RSA key: {error}"))
    }

    /// For signing.
    pub fn pair(&self) -> Result<rcgen::KeyPair, String> {
        let der = self.0.to_pkcs8_der().map_err(|error| error.to_string())?;
        let der = PrivatePkcs8KeyDer::from(der.as_bytes());
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256).map_err(|error| error.to_string())
    }

    /// Encrypted, even under an empty passphrase.
    pub fn to_encrypted_pem(&self, passphrase: &str) -> Result<String, String> {
        let der = self.0.to_pkcs1_der().map_err(|error| error.to_string())?;
        let mut iv = [0; 8];
        rand::rngs::OsRng
            .try_fill_bytes(&mut iv)
            .map_err(|error| error.to_string())?;
        let cipher = cbc::Encryptor::<TdesEde3>::new(&derive(passphrase, iv).into(), &iv.into());
        let bytes = cipher.encrypt_padded_vec_mut::<Pkcs7>(der.as_bytes());
        let iv: String = iv.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(pem(&format!("Proc-Type: 4,ENCRYPTED\n{DEK}{iv}\n\n"), &bytes))
    }

    /// As etcd reads it.
    pub fn to_pem(&self) -> Result<String, String> {
        let der = self.0.to_pkcs1_der().map_err(|error| error.to_string())?;
        Ok(pem("", der.as_bytes()))
    }

    pub fn from_encrypted_pem(text: &str, passphrase: &str) -> Result<Key, String> {
        let broken = || format!("it is no PEM block {LABEL}, encrypted with DES-EDE3-CBC");
        let body = text
            .split_once(&format!("-----BEGIN {LABEL}-----"))
            .and_then(|(_, rest)| rest.split_once(&format!("-----END {LABEL}-----")))
            .map(|(body, _)| body)
            .ok_or_else(broken)?;
        let lines: Vec<&str> = body.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let iv = lines
            .iter()
            .find_map(|line| line.strip_prefix(DEK))
            .and_then(unhex)
            .ok_or_else(broken)?;
        let base64: String = lines.into_iter().filter(|line| !line.contains(':')).collect();
        let bytes = STANDARD.decode(base64).map_err(|_| broken())?;
        let cipher = cbc::Decryptor::<TdesEde3>::new(&derive(passphrase, iv).into(), &iv.into());
        let der = cipher.decrypt_padded_vec_mut::<Pkcs7>(&bytes).map_err(|_| INCORRECT)?;
        // Padding that is right by chance hides nonsense.
        RsaPrivateKey::from_pkcs1_der(&der)
            .map(Key)
            .map_err(|_| INCORRECT.into())
    }
}

fn pem(headers: &str, bytes: &[u8]) -> String {
    let base64 = STANDARD.encode(bytes);
    let lines: Vec<&str> = (0..base64.len())
        .step_by(64)
        .map(|at| &base64[at..base64.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN {LABEL}-----\n{headers}{}\n-----END {LABEL}-----\n",
        lines.join("\n")
    )
}

/// A 24-byte key of a passphrase, one round of MD5 a block: what this PEM form prescribes.
fn derive(passphrase: &str, salt: [u8; 8]) -> [u8; 24] {
    let block = |before: &[u8]| {
        Md5::new()
            .chain_update(before)
            .chain_update(passphrase)
            .chain_update(salt)
            .finalize()
    };
    let first = block(&[]);
    let second = block(&first);
    let mut key = [0; 24];
    key[..16].copy_from_slice(&first);
    key[16..].copy_from_slice(&second[..8]);
    key
}

fn unhex(text: &str) -> Option<[u8; 8]> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (text.len() == 16).then(|| number.to_be_bytes())
}
