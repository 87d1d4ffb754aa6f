//! Why nothing was fetched, and whether another try may help.

use std::io::{self, ErrorKind};
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
    let chain = chain(error);
    known(&chain).unwrap_or_else(|| FetchError::Connect(deepest(&chain)))
}

/// What an error of the HTTP client means while the body comes.
pub(super) fn of_body(error: &(dyn std::error::Error + 'static)) -> FetchError {
    let chain = chain(error);
    let io = |kinds: &[ErrorKind]| {
        chain.iter().filter_map(|it| it.downcast_ref::<io::Error>()).any(|it| kinds.contains(&it.kind()))
    };
    // The HTTP client's word for chunks that are none, and some decoders' for bytes not of their format;
    // but TLS says so of a connection that was tampered with.
    let garbled =
        io(&[ErrorKind::InvalidData, ErrorKind::InvalidInput]) && !chain.iter().any(|it| it.is::<rustls::Error>());
    let of_connection = chain.iter().any(|it| it.is::<hyper::Error>()) || io(&[ErrorKind::UnexpectedEof]);
    known(&chain).unwrap_or_else(|| {
        if of_connection && !garbled {
            FetchError::BodyIncomplete(deepest(&chain))
        } else {
            FetchError::InvalidResponse(deepest(&chain))
        }
    })
}

type Cause<'e> = &'e (dyn std::error::Error + 'static);

/// Returns an error and all its causes.
fn chain(error: Cause<'_>) -> Vec<Cause<'_>> {
    std::iter::successors(Some(error), |current| match current.downcast_ref::<io::Error>() {
        // It hands out the source of what it wraps, not what it wraps.
        Some(io) => io.get_ref().map(|inner| inner as Cause<'_>),
        None => current.source(),
    })
    .collect()
}

fn deepest(chain: &[Cause<'_>]) -> String {
    chain.last().map(ToString::to_string).unwrap_or_default()
}

/// Returns the failure that one of the causes is by itself.
fn known(chain: &[Cause<'_>]) -> Option<FetchError> {
    chain.iter().find_map(|cause| {
        if let Some(ours) = cause.downcast_ref::<FetchError>() {
            return Some(ours.clone());
        }
        if let Some(rustls::Error::InvalidCertificate(reason)) = cause.downcast_ref::<rustls::Error>() {
            return Some(FetchError::CertificateInvalid(reason.to_string()));
        }
        let error = cause.downcast_ref::<hyper::Error>()?;
        error.is_parse().then(|| FetchError::InvalidResponse(error.to_string()))
    })
}
