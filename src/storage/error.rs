//! Why an object could not be read or written.

use std::path::PathBuf;

use crate::failpoint::Injected;

/// Why an object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The arguments do not make a client.
    #[error("failed to set up object storage")]
    Configure(#[source] object_store::Error),
    /// A setting is missing.
    #[error("object storage needs {flag} with --storage-provider={chosen}")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// The provider that is chosen.
        chosen: &'static str,
    },
    /// A setting would have no effect.
    #[error("{flag} has no effect with --storage-provider={chosen}: leave it out, or choose its provider")]
    OfAnother {
        /// The flag.
        flag: &'static str,
        /// The provider that is chosen.
        chosen: &'static str,
    },
    /// Settings that exclude each other.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The file of certificate authorities cannot be read.
    #[error("failed to read certificate authorities of storage from {path:?}, which {flag} names")]
    ReadAuthorities {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of certificate authorities has none.
    #[error("there is no certificate in PEM in {path:?}, which {flag} names")]
    NoAuthority {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A request failed, also after retries.
    #[error("failed to {action} object {key:?}")]
    Request {
        /// What was tried.
        action: &'static str,
        /// The object's key or prefix.
        key: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// There was no answer in time.
    #[error("failed to {action} object {key:?} in time")]
    Timeout {
        /// What was tried.
        action: &'static str,
        /// The object's key or prefix.
        key: String,
    },
}

impl StorageError {
    /// Returns whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Request { source: object_store::Error::NotFound { .. }, .. })
    }
}

impl From<Injected> for StorageError {
    fn from(injected: Injected) -> Self {
        let source = object_store::Error::Generic { store: "storage", source: Box::new(injected) };
        request("pass a failpoint of", "", source)
    }
}

pub(super) fn request(action: &'static str, key: &str, source: object_store::Error) -> StorageError {
    StorageError::Request { action, key: key.to_owned(), source }
}
