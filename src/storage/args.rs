//! Where objects are stored and how they are reached, as flags and variables.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::error::StorageError;

/// The API that storage speaks.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3 and what is like it.
    #[default]
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

/// Where objects are stored and how they are reached.
#[derive(Args, Debug, Clone)]
pub struct StorageArgs {
    /// The API that storage speaks.
    #[arg(long, env = "IMAGEBATCH_STORAGE_PROVIDER", value_enum, default_value_t)]
    pub storage_provider: Provider,
    /// Bucket of all objects; a container, with Azure.
    #[arg(long, env = "IMAGEBATCH_STORAGE_BUCKET")]
    pub storage_bucket: String,
    /// First segment of every object's key, so that installations can share a bucket.
    #[arg(long, env = "IMAGEBATCH_STORAGE_PREFIX", default_value = "imagebatch")]
    pub storage_prefix: String,
    /// With S3: where it is, and the keys.
    #[command(flatten)]
    pub s3: S3Args,
    /// With Google Cloud Storage: the same.
    #[command(flatten)]
    pub gcs: GcsArgs,
    /// With Azure Blob Storage: the same.
    #[command(flatten)]
    pub azure: AzureArgs,
    /// URL below which images are served: a CDN, the bucket, or the gateway's /images.
    #[arg(long, env = "IMAGEBATCH_PUBLIC_BASE_URL")]
    pub public_base_url: Url,
}

/// How Amazon S3 and what is like it are reached.
#[derive(Args, Debug, Clone, Default)]
pub struct S3Args {
    /// URL of the S3 endpoint, for example <https://s3.eu-central-1.amazonaws.com>.
    #[arg(id = "s3-endpoint", long = "s3-endpoint", env = "IMAGEBATCH_S3_ENDPOINT")]
    pub endpoint: Option<Url>,
    /// S3 region.
    #[arg(id = "s3-region", long = "s3-region", env = "IMAGEBATCH_S3_REGION", default_value = "us-east-1")]
    pub region: String,
    /// S3 access key id; without it and its secret, the pod's own identity is used.
    #[arg(id = "s3-access-key-id", long = "s3-access-key-id", env = "IMAGEBATCH_S3_ACCESS_KEY_ID")]
    pub access_key_id: Option<String>,
    /// S3 secret access key.
    #[arg(
        id = "s3-secret-access-key",
        long = "s3-secret-access-key",
        env = "IMAGEBATCH_S3_SECRET_ACCESS_KEY",
        hide_env_values = true
    )]
    pub secret_access_key: Option<SecretString>,
    /// PEM file with certificate authorities of the S3 endpoint, besides the public ones. Images are not fetched
    /// by them.
    #[arg(id = "s3-ca-file", long = "s3-ca-file", env = "IMAGEBATCH_S3_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// How Google Cloud Storage is reached.
#[derive(Args, Debug, Clone, Default)]
pub struct GcsArgs {
    /// URL of the endpoint, by default Google's.
    #[arg(id = "gcs-endpoint", long = "gcs-endpoint", env = "IMAGEBATCH_GCS_ENDPOINT")]
    pub endpoint: Option<Url>,
    /// Key of a service account, as JSON; without it, the pod's own identity is used.
    #[arg(
        id = "gcs-service-account-key",
        long = "gcs-service-account-key",
        env = "IMAGEBATCH_GCS_SERVICE_ACCOUNT_KEY",
        hide_env_values = true
    )]
    pub service_account_key: Option<SecretString>,
    /// PEM file with certificate authorities of the endpoint, besides the public ones.
    #[arg(id = "gcs-ca-file", long = "gcs-ca-file", env = "IMAGEBATCH_GCS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// How Azure Blob Storage is reached.
#[derive(Args, Debug, Clone, Default)]
pub struct AzureArgs {
    /// The storage account.
    #[arg(id = "azure-account", long = "azure-account", env = "IMAGEBATCH_AZURE_ACCOUNT")]
    pub account: Option<String>,
    /// URL of the account's endpoint, by default that of the public cloud.
    #[arg(id = "azure-endpoint", long = "azure-endpoint", env = "IMAGEBATCH_AZURE_ENDPOINT")]
    pub endpoint: Option<Url>,
    /// Access key of the account; without it and a SAS token, the pod's own identity is used.
    #[arg(
        id = "azure-access-key",
        long = "azure-access-key",
        env = "IMAGEBATCH_AZURE_ACCESS_KEY",
        hide_env_values = true
    )]
    pub access_key: Option<SecretString>,
    /// Shared access signature for the container.
    #[arg(
        id = "azure-sas-token",
        long = "azure-sas-token",
        env = "IMAGEBATCH_AZURE_SAS_TOKEN",
        hide_env_values = true
    )]
    pub sas_token: Option<SecretString>,
    /// PEM file with certificate authorities of the endpoint, besides the public ones.
    #[arg(id = "azure-ca-file", long = "azure-ca-file", env = "IMAGEBATCH_AZURE_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

impl StorageArgs {
    /// Refuses settings of another provider than the one that is chosen: they would have no effect.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        let (s3, gcs, azure) = (&self.s3, &self.gcs, &self.azure);
        let given = [
            (Provider::S3, "--s3-endpoint", s3.endpoint.is_some()),
            (Provider::S3, "--s3-access-key-id", text(s3.access_key_id.as_ref()).is_some()),
            (Provider::S3, "--s3-secret-access-key", secret(s3.secret_access_key.as_ref()).is_some()),
            (Provider::S3, "--s3-ca-file", s3.ca_file.is_some()),
            (Provider::Gcs, "--gcs-endpoint", gcs.endpoint.is_some()),
            (Provider::Gcs, "--gcs-service-account-key", secret(gcs.service_account_key.as_ref()).is_some()),
            (Provider::Gcs, "--gcs-ca-file", gcs.ca_file.is_some()),
            (Provider::Azure, "--azure-account", text(azure.account.as_ref()).is_some()),
            (Provider::Azure, "--azure-endpoint", azure.endpoint.is_some()),
            (Provider::Azure, "--azure-access-key", secret(azure.access_key.as_ref()).is_some()),
            (Provider::Azure, "--azure-sas-token", secret(azure.sas_token.as_ref()).is_some()),
            (Provider::Azure, "--azure-ca-file", azure.ca_file.is_some()),
        ];
        let chosen = self.storage_provider;
        match given.into_iter().find(|(provider, _, is_given)| *is_given && *provider != chosen) {
            Some((_, flag, _)) => Err(StorageError::OfAnother { flag, chosen: chosen.name() }),
            None => Ok(()),
        }
    }
}

impl Provider {
    /// Returns the word that chooses it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }
}

/// Returns a text unless it is empty: a Secret may have a key without a value.
pub(super) fn text(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|it| !it.is_empty())
}

/// Returns a secret unless it is empty.
pub(super) fn secret(value: Option<&SecretString>) -> Option<&str> {
    value.map(ExposeSecret::expose_secret).filter(|it| !it.is_empty())
}
