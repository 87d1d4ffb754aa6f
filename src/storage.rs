//! Object storage: sources, manifests, parts, reports and images, by key.
//!
//! The provider is chosen by configuration: S3, Google Cloud Storage or Azure Blob Storage. Images and parts are put
//! create-only, so a stage that runs twice writes once. Transient errors are retried by the client for up to three
//! minutes; every request has a timeout.

pub mod args;
mod azure;
mod client;
mod connector;
mod error;
mod gcs;
pub mod key;
pub mod presign;
mod s3;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

pub use args::StorageArgs;
use client::WAITS;
pub use error::StorageError;
use error::request;
use key::Keys;

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
    store: Arc<dyn ObjectStore>,
    keys: Keys,
    public_base_url: String,
    backoff: ExponentialBuilder,
}

/// Bytes of a part of a streamed object, the least that S3 and Google
/// take: a writer holds one in memory and sends one.
const PART_BYTES: usize = 5 * 1024 * 1024;
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

impl Storage {
    /// Returns storage as the arguments describe it; connects lazily. Requests whose error is
    /// transient are tried again for up to three minutes.
    pub fn new(args: &StorageArgs) -> Result<Self, StorageError> {
        Self::with_retries(args, Duration::from_secs(180))
    }

    /// Returns storage that gives up after `patience`, for callers that somebody waits for.
    pub fn with_retries(args: &StorageArgs, patience: Duration) -> Result<Self, StorageError> {
        Ok(Self {
            store: client::connect(args, patience)?,
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
        BufWriter::with_capacity(Arc::clone(&self.store), Path::from(key), PART_BYTES)
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
                // What somebody else deletes meanwhile, or a request whose answer was lost, is gone too.
                Ok(Some(Ok(_) | Err(object_store::Error::NotFound { .. }))) => any = true,
                Ok(Some(Err(source))) => return Err(request("delete below", prefix, source)),
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

/// Returns whether a request may have been carried out although it failed.
fn is_answer_lost(error: &object_store::Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
    causes
        .filter_map(|it| it.downcast_ref::<HttpError>())
        .any(|it| matches!(it.kind(), HttpErrorKind::Timeout | HttpErrorKind::Interrupted))
}
