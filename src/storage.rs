//! Object storage: sources, manifests, parts, reports and images, by key.
//!
//! Images and parts are put create-only, so a stage that runs twice writes once. Transient errors
//! are retried by the client for up to three minutes; every request has a timeout.

pub mod key;
pub mod presign;

#[cfg(debug_assertions)]
mod faults;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::buffered::BufWriter;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, Certificate, ClientOptions, GetOptions, GetResult, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
};
use secrecy::{ExposeSecret, SecretString};

use crate::failpoint::Injected;
use key::Keys;

/// Where objects are stored and how they are reached.
#[derive(Args, Debug, Clone)]
pub struct StorageArgs {
    /// Bucket of all objects.
    #[arg(long, env = "IMAGEBATCH_STORAGE_BUCKET")]
    pub storage_bucket: String,
    /// First segment of every object's key, so that installations can share a bucket.
    #[arg(long, env = "IMAGEBATCH_STORAGE_PREFIX", default_value = "imagebatch")]
    pub storage_prefix: String,
    /// URL of the S3 endpoint, for example <https://s3.eu-central-1.amazonaws.com>.
    #[arg(long, env = "IMAGEBATCH_S3_ENDPOINT")]
    pub s3_endpoint: url::Url,
    /// S3 region.
    #[arg(long, env = "IMAGEBATCH_S3_REGION", default_value = "us-east-1")]
    pub s3_region: String,
    /// S3 access key id.
    #[arg(long, env = "IMAGEBATCH_S3_ACCESS_KEY_ID")]
    pub s3_access_key_id: String,
    /// S3 secret access key.
    #[arg(long, env = "IMAGEBATCH_S3_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub s3_secret_access_key: SecretString,
    /// PEM file with certificate authorities of the S3 endpoint, besides the public ones. Images are not fetched
    /// by them.
    #[arg(long, env = "IMAGEBATCH_S3_CA_FILE")]
    pub s3_ca_file: Option<PathBuf>,
    /// URL below which images are served: a CDN, the bucket, or the gateway's /images.
    #[arg(long, env = "IMAGEBATCH_PUBLIC_BASE_URL")]
    pub public_base_url: url::Url,
}

/// Why an object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The arguments do not make a client.
    #[error("failed to set up object storage")]
    Configure(#[source] object_store::Error),
    /// The file of certificate authorities cannot be read.
    #[error("failed to read certificate authorities of S3 from {path:?}, which --s3-ca-file names")]
    ReadAuthorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of certificate authorities has none.
    #[error("there is no certificate in PEM in {path:?}, which --s3-ca-file names")]
    NoAuthority {
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
        let source = object_store::Error::Generic { store: "S3", source: Box::new(injected) };
        request("pass a failpoint of", "", source)
    }
}

/// Whether a create-only put wrote the object or found it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is new.
    Created,
    /// The object was there; with content-named keys it has the same content.
    Existed,
}

/// How far a deletion got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// Nothing is left.
    All,
    /// Some objects are gone, others wait for the next turn.
    Some,
}

/// A bucket, the keys in it, and the URL it is served under.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<AmazonS3>,
    keys: Keys,
    public_base_url: String,
    backoff: ExponentialBuilder,
}

/// Bytes of a part of a streamed object, S3's minimum: a writer holds one in memory and sends one.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Waits between two tries of a request, the first and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

impl Storage {
    /// Returns storage as the arguments describe it; connects lazily. Requests whose error is
    /// transient are tried again for up to three minutes.
    pub fn new(args: &StorageArgs) -> Result<Self, StorageError> {
        Self::with_retries(args, Duration::from_secs(180))
    }

