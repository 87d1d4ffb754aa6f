//! `POST /v1/batches`: upload -> ImageBatch -> record -> 202.
//!
//! The work is a task of its own, so that a client that goes away does not leave it half done: it
//! ends with a batch, or with nothing. `?dryRun=true` ends after the validator.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span, info_span};

use super::auth::guard::Scope;
use super::error::{ApiError, Code, chain};
use super::options::{EffectiveOptions, SubmitOptions};
use super::request::RequestId;
use super::state::AppState;
use super::upload::Validated;
use super::{body, cluster, idempotency, quota, upload};
use crate::api::condition::{SUCCEEDED, reason};
use crate::api::image_batch::{ImageBatch, ImageBatchSpec};
use crate::api::labels;
use crate::failpoint;
use crate::manifest::problem::{self, Problem};
use crate::manifest::source::{Rules, Summary};
use crate::metrics::InFlight;
use crate::records::request::Origin;
use crate::telemetry::trace;

/// How long an answer waits for MongoDB; the controller completes the record where it is late.
const RECORD: Duration = Duration::from_secs(3);

/// What a client gets for an accepted upload.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submitted {
    id: String,
    namespace: String,
    status: String,
    #[serde(flatten)]
    findings: Findings,
}

/// What a client gets for a CSV that would be accepted.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DryRun {
    valid: bool,
    namespace: String,
    #[serde(flatten)]
    findings: Findings,
}

/// What was found in an upload, and what will be done with it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Findings {
    rows: u64,
    images: u64,
    options: EffectiveOptions,
    warnings: Vec<Problem>,
    warning_counts: BTreeMap<problem::Code, u64>,
    #[serde(flatten)]
    skipped: Option<NotWorkedOn>,
}

/// Rows that are not worked on, and why; named as in the answer that refuses a CSV.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NotWorkedOn {
    skipped_rows: u64,
    errors: Vec<Problem>,
    error_count: u64,
    counts: BTreeMap<problem::Code, u64>,
}

impl Findings {
    fn new(validated: Validated, options: EffectiveOptions) -> Self {
        let Summary { rows, skipped, images, problems, warnings, .. } = validated.summary;
        let skipped = (skipped > 0).then(|| NotWorkedOn {
            skipped_rows: skipped,
            error_count: problems.total(),
            errors: problems.listed,
            counts: problems.counts,
        });
        Self { rows, images, options, warnings: warnings.listed, warning_counts: warnings.counts, skipped }
    }
}

/// What an upload shall become.
struct Submission {
    request_id: RequestId,
    namespace: String,
    options: SubmitOptions,
    rules: Rules,
    /// The batch's name where the request has an Idempotency-Key.
    keyed_name: Option<String>,
    body: body::CsvStream,
}

/// Answers `POST /v1/batches`.
pub(crate) async fn submit(
    State(state): State<AppState>,
    scope: Scope,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut options, permit) = match admit(&state, request.uri().query()) {
        Ok(admitted) => admitted,
        Err(error) => {
            body::refuse(request).await;
            return Err(error);
        }
    };
    let headers = request.headers().clone();
    let limits = state.settings.limits;
    let mut body = body::open(request, limits.max_bytes, &mut options, state.ending.clone()).await?;
    let (keyed_name, namespace) = match place(&state, scope, &options, &headers).await {
        Ok(found) => found,
        Err(error) => {
            body::drain(&mut body).await;
            return Err(error);
        }
    };
    let rules = Rules { limits, validation: options.validation };
    let submission = Submission { request_id, namespace, options, rules, keyed_name, body };

    let submissions = state.submissions.clone();
    let in_flight = InFlight::new(&state.metrics.uploads_in_flight);
    let work = async move {
        let response = if submission.options.dry_run {
            validate(&state, submission).await?
        } else {
            accept(&state, submission).await?
        };
        drop((permit, in_flight));
        Ok(response)
    };
    submissions
        .spawn(work.in_current_span())
        .await
        .map_err(|error| internal("the upload broke off").caused_by(error))?
}

/// Returns what an upload asks for in its query, and its place among those that run.
fn admit(state: &AppState, query: Option<&str>) -> Result<(SubmitOptions, OwnedSemaphorePermit), ApiError> {
    let options = SubmitOptions::parse(query)?;
    let permit = state.uploads.clone().try_acquire_owned().map_err(|_| {
        let limit = state.settings.max_concurrent_uploads;
        ApiError::new(Code::TooManyUploads, format!("{limit} uploads are running, as many as allowed; try again"))
    })?;
    Ok((options, permit))
}

/// Returns the name that an Idempotency-Key gives the batch, and the namespace, if that has room for any row.
async fn place(
    state: &AppState,
    scope: Scope,
    options: &SubmitOptions,
    headers: &HeaderMap,
) -> Result<(Option<String>, String), ApiError> {
    // A form may have named another namespace.
    let scope = scope.in_namespace(state, options.namespace.as_deref()).await?;
    let namespace = scope.namespace();
    let name = idempotency::batch_name(headers, namespace, scope.user())?;
    if !options.dry_run {
        quota::check(state, namespace, name.as_deref(), 1).await?;
    }
    Ok((name, namespace.to_owned()))
}

async fn validate(state: &AppState, submission: Submission) -> Result<Response, ApiError> {
    let Submission { namespace, options, rules, body, .. } = submission;
    let mut validated = upload::validate(&state.metrics, rules, body).await?;
    options.warn(&mut validated.summary.warnings);
    let spec = spec(&options, &validated, String::new())?;
    let findings = Findings::new(validated, EffectiveOptions::of(&spec, options.display_name));
    Ok(Json(DryRun { valid: true, namespace, findings }).into_response())
}

