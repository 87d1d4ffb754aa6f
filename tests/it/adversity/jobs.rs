//! Jobs that are deleted, changed or refused, and everything else that keeps a reconcile from its end.

use imagebatch::api::stage::Stage;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::{reach_compress, set_job, wait_condition, wait_event};
use crate::controller::{PRODUCTS, UPLOAD, set_ingest, set_report};
use crate::harness::{Harness, Running, condition, run_controller};

fn parallelism(job: &Job) -> Option<i32> {
    job.spec.as_ref().and_then(|it| it.parallelism)
}

async fn edit(harness: &Harness, job: &Job, change: Value) {
    // As `kubectl edit` does.
    let params = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    harness.jobs().patch(&job.name_any(), &params, &Patch::Merge(change)).await.expect("a Job may be edited");
}

#[tokio::test]
async fn a_job_deleted_in_any_stage_is_made_again() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let batch = harness.create("again", UPLOAD).await;
    let again = async |job: Job| {
        set_job(&harness, &job, json!({ "active": 1, "ready": 1 })).await;
        harness.jobs().delete(&job.name_any(), &DeleteParams::background()).await.expect("the Job goes");
        let new = harness.wait_job_until(&job.name_any(), "made again", |it| it.uid() != job.uid()).await;
        let without_uid = |job: &Job| {
            let spec = job.spec.clone().expect("a spec");
            (spec.completions, spec.parallelism, spec.completion_mode, spec.template.spec.expect("a pod").containers)
        };
        assert_eq!(without_uid(&new), without_uid(&job));
        new
    };
    let ingest = again(harness.wait_job("again", Stage::Ingest).await).await;
    set_ingest(&harness, &batch, 1_000, 40).await;
    harness.end_job(&ingest, "Complete", None).await;
    let compress = again(harness.wait_job("again", Stage::Compress).await).await;
    harness.end_job(&compress, "Complete", None).await;
    let report = again(harness.wait_job("again", Stage::Report).await).await;
    set_report(&harness, &batch, 1_000, 0).await;
    harness.end_job(&report, "Complete", None).await;
    harness.wait_finished("again").await;
}

#[tokio::test]
async fn what_was_edited_in_a_job_is_put_back() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let batch = harness.create("edited", UPLOAD).await;
    let job = reach_compress(&harness, &batch).await;
    let name = job.name_any();
    assert_eq!(parallelism(&job), Some(3));
    edit(&harness, &job, json!({ "spec": { "parallelism": 9 } })).await;
    harness.wait_job_until(&name, "put back", |it| parallelism(it) == Some(3)).await;
    edit(&harness, &job, json!({ "spec": { "suspend": true } })).await;
    let is_suspended = |it: &Job| it.spec.as_ref().and_then(|it| it.suspend) == Some(true);
    harness.wait_job_until(&name, "resumed", |it| !is_suspended(it)).await;
    // Without its label the batch would not find it.
    edit(&harness, &job, json!({ "metadata": { "labels": { "imagebatch.io/batch-uid": null } } })).await;
    let is_labelled = |it: &Job| it.labels().contains_key("imagebatch.io/batch-uid");
    let labelled = harness.wait_job_until(&name, "labelled again", is_labelled).await;
    assert_eq!(labelled.uid(), job.uid(), "it is the same Job");
}

#[tokio::test]
async fn a_foreign_job_in_the_way_is_named_and_waited_for() {
    let harness = Harness::start().await;
    let foreign = json!({
        "metadata": { "name": "taken-run" },
        "spec": { "suspend": true, "template": { "spec": {
            "restartPolicy": "Never", "containers": [{ "name": "other", "image": "other" }] } } },
    });
    let foreign: Job = serde_json::from_value(foreign).expect("a Job");
    let foreign = harness.jobs().create(&PostParams::default(), &foreign).await.expect("the Job is new");
    let _controller = harness.controller().await;
    harness.create("taken", PRODUCTS).await;
    let message = wait_condition(&harness, "taken", "Reconciled", "False/JobNameTaken").await;
    assert!(message.contains("taken-run") && message.contains("no ImageBatch"), "{message}");
    wait_event(&harness, "taken", "Warning", "JobNameTaken").await;
    let batch = harness.batches().get("taken").await.expect("it exists");
    assert_eq!(condition(&batch, "Succeeded"), "Unknown/Pending");
    let untouched = harness.jobs().get("taken-run").await.expect("it exists");
    assert_eq!((untouched.uid(), &untouched.spec), (foreign.uid(), &foreign.spec), "it is left alone");

    harness.jobs().delete("taken-run", &DeleteParams::background()).await.expect("the Job goes");
    harness.wait_job_until("taken-run", "the batch's", |it| it.uid() != foreign.uid()).await;
    wait_condition(&harness, "taken", "Reconciled", "True/Reconciled").await;
}

