//! The client of the provider that is chosen. What all have in common is decided here: times, retries, certificate
//! authorities.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::signer::Signer;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::args::{Provider, StorageArgs};
use super::error::StorageError;
use super::{azure, gcs, s3};

/// Waits between two tries of a request, the first and the longest.
pub(super) const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What a provider's client is made with.
pub(super) struct Settings {
    pub(super) options: ClientOptions,
    pub(super) retries: RetryConfig,
}

/// Returns the client that reads and writes objects; it connects lazily.
pub(super) fn connect(args: &StorageArgs, patience: Duration) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let settings = settings(args, patience)?;
    Ok(match args.storage_provider {
        Provider::S3 => Arc::new(s3::client(args, endpoint(args)?, settings)?),
        Provider::Gcs => Arc::new(gcs::client(args, settings)?),
        Provider::Azure => Arc::new(azure::client(args, settings)?),
    })
}

/// Returns what signs URLs, for S3 at that endpoint.
pub(super) fn signer(
    args: &StorageArgs,
    public: Option<&Url>,
    patience: Duration,
) -> Result<Arc<dyn Signer>, StorageError> {
    let settings = settings(args, patience)?;
    let chosen = args.storage_provider;
    if public.is_some() && chosen != Provider::S3 {
        return Err(StorageError::OfAnother { flag: "--s3-public-endpoint", chosen: chosen.name() });
    }
    Ok(match chosen {
        Provider::S3 => Arc::new(s3::client(args, public.map_or_else(|| endpoint(args), Ok)?, settings)?),
        Provider::Gcs => Arc::new(gcs::client(args, settings)?),
        Provider::Azure => {
            azure::check_signer(args)?;
            Arc::new(azure::client(args, settings)?)
        }
    })
}

fn endpoint(args: &StorageArgs) -> Result<&Url, StorageError> {
    args.s3.endpoint.as_ref().ok_or(StorageError::Missing { flag: "--s3-endpoint", chosen: Provider::S3.name() })
}

fn settings(args: &StorageArgs, patience: Duration) -> Result<Settings, StorageError> {
    args.check()?;
    let (flag, path, url) = match args.storage_provider {
        Provider::S3 => ("--s3-ca-file", &args.s3.ca_file, &args.s3.endpoint),
        Provider::Gcs => ("--gcs-ca-file", &args.gcs.ca_file, &args.gcs.endpoint),
        Provider::Azure => ("--azure-ca-file", &args.azure.ca_file, &args.azure.endpoint),
    };
    let options = authorities(flag, path.as_ref())?
        .into_iter()
        .fold(ClientOptions::new(), ClientOptions::with_root_certificate)
        .with_allow_http(url.as_ref().is_some_and(|it| it.scheme() == "http"))
        .with_connect_timeout(Duration::from_secs(5))
        .with_timeout(Duration::from_secs(60));
    let backoff = BackoffConfig { init_backoff: WAITS.0, max_backoff: WAITS.1, ..BackoffConfig::default() };
    // Its waits are random and mostly short: a number of tries would be used up within seconds.
    let retries = RetryConfig { backoff, max_retries: usize::MAX, retry_timeout: patience };
    Ok(Settings { options, retries })
}

/// Returns the certificate authorities that a file holds.
fn authorities(flag: &'static str, path: Option<&PathBuf>) -> Result<Vec<Certificate>, StorageError> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let read = std::fs::read(path);
    let pem = read.map_err(|source| StorageError::ReadAuthorities { flag, path: path.clone(), source })?;
    let authorities = Certificate::from_pem_bundle(&pem).map_err(StorageError::Configure)?;
    if authorities.is_empty() { Err(StorageError::NoAuthority { flag, path: path.clone() }) } else { Ok(authorities) }
}
