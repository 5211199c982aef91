//! Connecting to a URL, over TLS when it says https.
use std::io;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::reload::Reload;
use super::{Files, client};

/// A connection of either kind; who uses it has a code path for each, so that the plain one pays for nothing.
pub enum Link {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub struct Connector {
    config: Reload<ClientConfig>,
}

impl Connector {
    /// The files are read when the first https URL is connected to.
    pub fn new(files: Files) -> Connector {
        Connector {
            config: Reload::new(files, client::config),
        }
    }

    /// Believes any certificate, as members with generated ones do.
    pub fn unverified(files: Files) -> Connector {
        Connector {
            config: Reload::new(files, client::unverified),
        }
    }

    /// Reads the files, and says what is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        self.config.get().map(drop)
    }

    pub async fn connect(&self, url: &str) -> io::Result<Link> {
        let (scheme, address) = url.split_once("://").unwrap_or_default();
        let address = address.trim_end_matches('/');
        match scheme {
            "http" => Ok(Link::Plain(dial(address).await?)),
            "https" => {
                let config = self.config.get().map_err(io::Error::other)?;
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
                let name = ServerName::try_from(host).map_err(io::Error::other)?;
                let stream = dial(address).await?;
                let stream = TlsConnector::from(config).connect(name, stream).await?;
                Ok(Link::Tls(Box::new(stream)))
            }
            _ => Err(io::Error::other(format!(
                "cannot connect to {url}: it is no http or https URL"
            ))),
        }
    }
}

/// A fault of TLS with the server's URL in front and what may be done behind; its source stays what it was.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {error}{hint}")]
pub struct Fault {
    url: String,
    #[source]
    error: rustls::Error,
    hint: &'static str,
}

/// Makes a `Fault` of an error that is about TLS, leaves others alone.
pub fn explain(url: &str, error: io::Error) -> io::Error {
    use rustls::{AlertDescription, CertificateError, Error};
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return error;
    };
    let hint = match tls {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            " (the trusted CA file has to hold the CA that signed it)"
        }
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => {
            " (give it a certificate that covers its address, or change its URL)"
        }
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown,
        ) => " (the other side refuses our certificate: its CA has to have signed it)",
        Error::InvalidMessage(_) => " (does the other side speak TLS at this URL?)",
        _ => "",
    };
    let fault = Fault {
        url: url.into(),
        error: tls.clone(),
        hint,
    };
    io::Error::new(error.kind(), fault)
}

async fn dial(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
