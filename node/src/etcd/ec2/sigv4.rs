//! AWS Signature Version 4, for requests whose answer is read whole.
//!
//! `aws-sigv4` would do the same with 17 more crates and 16 s of compiling; HMAC-SHA256 is in the tree anyway.
use ring::{digest, hmac};

use super::credentials::Credentials;

/// What a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Escaped, from the root on.
    pub path: &'a str,
    /// Escaped and sorted.
    pub query: &'a str,
    /// Sorted by their names, which are in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// Where and when a signature is good.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// As `20150830T123600Z`.
    pub time: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// The Authorization header.
pub fn authorization(request: &Request<'_>, scope: &Scope<'_>, credentials: &Credentials) -> String {
    let date = scope.time.split('T').next().unwrap_or_default();
    let within = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let canonical = hash(canonical(request, &names).as_bytes());
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{within}\n{canonical}", scope.time);
    let key = [date, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{}", credentials.secret_key).into_bytes(), |key, part| {
            sign(&key, part)
        });
    let signature = hex(&sign(&key, &to_sign));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{within}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key
    )
}

fn canonical(request: &Request<'_>, names: &str) -> String {
    let headers: String = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let Request {
        method, path, query, ..
    } = request;
    format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{}", hash(request.body))
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A moment as signatures write it.
pub fn time(since_epoch: std::time::Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = crate::log::date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of AWS's published examples.
    fn signed(request: &Request<'_>, service: &str) -> String {
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None);
        let scope = Scope {
            time: "20150830T123600Z",
            region: "us-east-1",
            service,
        };
        authorization(request, &scope, &credentials)
    }

    #[test]
    fn the_list_users_example_of_the_documentation() {
        let request = Request {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &[
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ],
            body: b"",
        };
        assert_eq!(
            hash(canonical(&request, "content-type;host;x-amz-date").as_bytes()),
            "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
        );
        assert_eq!(
            signed(&request, "iam"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn the_vanilla_examples_of_the_test_suite() {
        let vanilla = |method| Request {
            method,
            path: "/",
            query: "",
            headers: &[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")],
            body: b"",
        };
        for (method, signature) in [
            (
                "GET",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
        ] {
            let header = signed(&vanilla(method), "service");
            assert!(header.ends_with(signature), "{method}: {header}");
        }
    }

    #[test]
    fn the_time_is_written_without_punctuation() {
        let moment = std::time::Duration::from_secs(1_440_938_160);
        assert_eq!(time(moment), "20150830T123600Z");
    }
}
