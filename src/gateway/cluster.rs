//! The calls to the API server: create an ImageBatch, look one up, cancel or
//! delete one. All end within seconds.

use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client, Config};

use super::error::{ApiError, Code, chain};
use super::quota;
use crate::api::image_batch::{Cancel, ImageBatch};
use crate::failpoint;

/// Field manager of what the gateway creates.
const FIELD_MANAGER: &str = "imagebatch-gateway";
/// Longest time for one call.
const CALL: Duration = Duration::from_secs(10);
/// Longest silence of a watch: the API server ends each one after 290 seconds. Calls are bounded one by one.
const WATCH: Duration = Duration::from_secs(300);
/// Pauses before each try of a create whose result is unknown.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1)];

/// Why the API server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("the API server refused the request: {}", .0.message)]
    Refused(Box<Status>),
    #[error("failed to call the API server")]
    Call(#[source] kube::Error),
    #[error("no answer from the API server within {} seconds", CALL.as_secs())]
    Timeout,
}

impl From<ClusterError> for ApiError {
    fn from(error: ClusterError) -> Self {
        let error = match error {
            ClusterError::Refused(status) if status.code == 422 || is_denied(&status) => {
                return Self::new(Code::InvalidBatch, status.message);
            }
            ClusterError::Refused(status) if is_over_quota(&status) => {
                return Self::new(Code::TooManyBatches, status.message)
                    .header(RETRY_AFTER, HeaderValue::from(quota::RETRY_SECONDS));
            }
            other => other,
        };
        Self::new(Code::ClusterUnavailable, "the cluster's API server could not be used; try again").caused_by(error)
    }
}

/// Returns the client of the surrounding cluster or of the kubeconfig.
pub(crate) async fn connect() -> anyhow::Result<Client> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(WATCH);
    config.write_timeout = Some(CALL);
    // Its retries take minutes; here somebody waits for the answer.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Creates an ImageBatch. A try whose result is unknown is repeated under the same name, which no
/// other request has: finding it there means that an earlier try was carried out.
pub(crate) async fn create(client: &Client, namespace: &str, batch: &ImageBatch) -> Result<ImageBatch, ClusterError> {
    let batches: Api<ImageBatch> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let name = batch.metadata.name.as_deref().unwrap_or_default();
    let mut last = ClusterError::Timeout;
    for pause in TRIES {
        tokio::time::sleep(pause).await;
        match bounded(failpoint::around("batch.create", batches.create(&parameters, batch))).await {
            Ok(created) => return Ok(created),
            Err(ClusterError::Refused(status)) if status.code == 409 => break,
            // A quota comes before the name: a repeat of the request that made the last one is refused as well.
            Err(ClusterError::Refused(status)) if is_over_quota(&status) => {
                last = ClusterError::Refused(status);
                break;
            }
            Err(ClusterError::Refused(status)) if (400..429).contains(&status.code) => {
                return Err(ClusterError::Refused(status));
            }
            Err(error) => last = error,
        }
        tracing::warn!(batch.name = name, error = chain(&last), "failed to create an ImageBatch");
    }
    find(client, namespace, name).await?.ok_or(last)
}

/// Returns the ImageBatch of that name, if there is one.
pub(crate) async fn find(client: &Client, namespace: &str, name: &str) -> Result<Option<ImageBatch>, ClusterError> {
    let batches: Api<ImageBatch> = Api::namespaced(client.clone(), namespace);
    match bounded(batches.get(name)).await {
        Ok(batch) => Ok(Some(batch)),
        Err(ClusterError::Refused(status)) if is_object_missing(&status) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Cancels an ImageBatch and returns it. One that is cancelled already stays as it is.
pub(crate) async fn cancel(
    client: &Client,
    namespace: &str,
    name: &str,
    cancel: &Cancel,
) -> Result<ImageBatch, ClusterError> {
    let batches: Api<ImageBatch> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(serde_json::json!({ "spec": { "cancel": cancel } }));
    match bounded(batches.patch(name, &parameters, &patch)).await {
        // Somebody else was faster: a batch is cancelled once.
        Err(ClusterError::Refused(status)) if status.code == 422 => {
            let cancelled = find(client, namespace, name).await?.filter(|it| it.spec.cancel.is_some());
            cancelled.ok_or(ClusterError::Refused(status))
        }
        other => other,
    }
}

/// Deletes the ImageBatch of that name and uid; one that is gone by now counts as deleted.
pub(crate) async fn delete(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: Option<String>,
) -> Result<(), ClusterError> {
    let batches: Api<ImageBatch> = Api::namespaced(client.clone(), namespace);
    let preconditions = Preconditions { uid, resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match bounded(batches.delete(name, &parameters)).await {
        Ok(_) => Ok(()),
        // Gone, or another one has the name by now.
        Err(ClusterError::Refused(status)) if is_object_missing(&status) || status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns whether a quota of the namespace allows no further object; only the message says so.
fn is_over_quota(status: &Status) -> bool {
    status.code == 403 && status.message.contains("exceeded quota")
}

/// Returns whether an admission policy or webhook of the cluster's does not want the object as it is; their refusals
/// have any of these statuses, and only the message tells them from a missing right.
fn is_denied(status: &Status) -> bool {
    matches!(status.code, 400 | 403)
        && ["denied request", "denied the request"].iter().any(|it| status.message.contains(it))
}

/// Returns whether a 404 speaks of the object: without the CRD there is one too, but it names none.
fn is_object_missing(status: &Status) -> bool {
    status.code == 404 && status.details.as_ref().is_some_and(|it| !it.name.is_empty())
}

async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ClusterError> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(kube::Error::Api(status))) => Err(ClusterError::Refused(status)),
        Ok(Err(error)) => Err(ClusterError::Call(error)),
        Err(_) => Err(ClusterError::Timeout),
    }
}
