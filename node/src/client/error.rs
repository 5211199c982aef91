//! What can go wrong between a client and a cluster.
use thiserror::Error;

#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The server's own answer about a key.
    #[error("{code}: {message} ({cause}) [{index}]")]
    Etcd {
        code: u64,
        message: String,
        cause: String,
        index: u64,
    },
    /// No endpoint answered; one text per endpoint.
    #[error("client: etcd cluster is unavailable or misconfigured")]
    Cluster(Vec<String>),
    /// The connection broke while a watch waited, or in the middle of an answer; `index` is that of its header.
    #[error("{text}")]
    CutOff { index: u64, text: String },
    #[error("client: no endpoints available")]
    NoEndpoints,
    #[error("context deadline exceeded")]
    Deadline,
    /// A message of the members and auth APIs, or a request that cannot be sent.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// One line per endpoint, for a cluster error.
    pub fn detail(&self) -> Option<String> {
        match self {
            Error::Cluster(errors) => Some(
                errors
                    .iter()
                    .enumerate()
                    .map(|(k, text)| format!("error #{k}: {text}\n"))
                    .collect(),
            ),
            _ => None,
        }
    }
}
