//! Pods that do not start, and pods that do not end.

use imagebatch::api::stage::Stage;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::{reach_compress, set_job, wait_condition, wait_event, wait_gone};
use crate::controller::{PRODUCTS, UPLOAD};
use crate::harness::{Harness, PATIENCE, condition};

const TRACKING: &str = "batch.kubernetes.io/job-tracking";

fn pods(harness: &Harness) -> Api<Pod> {
    Api::namespaced(harness.client.clone(), &harness.namespace)
}

/// Makes a Job's pod, as the Job controller and a kubelet would.
async fn make_pod(harness: &Harness, job: &Job, node: Option<&str>, status: Value) -> Pod {
    let pod = json!({
        "metadata": {
            "name": format!("{}-x", job.name_any()),
            "labels": job.labels(),
            "finalizers": [TRACKING],
        },
        "spec": { "nodeName": node, "restartPolicy": "Never", "containers": [{ "name": "compressor", "image": "a" }] },
    });
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    let pod = pods(harness).create(&PostParams::default(), &pod).await.expect("the pod is new");
    let patch = Patch::Merge(json!({ "status": status }));
    pods(harness).patch_status(&pod.name_any(), &PatchParams::default(), &patch).await.expect("its status")
}

fn running() -> Value {
    let state = json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } });
    json!({ "phase": "Running", "containerStatuses": [container(&state)] })
}

fn container(state: &Value) -> Value {
    json!({ "name": "compressor", "image": "a", "imageID": "", "ready": false, "restartCount": 0, "state": state })
}

async fn release(harness: &Harness, pod: &Pod) {
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    pods(harness).patch(&pod.name_any(), &PatchParams::default(), &patch).await.expect("the pod can be patched");
}

async fn lose_pod(harness: &Harness, job: &Job) -> Pod {
    let pod = make_pod(harness, job, Some("lost"), running()).await;
    let soon = DeleteParams::default().grace_period(1);
    pods(harness).delete(&pod.name_any(), &soon).await.expect("the pod is told to end");
    pod
}

/// Waits until a pod was ended by force, as the Job controller has to see it.
async fn wait_forced(harness: &Harness, pod: &Pod) {
    let name = pod.name_any();
    let is_forced = |it: Option<&Pod>| it.is_some_and(|it| it.metadata.deletion_grace_period_seconds == Some(0));
    let forced = await_condition(pods(harness), &name, is_forced);
    let forced =
        tokio::time::timeout(PATIENCE, forced).await.expect("it is deleted by force").expect("the watch goes on");
    let status = forced.and_then(|it| it.status).expect("a status");
    assert_eq!(status.phase.as_deref(), Some("Failed"), "a Job that replaces failed pods only waits for that");
    let disrupted = status.conditions.expect("conditions").into_iter().find(|it| it.type_ == "DisruptionTarget");
    assert_eq!(disrupted.map(|it| it.status), Some("True".to_owned()), "it is no failure of its index");
}

#[tokio::test]
async fn a_pod_on_a_lost_node_is_named_and_then_deleted_by_force() {
    let harness = Harness::start().await;
    let _controller = harness.controller_with(&[("IMAGEBATCH_STUCK_POD_SECONDS", "20")]).await;
    let batch = harness.create("lost", UPLOAD).await;
    let job = reach_compress(&harness, &batch).await;
    let pod = lose_pod(&harness, &job).await;
    set_job(&harness, &job, json!({ "active": 2, "ready": 2, "terminating": 1 })).await;
    let message = wait_condition(&harness, "lost", "WorkerStuck", "True/PodTerminating").await;
    assert!(
        message.contains(&pod.name_any()) && message.contains("node lost") && message.contains("by force"),
        "{message}"
    );
    wait_event(&harness, "lost", "Warning", "PodTerminating").await;

    wait_forced(&harness, &pod).await;
    wait_condition(&harness, "lost", "WorkerStuck", "False/PodDeleted").await;
    wait_event(&harness, "lost", "Warning", "PodDeleted").await;
    release(&harness, &pod).await;
    let batch = harness.batches().get("lost").await.expect("it exists");
    assert_eq!(condition(&batch, "Succeeded"), "Unknown/Running", "the batch goes on");
}

#[tokio::test]
async fn without_a_limit_a_stuck_pod_is_waited_for() {
    let harness = Harness::start().await;
    let _controller = harness.controller_with(&[("IMAGEBATCH_STUCK_POD_SECONDS", "0")]).await;
    harness.create("patient", PRODUCTS).await;
    let job = harness.wait_job("patient", Stage::Run).await;
    let pod = lose_pod(&harness, &job).await;
    set_job(&harness, &job, json!({ "terminating": 1 })).await;
    let message = wait_condition(&harness, "patient", "WorkerStuck", "True/PodTerminating").await;
    assert!(message.contains("stuckPodSeconds is 0"), "{message}");
    let left = pods(&harness).get(&pod.name_any()).await.expect("it is still there");
    assert_eq!(left.status.and_then(|it| it.phase).as_deref(), Some("Running"));
    // The node comes back.
    release(&harness, &pod).await;
    pods(&harness).delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await.expect("it ends");
    set_job(&harness, &job, json!({ "active": 1, "ready": 1, "terminating": 0 })).await;
    wait_condition(&harness, "patient", "WorkerStuck", "False/PodsEnded").await;
}

