//! Queues of a real Kueue, which is installed for this test only.

use std::fmt::Write;
use std::process::Command;

use serde_json::Value;

use crate::cluster::{get, kubectl, names, origin, try_kubectl, wait_finished, wait_until};

/// It shows queues with room for one pod of a worker, which asks for 100m.
const PAGE: &str = include_str!("../../docs/queueing.md");

fn queues() -> &'static str {
    let block = PAGE.split("```").find_map(|it| it.strip_prefix("yaml tested-by=tests/e2e/kueue.rs"));
    block.expect("docs/queueing.md has the queues")
}

/// Kueue in the cluster, until it is dropped.
struct Kueue;

impl Kueue {
    async fn install() -> Self {
        let installed = Self;
        run("up");
        // Its webhooks are reached a moment after it is ready.
        wait_until("queues", || try_kubectl(&["apply", "-f", "-"], queues()).is_ok()).await;
        installed
    }
}

impl Drop for Kueue {
    fn drop(&mut self) {
        run("down");
    }
}

fn run(command: &str) {
    let status = Command::new("tests/cluster/kueue").arg(command).status().expect("the script is there");
    assert!(status.success() || std::thread::panicking(), "tests/cluster/kueue {command}: {status}");
}

/// Creates a batch with images of its own, in the queue.
fn create(name: &str, images: usize) {
    let urls: Vec<String> = (0..images).map(|index| origin(&format!("dandelion-16mp.jpg?{name}-{index}"))).collect();
    let spec = serde_json::json!({
        "queueName": "shop",
        "deletionPolicy": "Delete",
        "source": { "products": [{ "serialNumber": "1", "name": "Postcard", "imageUrls": urls }] },
    });
    apply(name, &spec);
}

fn apply(name: &str, spec: &Value) {
    let batch = serde_json::json!({
        "apiVersion": "imagebatch.io/v1alpha1", "kind": "ImageBatch", "metadata": { "name": name }, "spec": spec,
    });
    try_kubectl(&["apply", "-f", "-"], &batch.to_string()).expect("the ImageBatch is accepted");
}

/// Returns the state in a word, and what it waits for.
fn state(name: &str) -> (String, String) {
    let batch = get("imagebatch", name);
    let conditions = batch["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|it| it["type"] == "Succeeded");
    let text = |field: &str| found.and_then(|it| it[field].as_str()).unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

fn running_pods(name: &str) -> usize {
    let selector = format!("imagebatch.io/batch-name={name}");
    let running = ["get", "pods", "--selector", &selector, "--field-selector=status.phase=Running", "--output=name"];
    kubectl(&running).lines().count()
}

/// Returns whether the Workload of a batch's Job may be admitted.
fn is_active(batch: &str) -> bool {
    let uid = get("job", &format!("{batch}-run"))["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let selector = format!("--selector=kueue.x-k8s.io/job-uid={uid}");
    kubectl(&["get", "workloads.kueue.x-k8s.io", &selector, "--output=jsonpath={.items[0].spec.active}"]) == "true"
}

fn suspend(name: &str, suspended: bool) {
    let patch = serde_json::json!({ "spec": { "suspend": suspended } }).to_string();
    kubectl(&["patch", "imagebatch", name, "--type=merge", "--patch", &patch]);
}

#[tokio::test]
async fn batches_take_turns_in_a_queue_with_room_for_one() {
    let _kueue = Kueue::install().await;
    create("in-front", 15);
    wait_until("the first batch to run", || running_pods("in-front") == 1).await;
    create("behind", 1);
    wait_until("the second batch to be told that there is no room", || {
        let (reason, message) = state("behind");
        reason == "Queued" && message.contains("insufficient unused quota for cpu")
    })
    .await;
    assert_eq!(names("pods", "imagebatch.io/batch-name=behind"), [""; 0]);

    // The first one makes room.
    suspend("in-front", true);
    wait_until("the Workload to be switched off", || !is_active("in-front")).await;
    let second = wait_finished("behind");
    assert_eq!(second["status"]["succeeded"], 1, "{second:#}");
    assert_eq!(state("in-front").0, "Suspended");
    assert_eq!(running_pods("in-front"), 0);
    suspend("in-front", false);
    wait_until("the Workload to be switched on", || is_active("in-front")).await;

    // Asks for three pods, and begins with the one that there is room for, once the first batch is done.
    let mut csv = "S. No.,Product Name,Input Image Urls\n".to_owned();
    for row in 1..=310 {
        let url = origin(&format!("forest-stream.jpg?{row:064}"));
        writeln!(csv, "{row},Postcard {row},{url}").expect("a String grows");
    }
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "postcards" }, "data": { "products.csv": csv },
    });
    try_kubectl(&["apply", "-f", "-"], &map.to_string()).expect("the ConfigMap is accepted");
    let spec = serde_json::json!({
        "queueName": "shop", "parallelism": 3, "minParallelism": 1, "deletionPolicy": "Delete",
        "source": { "configMapKeyRef": { "name": "postcards", "key": "products.csv" } },
    });
    apply("wide", &spec);
    assert_eq!(wait_finished("in-front")["status"]["succeeded"], 15);
    wait_until("a pod that compresses", || {
        !names("pods", "imagebatch.io/batch-name=wide,imagebatch.io/stage=compress").is_empty()
    })
    .await;
    let job = get("job", "wide-compress");
    assert_eq!((&job["spec"]["parallelism"], &job["spec"]["suspend"]), (&1.into(), &false.into()), "{job:#}");
    assert_eq!(get("imagebatch", "wide")["spec"]["parallelism"], 3);
    kubectl(&["delete", "imagebatch", "in-front", "behind", "wide"]);
    kubectl(&["delete", "configmap", "postcards"]);
}
