//! The EC2 API's DescribeInstances: who carries a tag.
use std::time::Duration;

use super::answer::{self, Instance, State};
use super::credentials::{self, Credentials, Environment};
use super::metadata::Metadata;
use super::sigv4;
use crate::client::cluster::form;
use crate::client::reason;
use crate::etcd::config::{Config, Ec2, is_region};
use crate::etcd::discovery;
use crate::tls;

const VERSION: &str = "2016-11-15";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const PAGE: &str = "100";
/// Pages that are read at most: more instances than any cluster has, and an end where a service names a next page for ever.
const MAX_PAGES: usize = 50;
const MAX_ANSWER: u64 = 16 << 20;
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);

pub struct Api {
    endpoint: reqwest::Url,
    region: String,
    tag: Ec2,
    environment: Environment,
    http: reqwest::Client,
    pub metadata: Metadata,
}

/// Why there is no list.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed {
    /// Worth another try.
    Later(String),
    /// Somebody has to do something first.
    Never(String),
}

impl Api {
    pub async fn new(config: &Config, tag: &Ec2, environment: Environment) -> Result<Api, String> {
        let metadata = Metadata::new(&environment)?;
        let region = region(tag, &environment, &metadata).await?;
        let endpoint = match &tag.endpoint {
            Some(url) => url.clone(),
            None => match environment
                .get("AWS_ENDPOINT_URL_EC2")
                .or(environment.get("AWS_ENDPOINT_URL"))
            {
                Some(url) => crate::etcd::config::endpoint(url)
                    .map_err(|why| format!("AWS_ENDPOINT_URL_EC2 or AWS_ENDPOINT_URL: {why}"))?,
                None => public_endpoint(&region),
            },
        };
        let files = tls::Files {
            trusted_ca: environment.get("AWS_CA_BUNDLE").map(Into::into),
            ..tls::Files::default()
        };
        Ok(Api {
            endpoint: reqwest::Url::parse(&endpoint).map_err(|error| format!("the endpoint {endpoint:?}: {error}"))?,
            region,
            tag: tag.clone(),
            environment,
            http: discovery::http(config, &files, CONNECT)?,
            metadata,
        })
    }

    /// The instances with the tag that are there or may come back.
    pub async fn instances(&self) -> Result<Vec<Instance>, Failed> {
        let explain = |why: String| {
            let Api { tag, endpoint, .. } = self;
            format!("cannot list the instances with the tag {tag}: DescribeInstances at {endpoint}: {why}")
        };
        match self.pages().await {
            Ok(mut instances) => {
                // A filter's value is a pattern to EC2, and ours is a text.
                instances.retain(|one| one.state != State::Gone && one.tag(&self.tag.key) == Some(&self.tag.value));
                instances.sort_by(|a, b| a.id.cmp(&b.id));
                instances.dedup_by(|a, b| a.id == b.id);
                Ok(instances)
            }
            Err(Failed::Later(why)) => Err(Failed::Later(explain(why))),
            Err(Failed::Never(why)) => Err(Failed::Never(explain(why))),
        }
    }

    async fn pages(&self) -> Result<Vec<Instance>, Failed> {
        // Looked for each time: they are replaced before they expire.
        let credentials = credentials::find(&self.environment, &self.metadata);
        let credentials = credentials.await.map_err(Failed::Never)?;
        let mut instances = Vec::new();
        let mut next = None;
        for _ in 0..MAX_PAGES {
            let page = self.page(&credentials, next).await?;
            instances.extend(page.instances);
            if page.next.is_none() {
                return Ok(instances);
            }
            next = page.next;
        }
        Err(Failed::Never(format!("it has more than {MAX_PAGES} pages of them")))
    }

    async fn page(&self, credentials: &Credentials, next: Option<String>) -> Result<answer::Page, Failed> {
        let body = question(&self.tag, next);
        let time = sigv4::time(crate::wall::since_epoch());
        let host = match (self.endpoint.host_str(), self.endpoint.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_string(),
        };
        let mut headers = vec![
            ("content-type", FORM),
            ("host", host.as_str()),
            ("x-amz-date", time.as_str()),
        ];
        headers.extend(
            credentials
                .session_token
                .as_deref()
                .map(|token| ("x-amz-security-token", token)),
        );
        let signed = sigv4::Request {
            method: "POST",
            path: self.endpoint.path(),
            query: "",
            headers: &headers,
            body: body.as_bytes(),
        };
        let scope = sigv4::Scope {
            time: &time,
            region: &self.region,
            service: "ec2",
        };
        let authorization = sigv4::authorization(&signed, &scope, credentials);
        let mut request = self.http.post(self.endpoint.clone()).timeout(ANSWER);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.header("authorization", authorization).body(body);
        let answer = request.send().await.map_err(|error| Failed::Later(reason(&error)))?;
        let status = answer.status();
        if answer.content_length().is_some_and(|len| len > MAX_ANSWER) {
            return Err(Failed::Never(format!("an answer of more than {MAX_ANSWER} bytes")));
        }
        let text = answer.text().await.map_err(|error| Failed::Later(reason(&error)))?;
        read(status.as_u16(), &text, credentials)
    }
}

