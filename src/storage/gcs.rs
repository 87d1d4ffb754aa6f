//! Google Cloud Storage, by its XML API. Without a key the pod's identity is used: the metadata server, which on GKE
//! answers for the pod's ServiceAccount (workload identity federation).

use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};

use super::args::{self, StorageArgs};
use super::client::Settings;
use super::connector::Connector;
use super::error::StorageError;

/// Returns a client of the bucket.
pub(super) fn client(args: &StorageArgs, settings: Settings) -> Result<GoogleCloudStorage, StorageError> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_http_connector(Connector)
        .with_client_options(settings.options)
        .with_retry(settings.retries)
        .with_bucket_name(&args.storage_bucket);
    if let Some(endpoint) = &args.gcs.endpoint {
        builder = builder.with_base_url(endpoint.as_str().trim_end_matches('/'));
    }
    if let Some(key) = args::secret(args.gcs.service_account_key.as_ref()) {
        builder = builder.with_service_account_key(key);
    }
    builder.build().map_err(StorageError::Configure)
}
