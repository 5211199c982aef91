//! --discovery-ec2: `KEY=VALUE[,region=R][,endpoint=URL][,min=N]`.

/// Instances with this tag are the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ec2 {
    pub key: String,
    pub value: String,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    /// How many instances there have to be before a cluster begins.
    pub min: usize,
}

impl std::fmt::Display for Ec2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

const DEFAULT_MIN: usize = 2;
const FORM: &str = "it has to be like etcd=prod[,region=eu-west-1][,endpoint=http://HOST:PORT][,min=3], the tag first";

pub fn parse(text: &str) -> Result<Ec2, String> {
    let mut parts = text.split(',');
    let (key, value) = match parts.next().and_then(|tag| tag.split_once('=')) {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => (key, value),
        _ => return Err(format!("names no tag: {FORM}")),
    };
    let mut ec2 = Ec2 {
        key: key.into(),
        value: value.into(),
        region: None,
        endpoint: None,
        min: DEFAULT_MIN,
    };
    for part in parts {
        match part.split_once('=') {
            Some(("region", region)) if is_region(region) => ec2.region = Some(region.into()),
            Some(("endpoint", url)) => ec2.endpoint = Some(endpoint(url)?),
            Some(("min" | "size", count)) => {
                let count = count.parse().ok().filter(|count| *count > 0);
                ec2.min = count.ok_or_else(|| format!("{part:?} is no number of instances: {FORM}"))?;
            }
            _ => return Err(format!("{part:?} is not understood: {FORM}")),
        }
    }
    Ok(ec2)
}

/// It becomes part of a host's name, and of a signature.
pub fn is_region(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// An endpoint's URL, with nothing in it that a log should not show.
pub fn endpoint(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("the endpoint {text:?} is no URL: {error}"))?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    match url.scheme() {
        "http" | "https" if plain && url.has_host() => Ok(url.to_string()),
        "http" | "https" => Err("the endpoint's URL must hold no user name, password or query".into()),
        _ => Err(format!("the endpoint {text:?} is no http or https URL")),
    }
}
