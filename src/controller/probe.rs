//! Asks the API server at the start whether it would take a Job with the installation's settings: it knows best
//! what a quantity or a toleration may be, and later each batch would meet its refusal.

use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::context::Context;
use super::job::job;
use super::plan::Step;
use crate::api::image_batch::ImageBatch;
use crate::api::stage::{Stage, UnprocessedCause};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Fails when the Job is not valid; nothing is created. Whatever else is in the way is no matter of the settings.
pub async fn check_worker_pod(context: &Context) -> anyhow::Result<()> {
    let Some(namespace) = context.namespaces.first() else { return Ok(()) };
    let product = json!({ "serialNumber": "1", "name": "", "imageUrls": [] });
    let spec = serde_json::from_value(json!({ "source": { "products": [product] } }))?;
    let mut batch = ImageBatch::new("imagebatch-settings", spec);
    batch.metadata.namespace = Some(namespace.clone());
    let step = Step::Start {
        stage: Stage::Run,
        completions: 1,
        parallelism: 1,
        deadline_seconds: None,
        cause: UnprocessedCause::ShardFailed,
    };
    let job = job(&batch, &step, &context.worker)?.context("a start has a Job")?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let jobs = Api::<Job>::namespaced(context.client.clone(), namespace);
    match tokio::time::timeout(TIMEOUT, jobs.create(&dry_run, &job)).await {
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 422) => {
            bail!("the API server refuses the worker pods (the chart's value worker): {}", status.message)
        }
        Ok(Err(error)) => tracing::warn!(%error, namespace, "the worker pods' settings could not be tried"),
        Err(_) => tracing::warn!(namespace, "the worker pods' settings could not be tried in time"),
        Ok(Ok(_)) => {}
    }
    Ok(())
}
