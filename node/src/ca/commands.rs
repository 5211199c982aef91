//! What each command does with the depot.
use std::io::Write;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::args::Args;
use super::certs::{self, Subject};
use super::depot::{self, Depot};
use super::keys::Key;
use super::prompt;
use crate::sys;
use crate::tls::names::{self, Validity};

/// Certificates that end sooner are warned of.
const WARN_DAYS: f64 = 60.0;
/// The serial number of the first host.
const FIRST_SERIAL: u64 = 2;

type Result = std::result::Result<(), String>;

fn prefixed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what} error: {error}")
}

pub fn init(args: &Args) -> Result {
    let depot = Depot::new(&args.depot_path);
    if depot.has(&depot::ca_crt()) {
        return Err("CA has existed!".into());
    }
    let passphrase = args.passphrase.clone().map_or_else(prompt::new_passphrase, Ok)?;
    let key = Key::generate(args.key_bits).map_err(prefixed("Create RSA Key"))?;
    let subject = Subject {
        country: &args.country,
        organization: &args.organization,
        unit: "CA",
        common_name: None,
    };
    let pair = key.pair().map_err(prefixed("Create certificate"))?;
    let crt = certs::ca(&subject, args.years, &pair).map_err(prefixed("Create certificate"))?;
    let pem = key.to_encrypted_pem(&passphrase).map_err(prefixed("Save key"))?;
    let _lock = depot.lock().map_err(prefixed("Open depot"))?;
    if depot.has(&depot::ca_crt()) {
        return Err("CA has existed!".into());
    }
    depot.put(&depot::ca_key(), &pem).map_err(prefixed("Save key"))?;
    let serial = FIRST_SERIAL.to_string();
    depot
        .replace(&depot::ca_info(), &serial)
        .map_err(prefixed("Save certificate info"))?;
    depot
        .put(&depot::ca_crt(), &crt)
        .map_err(prefixed("Save certificate"))?;
    sys::print("Created ca/key\nCreated ca/crt\n", "");
    Ok(())
}

pub fn new_cert(args: &Args) -> Result {
    let name = host(args)?;
    let depot = Depot::new(&args.depot_path);
    if depot.has(&depot::host_csr(name)) {
        return Err("Certificate request has existed!".into());
    }
    let passphrase = args.passphrase.clone().map_or_else(prompt::new_passphrase, Ok)?;
    let list = |text: &str| -> Vec<String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::to_string).collect()
    };
    let parse = |ip: &String| ip.parse::<IpAddr>().map_err(|_| ip.clone());
    let ips: Vec<IpAddr> = match list(&args.ip).iter().map(parse).collect() {
        Ok(ips) => ips,
        Err(bad) => {
            sys::print(&format!("Created {name}/key\n"), "");
            return Err(format!("Create certificate request error: failed to parse ip {bad}"));
        }
    };
    let mut domains = list(&args.domain);
    let common_name = domains.first().cloned().or_else(|| ips.first().map(IpAddr::to_string));
    if certs::is_dns_name(name) && !domains.iter().any(|domain| domain.eq_ignore_ascii_case(name)) {
        domains.push(name.to_string());
    }
    let key = Key::generate(args.key_bits).map_err(prefixed("Create RSA Key"))?;
    let subject = Subject {
        country: &args.country,
        organization: &args.organization,
        unit: name,
        common_name: common_name.as_deref(),
    };
    let pair = key.pair().map_err(prefixed("Create certificate request"))?;
    let csr = certs::request(&subject, &domains, &ips, &pair).map_err(prefixed("Create certificate request"))?;
    let pem = key.to_encrypted_pem(&passphrase).map_err(prefixed("Save key"))?;
    let _lock = depot.lock().map_err(prefixed("Open depot"))?;
    if depot.has(&depot::host_csr(name)) {
        return Err("Certificate request has existed!".into());
    }
    depot.put(&depot::host_key(name), &pem).map_err(prefixed("Save key"))?;
    depot
        .put(&depot::host_csr(name), &csr)
        .map_err(prefixed("Save certificate request"))?;
    sys::print(&format!("Created {name}/key\nCreated {name}/csr\n"), "");
    Ok(())
}

pub fn sign(args: &Args) -> Result {
    let name = host(args)?;
    let depot = Depot::new(&args.depot_path);
    let _lock = depot.lock().map_err(prefixed("Open depot"))?;
    if depot.has(&depot::host_crt(name)) {
        return Err("Certificate has existed!".into());
    }
    let csr = depot
        .get(&depot::host_csr(name))
        .map_err(prefixed("Get certificate request"))?;
    let ca = depot.get(&depot::ca_crt()).map_err(prefixed("Get CA certificate"))?;
    let info = depot
        .get(&depot::ca_info())
        .map_err(prefixed("Get CA certificate info"))?;
    let bad_info = || format!("Get CA certificate info error: {info:?} in ca.crt.info is no serial number");
    let serial: u64 = info.trim().parse().map_err(|_| bad_info())?;
    let key = key(args, &depot, &depot::ca_key(), "CA")?;
    let pair = key.pair().map_err(prefixed("Get CA key"))?;
    let crt = certs::sign(&csr, &ca, pair, serial, args.years).map_err(prefixed("Create certificate"))?;
    // First the number: one that is skipped does no harm, one that is used twice does.
    let next = (serial + 1).to_string();
    depot
        .replace(&depot::ca_info(), &next)
        .map_err(prefixed("Save CA certificate info"))?;
    depot
        .put(&depot::host_crt(name), &crt)
        .map_err(prefixed("Save certificate"))?;
    sys::print(&format!("Created {name}/crt from {name}/csr signed by ca/key\n"), "");
    Ok(())
}

