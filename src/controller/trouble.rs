//! Reconciles that fail: said in the ImageBatch, so that `kubectl describe` tells why nothing moves.

use std::time::Duration;

use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::finalizer::Error as FinalizerError;
use kube::runtime::watcher;

use super::apply;
use super::context::Context;
use super::error::ReconcileError;
use crate::api::condition::{CLEANED_UP, RECONCILED, SUCCEEDED, Statement, reason};
use crate::api::image_batch::ImageBatch;
use crate::api::status::ImageBatchStatus;
use crate::manifest::problem::shorten;

/// How long the controller puts up with what goes wrong around a batch.
#[derive(Args, Debug, Clone)]
pub struct TroubleArgs {
    /// Seconds after the end of its grace period after which a pod that has not ended is deleted by force; 0:
    /// never.
    #[arg(long, env = "IMAGEBATCH_STUCK_POD_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub stuck_pod_seconds: u32,
    /// Seconds after which the ImageBatch of a clean-up that fails goes all the same, and what it stored
    /// stays; 0: never.
    #[arg(long, env = "IMAGEBATCH_CLEANUP_GIVE_UP_SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u32).range(0..=2_592_000))]
    pub cleanup_give_up_seconds: u32,
}

/// Field manager of conditions that say why a batch does not get on. Those of a deleted batch have one of their
/// own: what a manager does not name again goes.
const RECONCILE_MANAGER: &str = "imagebatch-controller-trouble";
const CLEANUP_MANAGER: &str = "imagebatch-controller-cleanup";
/// What is said of it must not hold up a reconcile for longer.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a message.
const MAX_MESSAGE: usize = 500;
/// Longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// The same where only others can end what is waited for, and may have done so long ago.
const LONGEST_WAIT_FOR_OTHERS: Duration = Duration::from_secs(30);
/// The same for the Jobs of a deleted batch: their watch tells that they are gone, but not that their pods are stuck.
const LONGEST_WAIT_FOR_JOBS: Duration = Duration::from_secs(10);

/// Says in a batch why its reconcile failed. Once it is said it is not said again.
pub(super) async fn report(context: &Context, batch: &ImageBatch, error: &ReconcileError, failures: u32) {
    let Some(reason) = reason_of(error).filter(|_| failures >= patience_with(error)) else { return };
    let before = batch.status.clone().unwrap_or_default();
    let is_deleted = batch.metadata.deletion_timestamp.is_some();
    let (type_, manager) = if is_deleted { (CLEANED_UP, CLEANUP_MANAGER) } else { (RECONCILED, RECONCILE_MANAGER) };
    if before.condition(type_).is_some_and(|it| it.status == "False" && it.reason == reason) {
        return;
    }
    let message = shorten(&message_of(error), MAX_MESSAGE);
    let mut statements = vec![Statement { type_, status: Some(false), reason, message: message.clone() }];
    if before.start_time.is_none() {
        // Nothing else is said yet, and readers look for the state here.
        statements.push(Statement { type_: SUCCEEDED, status: None, reason, message });
    }
    let now = Time(Timestamp::now());
    let said = apply::apply_conditions(context, batch, manager, statements, &now);
    match tokio::time::timeout(REPORT_TIMEOUT, said).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "failed to say in the ImageBatch why nothing moves");
        }
        Err(_) => tracing::debug!("saying why nothing moves took too long"),
    }
}

/// Returns what is to be said of a batch that gets on again.
pub(super) fn recovery(before: &ImageBatchStatus) -> Option<Statement> {
    before.condition(RECONCILED).filter(|it| it.status != "True")?;
    let message = "the controller gets on with the batch again".to_owned();
    Some(Statement { type_: RECONCILED, status: Some(true), reason: reason::RECONCILED, message })
}

/// Returns the longest wait after this error.
pub(super) fn ceiling(error: &ReconcileError) -> Duration {
    match reason_of(error) {
        // It is under way and makes progress.
        None if matches!(error, ReconcileError::ObjectsRemain) => Duration::from_secs(1),
        None => LONGEST_WAIT_FOR_JOBS,
        Some(reason::JOB_NAME_TAKEN | reason::NAMESPACE_TERMINATING) => LONGEST_WAIT_FOR_OTHERS,
        Some(_) => LONGEST_WAIT,
    }
}

/// Returns how many failures in a row are worth a word.
fn patience_with(error: &ReconcileError) -> u32 {
    match error {
        // These have been tried again already.
        ReconcileError::Records(_) | ReconcileError::Storage(_) | ReconcileError::Timeout => 1,
        _ => 2,
    }
}

