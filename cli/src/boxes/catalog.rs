//! A box's catalog, Vagrant's JSON: versions, and for each provider an address and a checksum (pure).
use serde::Deserialize;

use super::checksum::Checksum;
use super::version::{Constraint, Version};

#[derive(Clone, Debug, Deserialize)]
pub struct Catalog {
    pub name: String,
    #[serde(default)]
    versions: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
struct Entry {
    version: String,
    /// `active`, or one that is not to be had.
    status: Option<String>,
    #[serde(default)]
    providers: Vec<Provider>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Provider {
    pub name: String,
    pub url: String,
    checksum_type: Option<String>,
    checksum: Option<String>,
}

impl Provider {
    /// Of a kind that nobody knows it is an error: an unchecked box is not what the catalog asks for.
    pub fn checksum(&self) -> Result<Option<Checksum>, String> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (filled(&self.checksum_type), filled(&self.checksum)) {
            (Some(kind), Some(digest)) => Checksum::new(&kind, &digest).map(Some),
            (_, None) => Ok(None),
            (None, Some(digest)) => Checksum::new("sha256", &digest).map(Some),
        }
    }
}

/// A version that can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub version: Version,
    pub provider: Provider,
}

pub fn read(text: &str) -> Result<Catalog, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Can this be a catalog and no box?
pub fn is_catalog(begin: &[u8]) -> bool {
    begin.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

impl Catalog {
    /// The newest version that fits. Vagrant's rule: a version counts only if it has the provider.
    pub fn newest(&self, constraint: &Constraint, provider: Option<&str>) -> Result<Release, String> {
        let mut fitting: Vec<(Version, &Entry)> = Vec::new();
        for entry in self
            .versions
            .iter()
            .filter(|entry| entry.status.as_deref().unwrap_or("active") == "active")
        {
            let version: Version = entry.version.parse()?;
            let has = entry
                .providers
                .iter()
                .any(|have| provider.is_none_or(|wanted| have.name == wanted));
            if has && constraint.accepts(&version) {
                fitting.push((version, entry));
            }
        }
        let newest = fitting.into_iter().max_by(|a, b| a.0.cmp(&b.0));
        let (version, entry) =
            newest.ok_or_else(|| format!("{} has no such version: it has {}", self.name, self.list()))?;
        let mut providers = entry
            .providers
            .iter()
            .filter(|have| provider.is_none_or(|wanted| have.name == wanted));
        match (providers.next(), providers.next()) {
            (Some(provider), None) => Ok(Release {
                version,
                provider: provider.clone(),
            }),
            _ => {
                let names: Vec<&str> = entry.providers.iter().map(|provider| provider.name.as_str()).collect();
                Err(format!(
                    "{version} is for several providers; add --provider, one of: {}",
                    names.join(", ")
                ))
            }
        }
    }

    fn list(&self) -> String {
        let versions = self.versions.iter().map(|entry| {
            let providers: Vec<&str> = entry.providers.iter().map(|provider| provider.name.as_str()).collect();
            format!("{} ({})", entry.version, providers.join(", "))
        });
        let versions: Vec<String> = versions.collect();
        if versions.is_empty() {
            "none".to_string()
        } else {
            versions.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"name": "coreos-alpha", "description": "x", "versions": [
        {"version": "1122.2.0", "status": "active", "providers": [
            {"name": "virtualbox", "url": "v", "checksum_type": "sha256", "checksum": "00"}, {"name": "libvirt", "url": "l"}]},
        {"version": "1185.1.0", "providers": [{"name": "virtualbox", "url": "new", "checksum_type": "sha1", "checksum": "ff"}]},
        {"version": "9999.0.0", "status": "revoked", "providers": [{"name": "virtualbox", "url": "bad"}]}]}"#;

    fn newest(constraint: &str, provider: Option<&str>) -> Result<(String, String), String> {
        let constraint = match constraint {
            "" => Constraint::default(),
            text => text.parse().expect(text),
        };
        let release = read(TEXT).expect("a catalog").newest(&constraint, provider)?;
        Ok((release.version.to_string(), release.provider.name))
    }

    #[test]
    fn the_newest_version_that_fits_and_has_the_provider_is_taken() {
        let release = |version: &str, provider: &str| Ok((version.to_string(), provider.to_string()));
        assert_eq!(newest("", Some("virtualbox")), release("1185.1.0", "virtualbox"));
        assert_eq!(newest("", None), release("1185.1.0", "virtualbox"));
        assert_eq!(newest("", Some("libvirt")), release("1122.2.0", "libvirt"));
        assert_eq!(newest("< 1185", Some("virtualbox")), release("1122.2.0", "virtualbox"));
        assert!(
            newest("< 1185", None)
                .expect_err("two providers")
                .contains("virtualbox, libvirt")
        );
        assert!(
            newest("> 5000", None)
                .expect_err("no such")
                .contains("1122.2.0 (virtualbox, libvirt)")
        );
    }

    #[test]
    fn what_is_no_catalog_is_refused() {
        for text in ["", "[]", "{}", r#"{"name": 7}"#] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(is_catalog(b"\n {\"name\"") && !is_catalog(&[0x1f, 0x8b]) && !is_catalog(b""));
    }

    #[test]
    fn a_checksum_of_an_unknown_kind_is_no_checksum() {
        let provider = |kind: Option<&str>, digest: Option<&str>| Provider {
            name: "p".into(),
            url: "u".into(),
            checksum_type: kind.map(String::from),
            checksum: digest.map(String::from),
        };
        assert!(provider(Some("crc"), Some("00")).checksum().is_err());
        assert_eq!(provider(None, None).checksum(), Ok(None));
        assert_eq!(provider(Some(""), Some("")).checksum(), Ok(None));
    }
}