pub fn chain(args: &Args) -> Result {
    let depot = Depot::new(&args.depot_path);
    let mut text = depot.get(&depot::ca_crt()).map_err(prefixed("Get CA certificate"))?;
    let mut whose = "CA";
    if let Some(name) = &args.name {
        let name = checked(name)?;
        text += &depot
            .get(&depot::host_crt(name))
            .map_err(prefixed("Get host certificate"))?;
        whose = "CA and Host";
    }
    sys::print("", &format!("Outputting {whose} certificate body:\n"));
    sys::print(&text, "");
    Ok(())
}

pub fn export(args: &Args) -> Result {
    let depot = Depot::new(&args.depot_path);
    let (name, crt, key_tag, whose) = match &args.name {
        Some(name) => (checked(name)?, depot::host_crt(name), depot::host_key(name), "host"),
        None => ("ca", depot::ca_crt(), depot::ca_key(), "CA"),
    };
    let crt = depot
        .get(&crt)
        .map_err(|error| format!("Get {whose} certificate error: {error}"))?;
    let (key_name, key) = match args.insecure {
        true => (
            format!("{name}.key.insecure"),
            key(args, &depot, &key_tag, whose)?.to_pem()?,
        ),
        false => {
            let key = depot
                .get(&key_tag)
                .map_err(|error| format!("Get {whose} key error: {error}"))?;
            (format!("{name}.key"), key)
        }
    };
    let tar = tar(&[(&format!("{name}.crt"), &crt), (&key_name, &key)]);
    let tar = tar.map_err(prefixed("Create tar"))?;
    let written = std::io::stdout().lock().write_all(&tar);
    written.map_err(prefixed("Write tar"))
}

fn tar(files: &[(&str, &str)]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(names::now() as u64);
        tar.append_data(&mut header, name, text.as_bytes())?;
    }
    tar.into_inner()
}

pub fn status(args: &Args) -> Result {
    let depot = Depot::new(&args.depot_path);
    let ca = match depot.get(&depot::ca_crt()) {
        Ok(ca) => ca,
        // Nothing to report is no failure.
        Err(error) => {
            sys::print("", &format!("Get CA certificate error: {error}\n"));
            return Ok(());
        }
    };
    let mut text = format!("CA: {}\n", standing(&ca));
    for name in depot.hosts().map_err(prefixed("List depot"))? {
        let standing = match depot.has(&depot::host_crt(&name)) {
            true => depot
                .get(&depot::host_crt(&name))
                .map_or_else(|error| format!("WARN ({error})"), |crt| standing(&crt)),
            false => "Unsigned".into(),
        };
        text += &format!("{name}: {standing}\n");
    }
    sys::print(&text, "");
    Ok(())
}

fn standing(pem: &str) -> String {
    let validity = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| error.to_string())
        .and_then(|der| Validity::of(&der));
    match validity {
        Ok(validity) => {
            let days = (validity.not_after - names::now()) as f64 / 86_400.0;
            let word = if days < WARN_DAYS { "WARN" } else { "OK" };
            format!("{word} ({days:.2} days until expiration)")
        }
        Err(error) => format!("WARN (cannot be read: {error})"),
    }
}

/// A private key of the depot, decrypted.
fn key(args: &Args, depot: &Depot, tag: &depot::Tag, whose: &str) -> std::result::Result<Key, String> {
    let cannot = |error| format!("Get {whose} key error: {error}");
    let pem = depot.get(tag).map_err(cannot)?;
    let passphrase = args.passphrase.clone().map_or_else(|| prompt::passphrase(whose), Ok)?;
    Key::from_encrypted_pem(&pem, &passphrase).map_err(cannot)
}

fn host(args: &Args) -> std::result::Result<&str, String> {
    checked(args.name.as_deref().ok_or("Host name must be provided.")?)
}

/// Names become parts of file names.
fn checked(name: &str) -> std::result::Result<&str, String> {
    let bad = name.is_empty() || name.len() > 200 || name.starts_with('.') || name.contains(['/', '\0']);
    match bad || name.chars().any(char::is_control) {
        true => Err(format!(
            "Host name {name:?} cannot be used: it must not begin with a dot, hold a slash or be empty"
        )),
        false => Ok(name),
    }
}
