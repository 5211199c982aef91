//! Certificates that make themselves: self-signed, kept in a directory, used again at the next start.
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};

use super::{Files, names};

/// Ten years: nobody is there to make the next one in time.
const LIFE: Duration = Duration::from_secs(3650 * 86_400);
/// A client's clock may be behind by as much.
const SLACK: Duration = Duration::from_secs(3600);

/// The certificate and key of this directory, made for these hosts when there are none.
pub fn ensure(dir: &Path, hosts: &[String]) -> Result<Files, String> {
    let files = Files {
        cert: Some(dir.join("cert.pem")),
        key: Some(dir.join("key.pem")),
        ..Files::default()
    };
    // The certificate is written last: where it is, the key is, too.
    if !dir.join("cert.pem").exists() {
        let (cert, key) = make(hosts).map_err(|error| format!("cannot make a certificate: {error}"))?;
        let cannot = |error: io::Error| format!("cannot keep a certificate in {}: {error}", dir.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(cannot)?;
        save(dir, "key.pem", 0o600, &key).map_err(cannot)?;
        save(dir, "cert.pem", 0o644, &cert).map_err(cannot)?;
    }
    Ok(files)
}

fn make(hosts: &[String]) -> Result<(String, String), rcgen::Error> {
    let mut all: Vec<String> = Vec::new();
    for host in hosts
        .iter()
        .map(String::as_str)
        .chain(["localhost", "127.0.0.1", "::1"])
    {
        let everywhere = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        if !everywhere && !all.iter().any(|there| there == host) {
            all.push(host.to_string());
        }
    }
    let mut params = CertificateParams::new(all)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    // Its own, so that who trusts several members' certificates finds the right one by its subject.
    let own = format!("{:016x}", rand::random::<u64>());
    params.distinguished_name.push(DnType::CommonName, own);
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(names::now() as u64);
    params.not_before = now - SLACK;
    params.not_after = now + LIFE;
    // No CA: a certificate that can sign is refused as a server's own by those who look closely.
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Whole or not at all, with its mode from the first byte on.
fn save(dir: &Path, name: &str, mode: u32, text: &str) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, dir.join(name))?;
    File::open(dir)?.sync_all()
}