#[tokio::test]
async fn a_stuck_pod_does_not_keep_a_deleted_batch_for_ever() {
    let harness = Harness::start().await;
    let _controller = harness.controller_with(&[("IMAGEBATCH_STUCK_POD_SECONDS", "20")]).await;
    let batch = harness.create("going", PRODUCTS).await;
    let job = harness.wait_job("going", Stage::Run).await;
    let pod = lose_pod(&harness, &job).await;
    harness.batches().delete("going", &DeleteParams::default()).await.expect("it can be deleted");
    wait_condition(&harness, "going", "WorkerStuck", "True/PodTerminating").await;
    wait_forced(&harness, &pod).await;
    release(&harness, &pod).await;
    // The garbage collector lets the Job go once its pods are gone.
    let _collector = harness.collect_jobs();
    wait_gone(&harness, &batch).await;
}

#[tokio::test]
async fn pods_that_do_not_start_are_explained_in_the_batch() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let waiting = |reason: &str, message: &str| {
        let state = json!({ "waiting": { "reason": reason, "message": message } });
        json!({ "phase": "Pending", "containerStatuses": [container(&state)] })
    };
    let long_ago = Timestamp::now() - SignedDuration::from_secs(600);
    let long_ago = long_ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let pod_condition = |type_: &str, reason: &str, message: &str| json!([{ "type": type_, "status": "False", "reason": reason, "message": message, "lastTransitionTime": long_ago }]);
    let unschedulable = json!({ "phase": "Pending",
        "conditions": pod_condition("PodScheduled", "Unschedulable", "0/3 nodes are available: 3 Insufficient memory.") });
    let mut unheard = running();
    unheard["conditions"] = pod_condition("Ready", "", "");
    let cases = [
        (
            "pull",
            Some("node"),
            waiting("ImagePullBackOff", "Back-off pulling image \"a\""),
            "ImagePullFailed",
            "Back-off pulling",
        ),
        (
            "secret",
            Some("node"),
            waiting("CreateContainerConfigError", "secret \"imagebatch-worker\" not found"),
            "ContainerNotCreated",
            "imagebatch-worker",
        ),
        ("full", None, unschedulable, "Unschedulable", "3 Insufficient memory"),
        ("unheard", Some("gone"), unheard, "NodeNotReady", "node gone"),
        ("map", Some("node"), json!({ "phase": "Pending" }), "PodNotStarted", "configmap \"catalogue\" not found"),
    ];
    for (name, node, status, ..) in &cases {
        harness.create(name, PRODUCTS).await;
        let job = harness.wait_job(name, Stage::Run).await;
        let pod = make_pod(&harness, &job, *node, status.clone()).await;
        if *name == "map" {
            let message = "MountVolume.SetUp failed for volume \"source\" : configmap \"catalogue\" not found";
            make_event(&harness, "Pod", &pod.name_any(), &pod.uid().expect("a uid"), "FailedMount", message).await;
        }
        set_job(&harness, &job, json!({ "active": 1, "ready": 0 })).await;
    }
    // A Job whose pods cannot even be created.
    harness.create("quota", PRODUCTS).await;
    let job = harness.wait_job("quota", Stage::Run).await;
    let message = "Error creating: pods \"quota-run-x\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=4, limited: pods=4";
    make_event(&harness, "Job", &job.name_any(), &job.uid().expect("a uid"), "FailedCreate", message).await;

    for (name, _, _, reason, text) in &cases {
        let message = wait_condition(&harness, name, "WorkersReady", &format!("False/{reason}")).await;
        assert!(message.contains(text) && message.contains(&format!("{name}-run-x")), "{name}: {message}");
        wait_event(&harness, name, "Warning", reason).await;
        let batch = harness.batches().get(name).await.expect("it exists");
        assert_eq!(condition(&batch, "Finished"), "False/Pending", "{name}: it waits until its deadline");
    }
    let message = wait_condition(&harness, "quota", "WorkersReady", "False/QuotaExceeded").await;
    assert!(message.contains("exceeded quota: few"), "{message}");

    // What was wrong is put right.
    set_job(&harness, &harness.wait_job("pull", Stage::Run).await, json!({ "active": 1, "ready": 1 })).await;
    wait_condition(&harness, "pull", "WorkersReady", "True/WorkersStarted").await;
}

/// Makes an Event, as kubelets and the Job controller do.
async fn make_event(harness: &Harness, kind: &str, name: &str, uid: &str, reason: &str, message: &str) {
    let event = json!({
        "metadata": { "name": format!("{name}.{reason}").to_lowercase() },
        "involvedObject": { "kind": kind, "namespace": harness.namespace, "name": name, "uid": uid },
        "type": "Warning", "reason": reason, "message": message,
        "lastTimestamp": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    let event: Event = serde_json::from_value(event).expect("an Event");
    let events = Api::<Event>::namespaced(harness.client.clone(), &harness.namespace);
    events.create(&PostParams::default(), &event).await.expect("the Event is new");
}