/// The body of a request.
fn question(tag: &Ec2, next: Option<String>) -> String {
    let mut pairs = vec![
        ("Action", "DescribeInstances".to_string()),
        ("Version", VERSION.into()),
        ("MaxResults", PAGE.into()),
        ("Filter.1.Name", format!("tag:{}", tag.key)),
        ("Filter.1.Value.1", tag.value.clone()),
        ("Filter.2.Name", "instance-state-name".into()),
    ];
    for (at, state) in ["pending", "running", "stopping", "stopped"].iter().enumerate() {
        let name = [
            "Filter.2.Value.1",
            "Filter.2.Value.2",
            "Filter.2.Value.3",
            "Filter.2.Value.4",
        ][at];
        pairs.push((name, state.to_string()));
    }
    pairs.extend(next.map(|token| ("NextToken", token)));
    let pairs: Vec<(String, String)> = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
    form(&pairs)
}

/// An answer's page, or what is wrong and whether it may pass.
fn read(status: u16, text: &str, credentials: &Credentials) -> Result<answer::Page, Failed> {
    if status / 100 == 2 {
        return answer::parse(text).map_err(|what| Failed::Never(format!("the answer is {what}: {NO_API}")));
    }
    let Some((code, message)) = answer::parse_error(text) else {
        let why = format!("it answers {status} and no error of EC2's");
        return Err(match status {
            429 | 500.. => Failed::Later(why),
            _ => Failed::Never(format!("{why}: {NO_API}")),
        });
    };
    let message: String = credentials.redact(&message).chars().take(MAX_MESSAGE).collect();
    let why = format!("{status} {code}: {}", message.trim_end_matches('.'));
    if status >= 500 || status == 429 || code.contains("Throttl") || code.contains("LimitExceeded") {
        return Err(Failed::Later(why));
    }
    let source = &credentials.source;
    let hint = match code.as_str() {
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
            format!("allow ec2:DescribeInstances to whom the credentials from {source} belong")
        }
        "AuthFailure" | "InvalidClientTokenId" | "SignatureDoesNotMatch" | "UnrecognizedClientException" => {
            format!("the credentials are from {source}: are they right, is the clock, and is the region?")
        }
        "RequestExpired" | "ExpiredToken" | "ExpiredTokenException" => {
            format!("renew the credentials from {source}, or set the clock right")
        }
        _ => return Err(Failed::Never(why)),
    };
    Err(Failed::Never(format!("{why}; {hint}")))
}

const NO_API: &str = "is the endpoint's URL that of an EC2 API?";
const MAX_MESSAGE: usize = 500;

async fn region(tag: &Ec2, environment: &Environment, metadata: &Metadata) -> Result<String, String> {
    let given = tag.region.clone().or_else(|| {
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let set = variables.iter().find_map(|name| environment.get(name));
        set.map(str::to_string).or_else(|| environment.region_of_profile())
    });
    let region = match given {
        Some(region) => region,
        None => metadata.region().await.map_err(|why| {
            format!("--discovery-ec2 needs a region: it names none, AWS_REGION and AWS_DEFAULT_REGION are not set, and {why}; add ,region=eu-west-1 or the like")
        })?,
    };
    match is_region(&region) {
        true => Ok(region),
        false => Err(format!("{region:?} is no AWS region: give one as region=eu-west-1")),
    }
}

