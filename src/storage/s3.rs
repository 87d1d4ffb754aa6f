//! Amazon S3 and what is like it, addressed by path. Without a key pair the pod's identity is used, in the order of
//! Amazon's own clients: a web identity (IAM roles for service accounts), that of its container (EKS Pod Identity,
//! ECS), that of its machine.

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use url::Url;

use super::args::{self, StorageArgs};
use super::client::Settings;
use super::connector::Connector;
use super::error::StorageError;

/// Variables that a pod gets with its identity.
const IDENTITY: [(&str, AmazonS3ConfigKey); 7] = [
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
];

/// Returns a client of the bucket at that endpoint.
pub(super) fn client(args: &StorageArgs, endpoint: &Url, settings: Settings) -> Result<AmazonS3, StorageError> {
    let builder = AmazonS3Builder::new()
        .with_http_connector(Connector)
        .with_client_options(settings.options.with_allow_http(endpoint.scheme() == "http"))
        .with_retry(settings.retries)
        .with_endpoint(endpoint.as_str().trim_end_matches('/'))
        .with_region(&args.s3.region)
        .with_bucket_name(&args.storage_bucket);
    let key_id = args::text(args.s3.access_key_id.as_ref());
    let secret_key = args::secret(args.s3.secret_access_key.as_ref());
    let builder = match (key_id, secret_key) {
        (Some(key_id), Some(secret_key)) => builder.with_access_key_id(key_id).with_secret_access_key(secret_key),
        (None, None) => IDENTITY.into_iter().fold(builder, |builder, (variable, key)| match std::env::var(variable) {
            Ok(value) => builder.with_config(key, value),
            Err(_) => builder,
        }),
        (Some(_), None) => return Err(missing("--s3-secret-access-key (or neither key)")),
        (None, Some(_)) => return Err(missing("--s3-access-key-id (or neither key)")),
    };
    builder.build().map_err(StorageError::Configure)
}

fn missing(flag: &'static str) -> StorageError {
    StorageError::Missing { flag, chosen: "s3" }
}