/// Returns the word for an error, or `None` when it is no failure.
fn reason_of(error: &ReconcileError) -> Option<&'static str> {
    Some(match error {
        ReconcileError::JobsRemain(_) | ReconcileError::ObjectsRemain | ReconcileError::Outdated(_) => return None,
        ReconcileError::Records(_) => reason::RECORDS_UNAVAILABLE,
        ReconcileError::Storage(_) => reason::STORAGE_UNAVAILABLE,
        ReconcileError::Timeout => reason::TIMEOUT,
        ReconcileError::JobsUnknown { cause, .. } => match cause.as_deref() {
            Some(
                watcher::Error::InitialListFailed(error)
                | watcher::Error::WatchStartFailed(error)
                | watcher::Error::WatchFailed(error),
            ) => reason_of_request(error, reason::REQUEST_REFUSED),
            _ => reason::API_SERVER_UNAVAILABLE,
        },
        ReconcileError::RetriedChanged(_) => reason::RETRIED_CHANGED,
        ReconcileError::BuildJob(_) => reason::JOB_REJECTED,
        ReconcileError::JobNameTaken { .. } => reason::JOB_NAME_TAKEN,
        ReconcileError::ApplyJob(error) => reason_of_request(error, reason::JOB_REJECTED),
        ReconcileError::ListJobs(error)
        | ReconcileError::GetConfigMap(error)
        | ReconcileError::GetBatch(error)
        | ReconcileError::ListBatches(error)
        | ReconcileError::GetSecret(error)
        | ReconcileError::PatchWorkload(error)
        | ReconcileError::DeleteJob(error)
        | ReconcileError::DeleteBatch(error)
        | ReconcileError::PatchStatus(error)
        | ReconcileError::AddFinalizer(error) => reason_of_request(error, reason::REQUEST_REFUSED),
        ReconcileError::Finalizer(error) => match error.as_ref() {
            FinalizerError::AddFinalizer(error) | FinalizerError::RemoveFinalizer(error) => {
                reason_of_request(error, reason::REQUEST_REFUSED)
            }
            _ => reason::REQUEST_REFUSED,
        },
    })
}

fn reason_of_request(error: &kube::Error, otherwise: &'static str) -> &'static str {
    let kube::Error::Api(status) = error else { return reason::API_SERVER_UNAVAILABLE };
    let causes = status.details.iter().flat_map(|it| &it.causes);
    match status.code {
        403 if causes.into_iter().any(|it| it.reason == reason::NAMESPACE_TERMINATING) => reason::NAMESPACE_TERMINATING,
        403 if status.message.contains("exceeded quota") => reason::QUOTA_EXCEEDED,
        // The authorizer's words; admission plugins answer with the same code.
        401 => reason::FORBIDDEN,
        403 if status.message.contains("User \"") && status.message.contains(" cannot ") => reason::FORBIDDEN,
        429 | 500.. => reason::API_SERVER_UNAVAILABLE,
        _ => otherwise,
    }
}

/// What storage and MongoDB answer names hosts and accounts of the installation: that stays in the log.
fn message_of(error: &ReconcileError) -> String {
    match error {
        ReconcileError::Records(_) | ReconcileError::Storage(_) => format!("{error}; the controller's log says why"),
        error => {
            let causes = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
            let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
            texts.dedup();
            texts.join(": ")
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn refused(code: u16, message: &str, cause: &str) -> ReconcileError {
        let cause = StatusCause { reason: cause.to_owned(), message: String::new(), field: String::new() };
        let [name, group, kind, uid] = [const { String::new() }; 4];
        let details = StatusDetails { name, group, kind, uid, causes: vec![cause], retry_after_seconds: 0 };
        let status = Status::failure(message, "Forbidden").with_code(code).with_details(details);
        ReconcileError::ApplyJob(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn each_cause_has_its_word() {
        let quota = r#"jobs.batch "a-run" is forbidden: exceeded quota: few, requested: count/jobs.batch=1"#;
        let right = r#"jobs.batch "a-run" is forbidden: User "system:serviceaccount:a:b" cannot patch resource"#;
        let denied = r#"admission webhook "policy.example" denied the request: no"#;
        for (error, expected) in [
            (refused(403, quota, ""), Some(reason::QUOTA_EXCEEDED)),
            (refused(403, right, ""), Some(reason::FORBIDDEN)),
            (refused(403, denied, ""), Some(reason::JOB_REJECTED)),
            (refused(400, denied, ""), Some(reason::JOB_REJECTED)),
            (refused(422, "Job.batch is invalid", ""), Some(reason::JOB_REJECTED)),
            (refused(403, "it is being terminated", "NamespaceTerminating"), Some(reason::NAMESPACE_TERMINATING)),
            (refused(503, "no", ""), Some(reason::API_SERVER_UNAVAILABLE)),
            (refused(429, "slowly", ""), Some(reason::API_SERVER_UNAVAILABLE)),
            (ReconcileError::Timeout, Some(reason::TIMEOUT)),
            (ReconcileError::JobsRemain(1), None),
        ] {
            assert_eq!(reason_of(&error), expected, "{error:?}");
        }
        assert!(message_of(&refused(403, quota, "")).contains("exceeded quota: few"));
    }
}
