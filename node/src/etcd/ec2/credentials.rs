//! Whose requests these are: keys from where AWS's own tools look for them, in their order.
use std::path::PathBuf;

use super::metadata::Metadata;

/// Keys for the API. What is secret in them is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: Option<String>,
    /// Where they are from, for messages.
    pub source: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "credentials from {}", self.source)
    }
}

impl Credentials {
    pub fn new(access_key: &str, secret_key: &str, session_token: Option<&str>) -> Credentials {
        Credentials {
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            session_token: session_token.map(str::to_string),
            source: String::new(),
        }
    }

    /// The text without what is secret, whoever put it there.
    pub fn redact(&self, text: &str) -> String {
        let secrets = [Some(&self.secret_key), self.session_token.as_ref()];
        let secrets = secrets.into_iter().flatten().filter(|secret| !secret.is_empty());
        secrets.fold(text.to_string(), |text, secret| {
            text.replace(secret.as_str(), "[secret]")
        })
    }
}

/// The AWS variables of the environment; empty ones count as not set.
#[derive(Clone, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    pub fn of_process() -> Environment {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        let pairs = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Environment::new(pairs)
    }

    pub fn new(pairs: impl Iterator<Item = (String, String)>) -> Environment {
        Environment(
            pairs
                .filter(|(name, _)| name.starts_with("AWS_") || name == "HOME")
                .collect(),
        )
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    pub fn profile(&self) -> &str {
        self.get("AWS_PROFILE")
            .or(self.get("AWS_DEFAULT_PROFILE"))
            .unwrap_or("default")
    }

    /// One of the two files of profiles.
    fn file(&self, variable: &str, name: &str) -> Option<PathBuf> {
        let given = self.get(variable).map(PathBuf::from);
        given.or_else(|| Some(PathBuf::from(self.get("HOME")?).join(".aws").join(name)))
    }

    /// The region of the profile in ~/.aws/config.
    pub fn region_of_profile(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.file("AWS_CONFIG_FILE", "config")?).ok()?;
        let profile = self.profile();
        let section = match profile {
            "default" => profile.to_string(),
            other => format!("profile {other}"),
        };
        let settings = section_of(&text, &section)?;
        setting(&settings, "region").map(str::to_string)
    }
}

/// Looks in the environment, in the file of profiles, and at the instance's metadata.
pub async fn find(environment: &Environment, metadata: &Metadata) -> Result<Credentials, String> {
    if let Some(found) = in_environment(environment)? {
        return Ok(found);
    }
    let file = environment.file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
    let no_file = match file {
        None => "HOME is not set, so there is no ~/.aws/credentials".to_string(),
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(text) => match in_file(&text, environment.profile(), &path.display().to_string())? {
                Some(found) => return Ok(found),
                None => format!("{} has no profile {:?}", path.display(), environment.profile()),
            },
            Err(error) => format!("cannot read {}: {error}", path.display()),
        },
    };
    metadata.credentials().await.map_err(|no_role| {
        format!(
            "there are no credentials for the EC2 API: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; {no_file}; {no_role}; set the two variables, or give the instance a role that allows ec2:DescribeInstances"
        )
    })
}

