//! A node that is lost with a pod on it: nobody says that the pod has ended.

use serde_json::json;

use crate::cluster::{get, kubectl, names, origin, try_kubectl, wait_finished, wait_until};

const NODE: &str = "lost-node";

/// A node without a kubelet, which is the only one that takes pods until the guard is dropped.
struct LostNode {
    others: Vec<String>,
}

impl LostNode {
    fn new() -> Self {
        let others = kubectl(&["get", "nodes", "--output=name"]).lines().map(str::to_owned).collect();
        let size = json!({ "cpu": "8", "memory": "16Gi", "pods": "50" });
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": NODE, "labels": { "kubernetes.io/os": "linux", "kubernetes.io/hostname": NODE } },
            "status": { "capacity": size, "allocatable": size,
                "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "" }] },
        });
        try_kubectl(&["create", "-f", "-"], &node.to_string()).expect("the node is new");
        let node = Self { others };
        node.cordon("cordon");
        node
    }

    fn cordon(&self, verb: &str) {
        for other in &self.others {
            kubectl(&[verb, other]);
        }
    }
}

impl Drop for LostNode {
    fn drop(&mut self) {
        self.cordon("uncordon");
        kubectl(&["delete", "node", NODE]);
    }
}

#[tokio::test]
async fn a_pod_on_a_lost_node_is_replaced_after_a_while() {
    let node = LostNode::new();
    let batch = json!({
        "apiVersion": "imagebatch.io/v1alpha1", "kind": "ImageBatch", "metadata": { "name": "lost" },
        "spec": { "source": { "products": [
            { "serialNumber": "1", "name": "Poster", "imageUrls": [origin("forest-stream.jpg")] }] } },
    });
    try_kubectl(&["create", "-f", "-"], &batch.to_string()).expect("the ImageBatch is new");
    let selector = "imagebatch.io/batch-name=lost";
    let on_node = ["get", "pods", "--selector", selector, "--field-selector=spec.nodeName=lost-node", "--output=name"];
    wait_until("a pod on the lost node", || !kubectl(&on_node).is_empty()).await;
    let pod = names("pods", selector).remove(0);
    // As the eviction from a node that is not heard of does.
    kubectl(&["delete", &pod, "--grace-period=1", "--wait=false"]);
    node.cordon("uncordon");
    kubectl(&["wait", "--for=condition=WorkerStuck", "imagebatch/lost", "--timeout=120s"]);
    let finished = wait_finished("lost");
    assert_eq!(finished["status"]["succeeded"].as_i64(), Some(1), "{:#}", finished["status"]);
    let job = get("job", "lost-run");
    assert_eq!(job["status"]["succeeded"].as_i64(), Some(1));
    let described = kubectl(&["describe", "imagebatch", "lost"]);
    assert!(described.contains("PodTerminating") && described.contains("PodDeleted"), "{described}");
    kubectl(&["delete", "imagebatch", "lost"]);
}