async fn accept(state: &AppState, submission: Submission) -> Result<Response, ApiError> {
    let Submission { request_id, namespace, options, rules, keyed_name, body } = submission;
    let unique = uuid::Uuid::now_v7().to_string();
    // Repeats of a key may come at the same time, so each has an upload of its own.
    let upload_id = keyed_name.as_ref().map_or_else(|| unique.clone(), |name| format!("{name}.{unique}"));
    let id = keyed_name.clone().unwrap_or(unique);
    let key = state.storage.keys().upload(&namespace, &upload_id);
    let store = upload::store(&state.storage, &state.metrics, &key, rules, body);
    let mut validated = store.instrument(info_span!("upload")).await?;
    options.warn(&mut validated.summary.warnings);
    let fingerprint = keyed_name.map(|_| idempotency::fingerprint(&validated.sha256, &options));

    let spec = spec(&options, &validated, key.clone())?;
    let batch = image_batch(&namespace, &id, options.display_name.clone(), &request_id, spec);
    let keyed_name = fingerprint.as_ref().map(|_| id.as_str());
    let result = match quota::check(state, &namespace, keyed_name, validated.summary.rows).await {
        Ok(()) => create(state, batch, fingerprint).await,
        Err(error) => Err(error),
    };
    let is_ours = |batch: &ImageBatch| batch.spec.source.upload.as_ref().is_some_and(|it| it.key == key);
    if !result.as_ref().is_ok_and(is_ours) {
        upload::delete(&state.storage, &key).await;
    }
    let batch = result?;
    record(state, &batch).await;
    let findings = Findings::new(validated, EffectiveOptions::of(&batch.spec, options.display_name));
    let (rows, images) = (findings.rows, findings.images);
    tracing::info!(rows, images, "batch accepted");
    let status = state_of(&batch).to_owned();
    let path = state.settings.batch_path(&namespace, &id, "");
    accepted(&path, Submitted { id, namespace, status, findings })
}

/// Returns the answer to a request whose result will be under a path.
pub(super) fn accepted(path: &str, body: impl Serialize) -> Result<Response, ApiError> {
    let location = HeaderValue::try_from(path).map_err(|error| internal("no path").caused_by(error))?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(body)).into_response())
}

/// Returns the word for a batch's state.
pub(super) fn state_of(batch: &ImageBatch) -> &str {
    let condition = batch.status.as_ref().and_then(|it| it.condition(SUCCEEDED));
    condition.map_or(reason::PENDING, |it| it.reason.as_str())
}

fn spec(options: &SubmitOptions, validated: &Validated, key: String) -> Result<ImageBatchSpec, ApiError> {
    options.spec(validated.upload(key)).map_err(|error| internal("the options make no batch").caused_by(error))
}

/// Returns a batch to be created.
pub(super) fn image_batch(
    namespace: &str,
    id: &str,
    display_name: Option<String>,
    request_id: &RequestId,
    spec: ImageBatchSpec,
) -> ImageBatch {
    let mut batch = ImageBatch::new(id, spec);
    batch.metadata.namespace = Some(namespace.to_owned());
    let annotations = [
        (labels::DISPLAY_NAME, display_name),
        (labels::REQUEST_ID, Some(request_id.0.clone())),
        (labels::TRACEPARENT, trace::traceparent(&Span::current())),
    ];
    let annotations = annotations.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    batch.metadata.annotations = Some(annotations.collect());
    batch
}

/// Creates the batch, or returns the one that an earlier request with the same fingerprint made.
pub(super) async fn create(
    state: &AppState,
    mut batch: ImageBatch,
    fingerprint: Option<String>,
) -> Result<ImageBatch, ApiError> {
    if let Some(fingerprint) = fingerprint.clone() {
        batch.metadata.annotations.get_or_insert_default().insert(labels::FINGERPRINT.to_owned(), fingerprint);
    }
    let namespace = batch.metadata.namespace.clone().unwrap_or_default();
    let create = cluster::create(&state.client, &namespace, &batch);
    let found = create.instrument(info_span!("create")).await?;
    note_batch(&found);
    if let Some(fingerprint) = fingerprint {
        idempotency::check(&found, &fingerprint)?;
    }
    Ok(found)
}

/// Gives the lines of this request's log the batch that they speak of.
pub(super) fn note_batch(batch: &ImageBatch) {
    let span = Span::current();
    span.record("batch.name", batch.name_any());
    span.record("batch.namespace", batch.namespace());
    span.record("batch.uid", batch.uid());
}

/// Records the request. The batch exists already, so this cannot fail it: the controller writes the
/// same record when it first sees the batch.
pub(super) async fn record(state: &AppState, batch: &ImageBatch) {
    let uid = batch.metadata.uid.as_deref().unwrap_or_default();
    let origin = Origin::of(batch);
    let insert = failpoint::around("request.insert", state.records.insert_request(uid, &origin));
    match tokio::time::timeout(RECORD, insert).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = chain(&error);
            tracing::warn!(batch.name = origin.name, error, "failed to record a request; the controller will");
        }
        Err(_) => tracing::warn!(batch.name = origin.name, "failed to record a request in time; the controller will"),
    }
}

fn internal(detail: &str) -> ApiError {
    ApiError::new(Code::Internal, detail)
}