fn public_endpoint(region: &str) -> String {
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    format!("https://ec2.{region}.{domain}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> Ec2 {
        crate::etcd::config::parse_ec2("aws:autoscaling:groupName=a b&c").unwrap()
    }

    fn failed(status: u16, text: &str) -> Failed {
        read(status, text, &Credentials::new("AKID", "hush", Some("token"))).unwrap_err()
    }

    fn error(code: &str, message: &str) -> String {
        format!("<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>")
    }

    #[test]
    fn the_question_names_tag_states_and_page() {
        let body = question(&tag(), Some("t=".into()));
        assert!(
            body.contains("Filter.1.Name=tag%3Aaws%3Aautoscaling%3AgroupName&Filter.1.Value.1=a+b%26c&"),
            "{body}"
        );
        assert!(
            body.contains("Filter.2.Value.4=stopped") && body.ends_with("&NextToken=t%3D"),
            "{body}"
        );
    }

    #[test]
    fn what_may_pass_is_asked_again_and_the_rest_is_not() {
        for (status, text) in [
            (503, error("Unavailable", "")),
            (503, error("RequestLimitExceeded", "")),
            (400, error("Throttling", "")),
            (502, "<html>".into()),
            (429, String::new()),
        ] {
            assert!(matches!(failed(status, &text), Failed::Later(_)), "{status} {text}");
        }
        for (status, text) in [
            (401, error("AuthFailure", "")),
            (403, error("UnauthorizedOperation", "")),
            (400, error("InvalidParameterValue", "")),
            (404, "<html>".into()),
            (301, String::new()),
        ] {
            assert!(matches!(failed(status, &text), Failed::Never(_)), "{status} {text}");
        }
        assert!(matches!(failed(200, "<html/>"), Failed::Never(_)));
    }

    #[test]
    fn an_error_says_what_ec2_says_and_what_to_do_and_no_secret() {
        let Failed::Never(why) = failed(403, &error("UnauthorizedOperation", "You may not, hush token.")) else {
            panic!("it may not pass");
        };
        assert!(
            why.starts_with("403 UnauthorizedOperation: You may not, [secret] [secret]; allow ec2:DescribeInstances"),
            "{why}"
        );
    }

    #[test]
    fn china_has_a_domain_of_its_own() {
        assert_eq!(public_endpoint("eu-west-1"), "https://ec2.eu-west-1.amazonaws.com/");
        assert_eq!(
            public_endpoint("cn-north-1"),
            "https://ec2.cn-north-1.amazonaws.com.cn/"
        );
    }

    /// Answers one request after the other with these, and gives the bodies of the requests.
    async fn serve(listener: tokio::net::TcpListener, answers: Vec<String>) -> Vec<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut bodies = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            let body = loop {
                let mut buffer = [0; 4096];
                let len = stream.read(&mut buffer).await.unwrap();
                request += std::str::from_utf8(&buffer[..len]).unwrap();
                let Some((head, body)) = request.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head
                    .to_lowercase()
                    .split_once("content-length: ")
                    .map(|(_, rest)| rest.to_string());
                let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
                if length == Some(body.len()) {
                    break body.to_string();
                }
            };
            bodies.push(body);
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all((head + &answer).as_bytes()).await.unwrap();
        }
        bodies
    }

    fn page_of(id: &str, value: &str, next: &str) -> String {
        format!(
            "<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>{id}</instanceId><instanceState><name>running</name></instanceState><tagSet><item><key>etcd</key><value>{value}</value></item></tagSet></item></instancesSet></item></reservationSet>{next}</DescribeInstancesResponse>"
        )
    }

    #[tokio::test]
    async fn all_pages_are_read_and_only_this_very_tag_counts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let pages = vec![
            page_of("i-2", "prod*", "<nextToken>two</nextToken>"),
            page_of("i-9", "product", "<nextToken>three</nextToken>"),
            page_of("i-1", "prod*", ""),
        ];
        let served = tokio::spawn(serve(listener, pages));
        let tag = format!("etcd=prod*,region=eu-west-1,endpoint={endpoint}");
        let args = ["--proxy=on".to_string(), format!("--discovery-ec2={tag}")];
        let crate::etcd::config::Outcome::Run(config, _) = crate::etcd::config::parse(&args, &[]) else {
            panic!("{args:?}");
        };
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let environment = Environment::new(keys.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        let api = Api::new(&config, config.discovery.ec2.as_ref().unwrap(), environment)
            .await
            .unwrap();
        let ids: Vec<String> = api.instances().await.unwrap().into_iter().map(|one| one.id).collect();
        assert_eq!(ids, ["i-1", "i-2"]);
        let bodies = served.await.unwrap();
        let next: Vec<bool> = ["two", "three"]
            .iter()
            .zip(&bodies[1..])
            .map(|(token, body)| body.ends_with(&format!("&NextToken={token}")))
            .collect();
        assert_eq!(next, [true, true], "{bodies:?}");
    }
}
