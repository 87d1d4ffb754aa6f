//! URLs that let whoever has them read one object for a while, without credentials.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use secrecy::ExposeSecret;
use url::Url;

use super::{StorageArgs, StorageError, request};

/// Signs URLs of one bucket. It sends nothing: a URL of an object that does not exist can be signed too.
#[derive(Debug, Clone)]
pub struct Presigner {
    store: Arc<AmazonS3>,
    valid: Duration,
}

impl Presigner {
    /// Returns what signs URLs at an endpoint that clients can reach, valid for that long.
    pub fn new(args: &StorageArgs, endpoint: &Url, valid: Duration) -> Result<Self, StorageError> {
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_allow_http(endpoint.scheme() == "http")
            .with_region(&args.s3_region)
            .with_bucket_name(&args.storage_bucket)
            .with_access_key_id(&args.s3_access_key_id)
            .with_secret_access_key(args.s3_secret_access_key.expose_secret())
            .build()
            .map_err(StorageError::Configure)?;
        Ok(Self { store: Arc::new(store), valid })
    }

    /// Returns how long a URL is valid.
    #[must_use]
    pub fn valid(&self) -> Duration {
        self.valid
    }

    /// Returns the URL under which an object can be read by this method. Storage says `cache_control` then, in place
    /// of what was stored with the object.
    pub async fn url(&self, method: Method, key: &str, cache_control: Option<&str>) -> Result<Url, StorageError> {
        let query = cache_control.map(|it| ("response-cache-control", it));
        let options = SignedUrlOptions::new().with_query(query);
        let url = self.store.signed_url_opts(method, &Path::from(key), self.valid, &options).await;
        url.map_err(|source| request("sign the URL of", key, source))
    }
}
