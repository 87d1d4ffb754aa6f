//! What goes wrong around a batch: pods that do not start or end, Jobs changed by hand, servers that are away,
//! namespaces that go. Each is said in the ImageBatch, and mended where that is possible.

mod cleanup;
mod jobs;
mod pods;
mod sources;
mod twins;

use imagebatch::api::image_batch::ImageBatch;
use imagebatch::api::stage::Stage;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::{Value, json};

use crate::controller::{set_ingest, uid};
use crate::harness::{Harness, PATIENCE, condition};

/// Waits until a condition of a batch is this one, as `True/Reason`, and returns its message.
async fn wait_condition(harness: &Harness, batch: &str, type_: &str, expected: &str) -> String {
    let what = format!("{type_}={expected}");
    let batch = harness.wait(batch, &what, |it| condition(it, type_) == expected).await;
    batch.status.and_then(|it| it.condition(type_).map(|it| it.message.clone())).expect("a message")
}

/// Waits until there is an Event of that type and reason about a batch.
async fn wait_event(harness: &Harness, batch: &str, type_: &str, reason: &str) {
    let events: Api<Event> = Api::namespaced(harness.client.clone(), &harness.namespace);
    let found = async {
        loop {
            let listed = events.list(&ListParams::default()).await.expect("the API server answers");
            let is_it = |it: &Event| {
                it.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some(batch))
                    && (it.type_.as_deref(), it.reason.as_deref()) == (Some(type_), Some(reason))
            };
            if listed.iter().any(is_it) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("there is no Event {type_} {reason} about {batch}"));
}

/// Waits until a deleted batch is gone.
async fn wait_gone(harness: &Harness, batch: &ImageBatch) {
    let (name, uid) = (batch.name_any(), uid(batch));
    let gone = await_condition(harness.batches(), &name, conditions::is_deleted(&uid));
    let gone = tokio::time::timeout(PATIENCE, gone).await;
    gone.unwrap_or_else(|_| panic!("{name} does not go")).expect("the watch goes on");
}

/// Writes fields of a Job's status, as the Job controller would.
async fn set_job(harness: &Harness, job: &Job, mut status: Value) {
    let before = harness.jobs().get(&job.name_any()).await.expect("it exists").status.unwrap_or_default();
    status["startTime"] = json!(before.start_time.unwrap_or_else(|| Time(Timestamp::now())));
    let patch = Patch::Merge(json!({ "status": status }));
    harness.jobs().patch_status(&job.name_any(), &PatchParams::default(), &patch).await.expect("a Job's status");
}

/// Brings a large batch to its compress Job.
async fn reach_compress(harness: &Harness, batch: &ImageBatch) -> Job {
    let name = batch.name_any();
    let ingest = harness.wait_job(&name, Stage::Ingest).await;
    set_ingest(harness, batch, 1_000, 40).await;
    harness.end_job(&ingest, "Complete", None).await;
    harness.wait_job(&name, Stage::Compress).await
}
