//! Azure Blob Storage. Without a key or a SAS token the pod's identity is used: the token that workload identity
//! mounts, or else the managed identity of its machine.

use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};

use super::args::{self, StorageArgs};
use super::client::Settings;
use super::connector::Connector;
use super::error::StorageError;

/// Variables that a pod gets with its identity.
const IDENTITY: [(&str, AzureConfigKey); 5] = [
    ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
    ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
    ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
    ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost),
    ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
];

/// Returns a client of the container.
pub(super) fn client(args: &StorageArgs, settings: Settings) -> Result<MicrosoftAzure, StorageError> {
    let account = args::text(args.azure.account.as_ref());
    let account = account.ok_or(StorageError::Missing { flag: "--azure-account", chosen: "azure" })?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_http_connector(Connector)
        .with_client_options(settings.options)
        .with_retry(settings.retries)
        .with_account(account)
        .with_container_name(&args.storage_bucket);
    if let Some(endpoint) = &args.azure.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/').to_owned());
    }
    let access_key = args::secret(args.azure.access_key.as_ref());
    let builder = match (access_key, args::secret(args.azure.sas_token.as_ref())) {
        (Some(key), None) => builder.with_access_key(key),
        (None, Some(token)) => builder.with_config(AzureConfigKey::SasKey, token.trim_start_matches('?')),
        (None, None) => IDENTITY.into_iter().fold(builder, |builder, (variable, key)| match std::env::var(variable) {
            // Of the host of the authority: the library puts a slash of its own behind it.
            Ok(value) => builder.with_config(key, value.trim_end_matches('/')),
            Err(_) => builder,
        }),
        (Some(_), Some(_)) => {
            return Err(StorageError::Unsupported("--azure-access-key and --azure-sas-token exclude each other"));
        }
    };
    builder.build().map_err(StorageError::Configure)
}

/// Refuses a configuration that cannot sign URLs.
pub(super) fn check_signer(args: &StorageArgs) -> Result<(), StorageError> {
    match args::secret(args.azure.sas_token.as_ref()) {
        Some(_) => Err(StorageError::Unsupported(
            "--image-delivery=redirect needs an access key or an identity with Azure: a SAS token cannot sign URLs",
        )),
        None => Ok(()),
    }
}
