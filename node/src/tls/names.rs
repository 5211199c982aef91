//! What a certificate covers, and when: its names and addresses, and the time it holds for.
use std::fmt;
use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub dns: Vec<String>,
    pub ips: Vec<IpAddr>,
}

impl Names {
    /// The subject alternative names; a common name counts for nobody any more.
    pub fn of(der: &[u8]) -> Result<Names, String> {
        let (_, cert) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let mut names = Names::default();
        let san = cert.subject_alternative_name().map_err(|error| error.to_string())?;
        for name in san.iter().flat_map(|san| &san.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.dns.push(name.to_string()),
                GeneralName::IPAddress(bytes) => names.ips.extend(address(bytes)),
                _ => {}
            }
        }
        Ok(names)
    }

    pub fn all(&self) -> Vec<String> {
        let ips = self.ips.iter().map(IpAddr::to_string);
        self.dns.iter().cloned().chain(ips).collect()
    }

    /// As a client would judge it: an address by its bytes, a name without regard to case, `*` for one label.
    pub fn covers(&self, host: &str) -> bool {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.ips.contains(&ip);
        }
        let host = host.trim_end_matches('.');
        self.dns.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain)),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all();
        match all.is_empty() {
            true => f.write_str("nothing at all"),
            false => f.write_str(&all.join(", ")),
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Seconds since 1970 of a certificate's first and last moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

impl Validity {
    pub fn of(der: &[u8]) -> Result<Validity, String> {
        let (_, cert) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let validity = cert.validity();
        Ok(Validity {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// What is wrong with it at this moment, if anything.
    pub fn fault(&self) -> Option<String> {
        let now = now();
        let days = |seconds: i64| format!("{:.1} days", seconds as f64 / 86_400.0);
        if now > self.not_after {
            return Some(format!("expired {} ago", days(now - self.not_after)));
        }
        (now < self.not_before).then(|| {
            let ahead = days(self.not_before - now);
            format!("is not valid yet, for another {ahead} by this machine's clock")
        })
    }
}

/// This machine's clock, in seconds since 1970.
pub fn now() -> i64 {
    crate::wall::since_epoch().as_secs() as i64
}
