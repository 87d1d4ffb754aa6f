//! Pods that do not end since their node is lost: a Job with `podReplacementPolicy: Failed` waits for them for
//! ever, and so does the deletion of its ImageBatch.
//!
//! After a limit such a pod is deleted by force. Its process may still run on a node that the API server does not
//! hear of, beside the pod that takes its place. That is harmless: objects are created once, records are
//! inserted once, and a pod that meets another's records takes them over (`compressor::compress`).

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use super::pods::StuckPod;

/// Deletes those pods by force that have been late for `limit`, and marks them as forced. One that cannot be
/// deleted stays as it is: the next look finds it again.
pub(super) async fn delete_late(
    api: &Api<Pod>,
    pods: &mut [StuckPod],
    limit: SignedDuration,
    now: Timestamp,
) -> Result<(), kube::Error> {
    for pod in pods.iter_mut().filter(|it| now.duration_since(it.due) >= limit) {
        match delete_by_force(api, pod, now).await {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(error) => return Err(error),
        }
        pod.forced = true;
        let late_seconds = now.duration_since(pod.due).as_secs();
        tracing::warn!(pod = pod.name, node = pod.node, late_seconds, "deleted a pod by force that did not end");
    }
    Ok(())
}

/// As Kubernetes' own collector of pods does it: the Job controller looks at the phase, not at the deletion, and
/// what happened to the pod is a disruption, which counts for no index's failures.
async fn delete_by_force(api: &Api<Pod>, pod: &StuckPod, now: Timestamp) -> Result<(), kube::Error> {
    let message = format!("ImageBatch deleted this pod by force: node {:?} did not end it", pod.node);
    let disruption = json!({ "type": "DisruptionTarget", "status": "True", "reason": "WorkerStuck",
        "message": message, "lastTransitionTime": Time(now) });
    let patch = json!({ "metadata": { "uid": pod.uid }, "status": {
        "phase": "Failed", "reason": "WorkerStuck", "message": message, "conditions": [disruption] } });
    api.patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
    let this_one = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
    let at_once = DeleteParams::default().grace_period(0).preconditions(this_one);
    api.delete(&pod.name, &at_once).await.map(drop)
}
