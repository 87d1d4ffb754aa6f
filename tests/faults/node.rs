//! The cluster's node, and what is done to it and to its containers behind Kubernetes' back.

use std::process::Command;

use serde_json::Value;

use crate::cluster::names;

/// Returns the cluster's node.
pub(crate) fn node() -> String {
    names("nodes", "").remove(0).trim_start_matches("node/").to_owned()
}

/// A container that runs, and the index of the Job that its pod is for, if it is for one.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) index: String,
}

/// Returns a pod's container that runs.
pub(crate) fn container(pod: &Value) -> Option<Container> {
    let status = &pod["status"]["containerStatuses"][0];
    status["state"]["running"].as_object()?;
    let id = status["containerID"].as_str()?.trim_start_matches("containerd://").to_owned();
    let index = pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"].as_str().unwrap_or_default();
    Some(Container { id, index: index.to_owned() })
}

/// Does something to the node, and returns whether that could be done.
pub(crate) fn act(arguments: &[&str]) -> bool {
    let output = Command::new("tests/cluster/cluster").args(arguments).output().expect("the script starts");
    output.status.success()
}