#[tokio::test]
async fn a_job_that_a_quota_refuses_is_explained_and_made_later() {
    let harness = Harness::start().await;
    let quotas = harness.forbid("few", "jobs.batch").await;
    let _controller = harness.controller().await;
    harness.create("refused", PRODUCTS).await;
    let message = wait_condition(&harness, "refused", "Reconciled", "False/QuotaExceeded").await;
    assert!(message.contains("exceeded quota: few"), "{message}");
    wait_event(&harness, "refused", "Warning", "QuotaExceeded").await;
    quotas.delete("few", &DeleteParams::default()).await.expect("the quota goes");
    harness.wait_job("refused", Stage::Run).await;
    wait_condition(&harness, "refused", "Reconciled", "True/Reconciled").await;
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let harness = Harness::start().await;
    let user = harness.namespace.clone();
    let role = json!({ "metadata": { "name": user }, "rules": [
        { "apiGroups": ["imagebatch.io"], "resources": ["imagebatches", "imagebatches/status"], "verbs": ["*"] },
        { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] },
    ] });
    let role: ClusterRole = serde_json::from_value(role).expect("a role");
    Api::all(harness.client.clone()).create(&PostParams::default(), &role).await.expect("the role is new");
    let binding = json!({ "metadata": { "name": user },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }] });
    let binding: ClusterRoleBinding = serde_json::from_value(binding).expect("a binding");
    Api::all(harness.client.clone()).create(&PostParams::default(), &binding).await.expect("the binding is new");

    let mut config = kube::Config::infer().await.expect("a kubeconfig");
    config.auth_info.impersonate = Some(user.clone());
    let client = Client::try_from(config).expect("a client");
    let context = harness.context_with(client.clone(), &[]).await;
    let batches = Api::namespaced(client, &harness.namespace);
    let _controller = Running(tokio::spawn(run_controller(batches, context)));
    harness.create("powerless", PRODUCTS).await;
    let message = wait_condition(&harness, "powerless", "Reconciled", "False/Forbidden").await;
    assert!(message.contains("jobs") && message.contains(&user), "{message}");
    let batch = harness.batches().get("powerless").await.expect("it exists");
    assert_eq!(condition(&batch, "Succeeded"), "Unknown/Forbidden", "the State column says it");
    Api::<ClusterRoleBinding>::all(harness.client.clone())
        .delete(&user, &DeleteParams::default())
        .await
        .expect("it goes");
    Api::<ClusterRole>::all(harness.client.clone()).delete(&user, &DeleteParams::default()).await.expect("it goes");
}

#[tokio::test]
async fn mongodb_that_is_away_is_named_until_it_is_back() {
    let harness = Harness::start().await;
    let nowhere = "mongodb://user:hush@127.0.0.1:1/?serverSelectionTimeoutMS=500";
    let blind = harness.controller_with(&[("IMAGEBATCH_MONGODB_URI", nowhere)]).await;
    harness.create("blind", PRODUCTS).await;
    let message = wait_condition(&harness, "blind", "Reconciled", "False/RecordsUnavailable").await;
    assert!(!message.contains("hush") && !message.contains("127.0.0.1"), "{message}");
    wait_event(&harness, "blind", "Warning", "RecordsUnavailable").await;
    drop(blind);
    let _controller = harness.controller().await;
    harness.wait_job("blind", Stage::Run).await;
    wait_condition(&harness, "blind", "Reconciled", "True/Reconciled").await;
}