    /// Returns storage that gives up after `patience`, for callers that somebody waits for.
    pub fn with_retries(args: &StorageArgs, patience: Duration) -> Result<Self, StorageError> {
        let client = authorities(args)?
            .into_iter()
            .fold(ClientOptions::new(), ClientOptions::with_root_certificate)
            .with_allow_http(args.s3_endpoint.scheme() == "http")
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_secs(60));
        let backoff = BackoffConfig { init_backoff: WAITS.0, max_backoff: WAITS.1, ..BackoffConfig::default() };
        // Its waits are random and mostly short: a number of tries would be used up within seconds.
        let retries = RetryConfig { backoff, max_retries: usize::MAX, retry_timeout: patience };
        let store = AmazonS3Builder::new();
        #[cfg(debug_assertions)]
        let store = store.with_http_connector(faults::Connector);
        let store = store
            .with_endpoint(args.s3_endpoint.as_str().trim_end_matches('/'))
            .with_region(&args.s3_region)
            .with_bucket_name(&args.storage_bucket)
            .with_access_key_id(&args.s3_access_key_id)
            .with_secret_access_key(args.s3_secret_access_key.expose_secret())
            .with_client_options(client)
            .with_retry(retries)
            .build()
            .map_err(StorageError::Configure)?;
        Ok(Self {
            store: Arc::new(store),
            keys: Keys::new(&args.storage_prefix),
            public_base_url: args.public_base_url.as_str().trim_end_matches('/').to_owned(),
            backoff: ExponentialBuilder::default()
                .with_jitter()
                .with_min_delay(WAITS.0)
                .with_max_delay(WAITS.1)
                .without_max_times()
                .with_total_delay(Some(patience)),
        })
    }

    /// Returns the keys of this installation.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns the URL that an image is served under.
    #[must_use]
    pub fn public_url(&self, key: &str) -> String {
        format!("{}/{key}", self.public_base_url)
    }

    /// Returns the key of the image that a URL was recorded for, also under an earlier base URL.
    #[must_use]
    pub fn key_of_url<'u>(&self, url: &'u str) -> Option<&'u str> {
        url.match_indices('/').map(|(slash, _)| &url[slash + 1..]).find(|it| self.keys.is_image(it))
    }

    /// Writes an image unless its key exists; caches may keep it for ever.
    pub async fn put_image(&self, key: &str, content_type: &'static str, bytes: Bytes) -> Result<Put, StorageError> {
        let attributes = [(Attribute::ContentType, content_type), (Attribute::CacheControl, IMMUTABLE)];
        self.create(key, Attributes::from_iter(attributes), bytes).await
    }

    /// Writes an internal object unless its key exists.
    pub async fn put_new(&self, key: &str, bytes: Bytes) -> Result<Put, StorageError> {
        self.create(key, Attributes::new(), bytes).await
    }

    /// Returns a writer that streams an object in parts; nothing exists before its `shutdown`.
    #[must_use]
    pub fn writer(&self, key: &str, content_type: &'static str) -> BufWriter {
        BufWriter::with_capacity(Arc::clone(&self.store) as Arc<dyn ObjectStore>, Path::from(key), PART_BYTES)
            .with_max_concurrency(1)
            .with_attributes(Attributes::from_iter([(Attribute::ContentType, content_type)]))
    }

    /// Returns an object with its metadata; the options carry ranges and preconditions.
    pub async fn open(&self, key: &str, options: GetOptions) -> Result<GetResult, StorageError> {
        self.store.get_opts(&Path::from(key), options).await.map_err(|source| request("read", key, source))
    }

    /// Returns an object's bytes, or `None` where it does not exist.
    pub async fn read(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        match self.open(key, GetOptions::default()).await {
            Ok(result) => Ok(Some(result.bytes().await.map_err(|source| request("read", key, source))?)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the keys of a namespace's uploads that were complete that long ago.
    pub async fn uploads_older_than(&self, namespace: &str, age: Duration) -> Result<Vec<String>, StorageError> {
        let prefix = self.keys.uploads(namespace);
        let oldest = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        self.store
            .list(Some(&Path::from(prefix.as_str())))
            .try_filter(|meta| std::future::ready(SystemTime::from(meta.last_modified) < oldest))
            .map_ok(|meta| meta.location.to_string())
            .try_collect()
            .await
            .map_err(|source| request("list", &prefix, source))
    }

    /// Deletes one object; one that does not exist counts as deleted.
    pub async fn delete(&self, key: &str) -> Result<(), StorageError> {
        match self.store.delete(&Path::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(request("delete", key, source)),
        }
    }

    /// Deletes every object below a prefix, which must be one of [`Keys`]', as far as it gets in this time.
    pub async fn delete_below(&self, prefix: &str, time: Duration) -> Result<Deleted, StorageError> {
        let end = tokio::time::Instant::now() + time;
        let locations = self.store.list(Some(&Path::from(prefix))).map_ok(|meta| meta.location).boxed();
        let mut deletions = self.store.delete_stream(locations);
        let mut any = false;
        loop {
            match tokio::time::timeout_at(end, deletions.next()).await {
                Ok(None) => return Ok(Deleted::All),
                Ok(Some(deletion)) => {
                    deletion.map_err(|source| request("delete below", prefix, source))?;
                    any = true;
                }
                Err(_) if any => return Ok(Deleted::Some),
                Err(_) => return Err(StorageError::Timeout { action: "delete below", key: prefix.to_owned() }),
            }
        }
    }

    /// Answers whether storage can be reached: asks for an object that need not exist.
    pub async fn check(&self) -> Result<(), StorageError> {
        self.read(&self.keys.probe()).await.map(|_| ())
    }

    async fn create(&self, key: &str, attributes: Attributes, bytes: Bytes) -> Result<Put, StorageError> {
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        let (path, payload) = (Path::from(key), PutPayload::from(bytes));
        let put = || self.store.put_opts(&path, payload.clone(), options.clone());
        // The client does not repeat such a put when its answer is lost, as it could not tell whose
        // object it then finds. Here that does not matter.
        let again = |error: &object_store::Error, after| tracing::warn!(key, %error, ?after, "put again");
        match put.retry(self.backoff).when(is_answer_lost).notify(again).await {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Existed),
            Err(source) => Err(request("write", key, source)),
        }
    }
}

/// Returns the certificate authorities that the arguments name.
fn authorities(args: &StorageArgs) -> Result<Vec<Certificate>, StorageError> {
    let Some(path) = &args.s3_ca_file else { return Ok(Vec::new()) };
    let pem = std::fs::read(path).map_err(|source| StorageError::ReadAuthorities { path: path.clone(), source })?;
    let authorities = Certificate::from_pem_bundle(&pem).map_err(StorageError::Configure)?;
    if authorities.is_empty() { Err(StorageError::NoAuthority { path: path.clone() }) } else { Ok(authorities) }
}

/// Returns whether a request may have been carried out although it failed.
fn is_answer_lost(error: &object_store::Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
    causes
        .filter_map(|it| it.downcast_ref::<HttpError>())
        .any(|it| matches!(it.kind(), HttpErrorKind::Timeout | HttpErrorKind::Interrupted))
}

fn request(action: &'static str, key: &str, source: object_store::Error) -> StorageError {
    StorageError::Request { action, key: key.to_owned(), source }
}
