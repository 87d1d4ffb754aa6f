//! Why nothing was fetched, and whether another try may help.

use std::time::Duration;

use http::StatusCode;

/// Why nothing was fetched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// No URL, a scheme other than http(s), a user name, or characters that parsers disagree on.
    #[error("the URL is not one that is fetched: {0}")]
    InvalidUrl(String),
    /// Longer than the limit.
    #[error("the URL has {length} bytes, more than the limit of {limit}")]
    UrlTooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A port other than 80 and 443 that no allow-list names.
    #[error("the port {0} is not allowed")]
    PortForbidden(u16),
    /// The host's address is not public, and no allow-list names it.
    #[error("the host's address is not public: {0}")]
    AddressForbidden(String),
    /// Too many redirects, one from https to http, or one to a URL that is not fetched.
    #[error("redirect refused: {0}")]
    RedirectRefused(String),
    /// The host's name does not exist, or has no address.
    #[error("the host's name has no address: {0}")]
    HostNotFound(String),
    /// The name servers failed or did not answer.
    #[error("the host's name could not be looked up: {0}")]
    LookUp(String),
    /// No connection, or one that broke before the answer.
    #[error("the connection failed: {0}")]
    Connect(String),
    /// The host's certificate is not valid for it.
    #[error("the host's certificate is not valid: {0}")]
    CertificateInvalid(String),
    /// Not within a time limit.
    #[error("no {what} within {limit:?}")]
    Timeout {
        /// What did not come.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The body comes slower than the limit.
    #[error("the body comes slower than {0} bytes a second")]
    TooSlow(u64),
    /// An answer other than 200.
    #[error("the host answered {status}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// What `Retry-After` asked for.
        retry_after: Option<Duration>,
    },
    /// The host has asked so often to be left alone that nobody waits for it any more.
    #[error("the host keeps answering that it is overloaded; it was not asked")]
    HostPaused,
    /// An answer that is not HTTP, or a body whose encoding is broken.
    #[error("the host's answer is not valid: {0}")]
    InvalidResponse(String),
    /// The body ended before its announced length.
    #[error("the body broke off: {0}")]
    BodyIncomplete(String),
    /// The body exceeds the limit.
    #[error("the file is larger than the limit of {0} bytes")]
    TooLarge(u64),
}

impl FetchError {
    /// Returns whether another try may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::LookUp(_) | Self::Connect(_) | Self::Timeout { .. } | Self::TooSlow(_) | Self::BodyIncomplete(_) => {
                true
            }
            Self::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429),
            Self::InvalidUrl(_)
            | Self::UrlTooLong { .. }
            | Self::PortForbidden(_)
            | Self::AddressForbidden(_)
            | Self::RedirectRefused(_)
            | Self::HostNotFound(_)
            | Self::CertificateInvalid(_)
            | Self::HostPaused
            | Self::InvalidResponse(_)
            | Self::TooLarge(_) => false,
        }
    }

    /// Returns the HTTP status, where the host gave one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns how long the host asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What an error of the HTTP client means before any part of the answer has come.
pub(super) fn of_request(error: &(dyn std::error::Error + 'static)) -> FetchError {
    classify(error, FetchError::Connect)
}

/// What an error of the HTTP client means while the body comes.
pub(super) fn of_body(error: &(dyn std::error::Error + 'static)) -> FetchError {
    classify(error, FetchError::BodyIncomplete)
}

/// Looks for the cause that says most in the chain of an error.
fn classify(error: &(dyn std::error::Error + 'static), otherwise: fn(String) -> FetchError) -> FetchError {
    let mut deepest = error.to_string();
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(ours) = current.downcast_ref::<FetchError>() {
            return ours.clone();
        }
        if let Some(rustls::Error::InvalidCertificate(reason)) = current.downcast_ref::<rustls::Error>() {
            return FetchError::CertificateInvalid(reason.to_string());
        }
        if let Some(error) = current.downcast_ref::<hyper::Error>()
            && error.is_parse()
        {
            return FetchError::InvalidResponse(error.to_string());
        }
        deepest = current.to_string();
        cause = current.source();
        let Some(error) = current.downcast_ref::<std::io::Error>() else { continue };
        // The decoders' word for bytes that are not of their format.
        if matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput)
            && error.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>())
        {
            return FetchError::InvalidResponse(deepest);
        }
        // An io::Error hands out the source of what it wraps, not what it wraps.
        cause = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    }
    otherwise(deepest)
}
