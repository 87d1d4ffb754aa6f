//! URLs that let whoever has them read one object for a while, without credentials.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use url::Url;

use super::args::Provider;
use super::client;
use super::error::request;
use super::{StorageArgs, StorageError};

/// How long a service that signs is asked, where the key is not here.
const PATIENCE: Duration = Duration::from_secs(15);

/// Signs URLs of one bucket. With a key it sends nothing: a URL of an object that does not exist can be signed too.
#[derive(Debug, Clone)]
pub struct Presigner {
    signer: Arc<dyn Signer>,
    valid: Duration,
    provider: Provider,
}

impl Presigner {
    /// Returns what signs URLs that are valid for that long; with S3 at an endpoint that clients can reach, by default
    /// that of storage.
    pub fn new(args: &StorageArgs, public_endpoint: Option<&Url>, valid: Duration) -> Result<Self, StorageError> {
        let signer = client::signer(args, public_endpoint, PATIENCE)?;
        Ok(Self { signer, valid, provider: args.storage_provider })
    }

    /// Returns how long a URL is valid.
    #[must_use]
    pub fn valid(&self) -> Duration {
        self.valid
    }

    /// Refuses private images where a URL cannot say that they are.
    pub fn check_private(&self) -> Result<(), StorageError> {
        match self.provider {
            Provider::S3 => Ok(()),
            // Google's XML API has no `response-cache-control`, and Azure's signer takes no such parameter.
            Provider::Gcs | Provider::Azure => Err(StorageError::Unsupported(
                "--private-images with --image-delivery=redirect is possible with S3 alone: URLs of Google and Azure \
                 would let caches keep the images; use --image-delivery=stream",
            )),
        }
    }

    /// Returns the URL under which an object can be read by this method. Storage says `cache_control` then, in place
    /// of what was stored with the object.
    pub async fn url(&self, method: Method, key: &str, cache_control: Option<&str>) -> Result<Url, StorageError> {
        let path = Path::from(key);
        // A shared access signature names rights and no method, and the library knows none for HEAD.
        let method = if self.provider == Provider::Azure && method == Method::HEAD { Method::GET } else { method };
        let url = match cache_control {
            Some(value) => {
                let options = SignedUrlOptions::new().with_query([("response-cache-control", value)]);
                self.signer.signed_url_opts(method, &path, self.valid, &options).await
            }
            None => self.signer.signed_url(method, &path, self.valid).await,
        };
        url.map_err(|source| request("sign the URL of", key, source))
    }
}
