//! Nodes and pods that are out of luck: a node that is lost with a pod on it, so that nobody says that the pod
//! has ended, and a pod that cannot start.

use serde_json::{Value, json};

use crate::cluster::{get, kubectl, names, origin, try_kubectl, wait_finished, wait_until};

const NODE: &str = "lost-node";

/// Keeps the cluster's nodes from taking pods until it is dropped.
struct Cordon(Vec<String>);

impl Cordon {
    fn new() -> Self {
        let nodes = Self(kubectl(&["get", "nodes", "--output=name"]).lines().map(str::to_owned).collect());
        for node in &nodes.0 {
            kubectl(&["cordon", node]);
        }
        nodes
    }
}

impl Drop for Cordon {
    fn drop(&mut self) {
        for node in &self.0 {
            kubectl(&["uncordon", node]);
        }
    }
}

/// A node without a kubelet.
struct LostNode;

impl LostNode {
    fn new() -> Self {
        let size = json!({ "cpu": "8", "memory": "16Gi", "pods": "50" });
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": NODE, "labels": { "kubernetes.io/os": "linux", "kubernetes.io/hostname": NODE } },
            "status": { "capacity": size, "allocatable": size,
                "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "" }] },
        });
        create(&node);
        Self
    }
}

impl Drop for LostNode {
    fn drop(&mut self) {
        kubectl(&["delete", "node", NODE]);
    }
}

fn create(object: &Value) {
    try_kubectl(&["create", "-f", "-"], &object.to_string()).expect("the object is new");
}

fn create_batch(name: &str, source: &Value) {
    create(&json!({ "apiVersion": "imagebatch.io/v1alpha1", "kind": "ImageBatch", "metadata": { "name": name },
        "spec": { "source": source } }));
}

fn described(name: &str) -> String {
    kubectl(&["describe", "imagebatch", name])
}

#[tokio::test]
async fn a_pod_on_a_lost_node_is_replaced_after_a_while() {
    let cordon = Cordon::new();
    let _node = LostNode::new();
    let product = json!({ "serialNumber": "1", "name": "Poster", "imageUrls": [origin("forest-stream.jpg")] });
    create_batch("lost", &json!({ "products": [product] }));
    let selector = "imagebatch.io/batch-name=lost";
    let on_node = ["get", "pods", "--selector", selector, "--field-selector=spec.nodeName=lost-node", "--output=name"];
    wait_until("a pod on the lost node", || !kubectl(&on_node).is_empty()).await;
    // The node's own controller takes longer to find out.
    kubectl(&["cordon", NODE]);
    let pod = names("pods", selector).remove(0);
    // As the eviction from a node that is not heard of does.
    kubectl(&["delete", &pod, "--grace-period=1", "--wait=false"]);
    drop(cordon);
    kubectl(&["wait", "--for=condition=WorkerStuck", "imagebatch/lost", "--timeout=120s"]);
    let finished = wait_finished("lost");
    assert_eq!(finished["status"]["succeeded"].as_i64(), Some(1), "{:#}", finished["status"]);
    let job = get("job", "lost-run");
    assert_eq!(job["status"]["succeeded"].as_i64(), Some(1));
    let described = described("lost");
    assert!(described.contains("PodTerminating") && described.contains("PodDeleted"), "{described}");
    kubectl(&["delete", "imagebatch", "lost"]);
}

#[tokio::test]
async fn a_config_map_that_vanished_before_its_pod_started_is_named() {
    let csv = format!("S. No.,Product Name,Input Image Urls\n1,Poster,{}\n", origin("forest-stream.jpg"));
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "fleeting" },
        "data": { "products.csv": csv } });
    create(&map);
    let cordon = Cordon::new();
    create_batch("fleeting", &json!({ "configMapKeyRef": { "name": "fleeting", "key": "products.csv" } }));
    wait_until("a pod", || !names("pods", "imagebatch.io/batch-name=fleeting").is_empty()).await;
    kubectl(&["delete", "configmap", "fleeting"]);
    drop(cordon);
    let is_named = || described("fleeting").contains(r#"configmap "fleeting" not found"#);
    wait_until("what is missing is named", is_named).await;
    let conditions = get("imagebatch", "fleeting")["status"]["conditions"].to_string();
    assert!(conditions.contains("PodNotStarted"), "{conditions}");
    create(&map);
    let finished = wait_finished("fleeting");
    assert_eq!(finished["status"]["succeeded"].as_i64(), Some(1), "{:#}", finished["status"]);
    kubectl(&["delete", "imagebatch/fleeting", "configmap/fleeting"]);
}
