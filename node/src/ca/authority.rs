//! A CA and hosts' certificates of it, as texts: for a program that keeps them itself.
use std::net::IpAddr;

use rcgen::KeyPair;

use super::certs::{self, Subject};

/// As etcd-ca has it.
const YEARS: u32 = 10;

/// A certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// Without the key, which belongs in no log.
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.cert)
    }
}

fn subject(common_name: Option<&str>) -> Subject<'_> {
    Subject {
        country: "USA",
        organization: "etcd-ca",
        unit: common_name.unwrap_or("CA"),
        common_name,
    }
}

/// Keys are of the P-256 kind: made in no time, where RSA takes a second each.
pub fn new() -> Result<Pair, String> {
    let make = || {
        let key = KeyPair::generate()?;
        let cert = certs::ca(&subject(None), YEARS, &key)?;
        Ok(Pair {
            cert,
            key: key.serialize_pem(),
        })
    };
    make().map_err(|error: rcgen::Error| format!("cannot make a CA: {error}"))
}

/// For a host that is reached by these names and addresses, as a server and as a client.
pub fn host(ca: &Pair, name: &str, names: &[String], ips: &[IpAddr], serial: u64) -> Result<Pair, String> {
    let make = || {
        let key = KeyPair::generate()?;
        let request = certs::request(&subject(Some(name)), names, ips, &key)?;
        let cert = certs::sign(&request, &ca.cert, KeyPair::from_pem(&ca.key)?, serial, YEARS)?;
        Ok(Pair {
            cert,
            key: key.serialize_pem(),
        })
    };
    make().map_err(|error: rcgen::Error| format!("cannot make a certificate for {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::names::Names;

    #[test]
    fn a_host_has_its_names_and_addresses_and_another_ca_another_issuer() {
        let (one, two) = (new().expect("a CA"), new().expect("a CA"));
        assert_ne!(one.key, two.key);
        let ip = IpAddr::from([172, 17, 8, 101]);
        let host = host(&one, "core-01", &["core-01".to_string()], &[ip], 2).expect("a certificate");
        let der = rustls::pki_types::pem::PemObject::from_pem_slice(host.cert.as_bytes());
        let der: rustls::pki_types::CertificateDer<'_> = der.expect("PEM");
        let names = Names::of(&der).expect("a certificate");
        assert!(names.covers("172.17.8.101") && names.covers("core-01") && !names.covers("core-02"));
        assert!(host.key.contains("PRIVATE KEY") && !format!("{host:?}").contains("PRIVATE"));
    }
}
