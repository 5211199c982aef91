//! The JSON of the HTTP API v1, as it is sent and read.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::unit::UnitOption;

/// How many units, states or machines a page has, unless token_limit says otherwise.
pub const PAGE: u16 = 100;

/// Fields in the order in which they are sent. Empty ones are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Unit {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub desired_state: String,
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<UnitOption>,
    /// How long ago the unit's machine was last heard of, where that is long; not in the original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_seconds: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitState {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How long ago the machine that says so was last heard of, where that is long; not in the original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_seconds: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_active_state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_load_state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_sub_state: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// `cordoned` or `draining`; not in the original.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cordon: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(rename = "primaryIP", skip_serializing_if = "String::is_empty")]
    pub primary_ip: String,
    #[serde(rename = "staleSeconds", skip_serializing_if = "Option::is_none")]
    pub stale_seconds: Option<u64>,
}

/// Whether a machine takes units: all, no further ones, or none, and gives away what may move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cordon {
    #[default]
    None,
    Cordoned,
    Draining,
}

impl Cordon {
    pub fn name(self) -> &'static str {
        match self {
            Cordon::None => "",
            Cordon::Cordoned => "cordoned",
            Cordon::Draining => "draining",
        }
    }

    /// Whatever else stands there: somebody wanted the machine to be spared.
    pub fn read(text: &str) -> Cordon {
        match text {
            "" => Cordon::None,
            "draining" => Cordon::Draining,
            _ => Cordon::Cordoned,
        }
    }
}

/// The fields of a page sort by name, and `nextPageToken` comes before two of the three lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitPage {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_page_token: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Unit>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitStatePage {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_page_token: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<UnitState>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePage {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Machine>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_page_token: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: ErrorEntity,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEntity {
    pub code: u16,
    pub message: String,
}

/// Why a unit is not where it could be; not in the original.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    pub name: String,
    pub desired_state: String,
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// Each machine, and what speaks against it; empty where nothing does.
    pub machines: BTreeMap<String, String>,
}

/// One step of a PATCH of the machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetadataOp {
    pub op: String,
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<MetadataValue>,
}

/// As it is documented, and as fleet 1.0 reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetadataValue {
    Text(String),
    Wrapped { value: String },
}

impl MetadataValue {
    pub fn text(&self) -> &str {
        match self {
            MetadataValue::Text(text) | MetadataValue::Wrapped { value: text } => text,
        }
    }
}

/// What a unit shall be, or is: not scheduled, on its machine, started there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobState {
    #[default]
    Inactive,
    Loaded,
    Launched,
}

impl JobState {
    pub fn name(self) -> &'static str {
        match self {
            JobState::Inactive => "inactive",
            JobState::Loaded => "loaded",
            JobState::Launched => "launched",
        }
    }

    pub fn parse(text: &str) -> Option<JobState> {
        [JobState::Inactive, JobState::Loaded, JobState::Launched]
            .into_iter()
            .find(|state| state.name() == text)
    }
}

/// The token of a page: its size and its number.
pub fn page_token(size: u16, page: u16) -> String {
    use base64::Engine as _;
    let [size, page] = [size.to_le_bytes(), page.to_le_bytes()];
    base64::engine::general_purpose::URL_SAFE.encode([size[0], size[1], page[0], page[1]])
}

/// The number of the page that a token names, or what is wrong with it in Go's words.
pub fn parse_page_token(limit: u16, token: &str) -> Result<u16, String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE
        .decode(token)
        .map_err(|error| {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                _ => token.len() / 4 * 4,
            };
            format!("illegal base64 data at input byte {at}")
        })?;
    match bytes[..] {
        [] | [_, _] => Err("EOF".into()),
        [_] | [_, _, _] => Err("unexpected EOF".into()),
        [a, b, ..] if u16::from_le_bytes([a, b]) != limit => Err(format!("token limit must be {limit}")),
        [_, _, 0, 0, ..] => Err("token page must be greater than zero".into()),
        [_, _, c, d, ..] => Ok(u16::from_le_bytes([c, d])),
    }
}

/// One page of a list, and the token of the next one.
pub fn page<T>(all: Vec<T>, limit: u16, number: u16) -> (Vec<T>, String) {
    let size = usize::from(limit);
    let (begin, end) = (size * (usize::from(number) - 1), size * usize::from(number));
    // As in the original, a full last page names an empty one after it.
    let next = if all.len() >= end && !all.is_empty() {
        page_token(limit, number.saturating_add(1))
    } else {
        String::new()
    };
    (all.into_iter().skip(begin).take(size).collect(), next)
}

/// An error's body.
pub fn error(code: u16, message: &str) -> String {
    let body = ErrorBody {
        error: ErrorEntity {
            code,
            message: message.into(),
        },
    };
    serde_json::to_string(&body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_fleets() {
        assert_eq!(page_token(PAGE, 2), "ZAACAA==");
        assert_eq!(parse_page_token(PAGE, "ZAADAA=="), Ok(3));
        assert_eq!(parse_page_token(7, &page_token(7, 2)), Ok(2));
        let refused = [
            ("EwBMLg==", "token limit must be 100"),
            ("xx", "illegal base64 data at input byte 0"),
            ("ZAAAAA==", "token page must be greater than zero"),
            ("", "EOF"),
            ("AAAA", "unexpected EOF"),
        ];
        for (token, why) in refused {
            assert_eq!(parse_page_token(PAGE, token), Err(why.to_string()), "{token}");
        }
        assert_eq!(
            page((0..250).collect::<Vec<_>>(), PAGE, 3),
            ((200..250).collect(), String::new())
        );
        assert_eq!(page((0..250).collect::<Vec<_>>(), PAGE, 1).1, "ZAACAA==");
        assert_eq!(page(vec![1], PAGE, 1000), (vec![], String::new()));
    }

    #[test]
    fn json_is_as_recorded() {
        let unit = Unit {
            current_state: "inactive".into(),
            desired_state: "inactive".into(),
            name: "es.service".into(),
            options: vec![UnitOption::new("", "A", "b")],
            ..Unit::default()
        };
        let recorded = r#"{"currentState":"inactive","desiredState":"inactive","name":"es.service","options":[{"name":"A","value":"b"}]}"#;
        assert_eq!(serde_json::to_string(&unit).unwrap(), recorded);
        assert_eq!(serde_json::to_string(&UnitPage::default()).unwrap(), "{}");
        assert_eq!(error(405, ""), r#"{"error":{"code":405,"message":""}}"#);
    }
}