fn in_environment(environment: &Environment) -> Result<Option<Credentials>, String> {
    let key = environment.get("AWS_ACCESS_KEY_ID");
    let secret = environment.get("AWS_SECRET_ACCESS_KEY");
    match (key, secret) {
        (Some(key), Some(secret)) => Ok(Some(Credentials {
            source: "the environment".into(),
            ..Credentials::new(key, secret, environment.get("AWS_SESSION_TOKEN"))
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not: set both or none".into()),
        (None, Some(_)) => Err("AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not: set both or none".into()),
    }
}

fn in_file(text: &str, profile: &str, path: &str) -> Result<Option<Credentials>, String> {
    let Some(settings) = section_of(text, profile) else {
        return Ok(None);
    };
    let key = setting(&settings, "aws_access_key_id");
    let secret = setting(&settings, "aws_secret_access_key");
    let (Some(key), Some(secret)) = (key, secret) else {
        return Err(format!(
            "profile {profile:?} in {path} has no aws_access_key_id and aws_secret_access_key: put them there, or choose another profile with AWS_PROFILE; profiles that name a role or a program are not read"
        ));
    };
    Ok(Some(Credentials {
        source: format!("profile {profile:?} in {path}"),
        ..Credentials::new(key, secret, setting(&settings, "aws_session_token"))
    }))
}

/// The settings of a section, in the form that AWS's files have.
fn section_of<'a>(text: &'a str, wanted: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let mut found: Option<Vec<(&str, &str)>> = None;
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default();
            inside = name.split_whitespace().eq(wanted.split_whitespace());
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (inside, trimmed.split_once('=')) {
            // An indented line belongs to a nested setting.
            if !line.starts_with([' ', '\t']) {
                found.get_or_insert_default().push((key.trim(), value.trim()));
            }
        }
    }
    found
}

fn setting<'a>(settings: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    // The last one wins.
    let found = settings.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| *value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n[default]\naws_access_key_id = AKID\naws_secret_access_key=s3cr=t\n\n[ other ]\nAWS_ACCESS_KEY_ID=OTHER\naws_secret_access_key = x\naws_session_token = tok\ns3 =\n  aws_access_key_id = nested\n[role]\nrole_arn = arn\n";

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())))
    }

    #[test]
    fn a_profile_has_keys_and_perhaps_a_token() {
        let default = in_file(FILE, "default", "f").unwrap().unwrap();
        assert_eq!(
            (default.access_key.as_str(), default.secret_key.as_str()),
            ("AKID", "s3cr=t")
        );
        assert_eq!(default.session_token, None);
        let other = in_file(FILE, "other", "f").unwrap().unwrap();
        assert_eq!(
            (other.access_key.as_str(), other.session_token.as_deref()),
            ("OTHER", Some("tok"))
        );
        assert_eq!(in_file(FILE, "none", "f"), Ok(None));
        assert!(in_file(FILE, "role", "f").unwrap_err().contains("AWS_PROFILE"));
    }

    #[test]
    fn half_a_pair_of_variables_is_an_error() {
        assert!(in_environment(&environment(&[("AWS_ACCESS_KEY_ID", "a")])).is_err());
        assert!(in_environment(&environment(&[("AWS_SECRET_ACCESS_KEY", "a")])).is_err());
        let empty = environment(&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")]);
        assert_eq!(in_environment(&empty), Ok(None));
    }

    #[tokio::test]
    async fn the_environment_comes_before_the_file_and_the_file_before_the_metadata() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        std::fs::write(&file, FILE).unwrap();
        let path = file.display().to_string();
        let mut pairs = vec![("AWS_SHARED_CREDENTIALS_FILE", path.as_str()), ("AWS_PROFILE", "other")];
        let off = environment(&[("AWS_EC2_METADATA_DISABLED", "true")]);
        let metadata = Metadata::new(&off).unwrap();
        let found = find(&environment(&pairs), &metadata).await.unwrap();
        assert_eq!(found.access_key, "OTHER");
        pairs.extend([("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "s")]);
        let found = find(&environment(&pairs), &metadata).await.unwrap();
        assert_eq!(found.access_key, "ENV");
        let nowhere = find(&off, &metadata).await.unwrap_err();
        assert!(
            nowhere.contains("HOME is not set") && nowhere.contains("AWS_EC2_METADATA_DISABLED"),
            "{nowhere}"
        );
    }

    #[test]
    fn the_region_is_that_of_the_profile() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, "[default]\nregion = eu-west-1\n[profile x]\nregion=us-east-2\n").unwrap();
        let path = file.display().to_string();
        let region = |pairs: &[(&str, &str)]| environment(pairs).region_of_profile();
        assert_eq!(region(&[("AWS_CONFIG_FILE", &path)]).as_deref(), Some("eu-west-1"));
        let other = region(&[("AWS_CONFIG_FILE", &path), ("AWS_PROFILE", "x")]);
        assert_eq!(other.as_deref(), Some("us-east-2"));
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let credentials = Credentials::new("AKID", "hush", Some("token"));
        assert!(!format!("{credentials:?}").contains("hush"));
        assert_eq!(credentials.redact("a hush b token c"), "a [secret] b [secret] c");
    }
}
