//! The certificates and requests, with the fields that etcd-ca gives them.
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    date_time_ymd,
};
use sha1::{Digest, Sha1};

use crate::tls::names;

/// What a certificate says of whom it is for.
pub struct Subject<'a> {
    pub country: &'a str,
    pub organization: &'a str,
    pub unit: &'a str,
    pub common_name: Option<&'a str>,
}

impl Subject<'_> {
    fn name(&self) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        let country = rcgen::string::PrintableString::try_from(self.country);
        match country {
            Ok(country) => name.push(DnType::CountryName, rcgen::DnValue::PrintableString(country)),
            Err(_) => name.push(DnType::CountryName, self.country),
        }
        name.push(DnType::OrganizationName, self.organization);
        name.push(DnType::OrganizationalUnitName, self.unit);
        if let Some(common_name) = self.common_name {
            name.push(DnType::CommonName, common_name);
        }
        name
    }
}

/// The CA's own certificate, as PEM.
pub fn ca(subject: &Subject<'_>, years: u32, key: &KeyPair) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.name();
    params.serial_number = Some(SerialNumber::from(1));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.key_identifier_method = key_id(key.der_bytes());
    set_validity(&mut params, years);
    Ok(params.self_signed(key)?.pem())
}

/// A host's certificate request, as PEM.
pub fn request(subject: &Subject<'_>, names: &[String], ips: &[IpAddr], key: &KeyPair) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.name();
    for name in names {
        params
            .subject_alt_names
            .push(SanType::DnsName(name.as_str().try_into()?));
    }
    params
        .subject_alt_names
        .extend(ips.iter().copied().map(SanType::IpAddress));
    params.serialize_request(key)?.pem()
}

/// A host's certificate of its request, as PEM.
pub fn sign(request: &str, ca: &str, key: KeyPair, serial: u64, years: u32) -> Result<String, rcgen::Error> {
    let mut request = CertificateSigningRequestParams::from_pem(request)?;
    let id = key_id(request.public_key.der_bytes());
    let params = &mut request.params;
    // A request decides who, not what for.
    params.is_ca = IsCa::NoCa;
    params.key_usages = Vec::new();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(serial));
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = id;
    set_validity(params, years);
    Ok(request.signed_by(&Issuer::from_ca_cert_pem(ca, key)?)?.pem())
}

/// The SHA-1 of the public key, as etcd-ca has it.
fn key_id(public_key: &[u8]) -> KeyIdMethod {
    KeyIdMethod::PreSpecified(Sha1::digest(public_key).to_vec())
}

fn set_validity(params: &mut CertificateParams, years: u32) {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(names::now() as u64);
    params.not_before = now;
    let year = now.year() + years as i32;
    // The 29th of February is followed by the 1st of March where there is none.
    params.not_after = now.replace_year(year).unwrap_or_else(|_| date_time_ymd(year, 3, 1));
}

/// A name that may stand in a certificate as a host's: labels of letters, digits and dashes.
pub fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err()
}
