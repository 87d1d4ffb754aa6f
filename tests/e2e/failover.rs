//! The leader's pod is deleted, and the next one's container is killed, while a batch runs: each time the
//! standby takes over. Times go to `target/bench/failover.jsonl`. `tests/it/leader.rs` has more, without pods.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::{get, kubectl, many, origin, try_kubectl, upload_accepted, variable, wait_finished, wait_until};

const LEASE: &str = "imagebatch-controller";
const STARTS: &str = "leading: work starts";
const STOPPED: &str = "work has stopped";

#[tokio::test]
async fn the_standby_takes_over_and_the_batch_ends() {
    kubectl(&["rollout", "status", "deployment/imagebatch-controller", "--timeout=120s"]);
    let id = upload_accepted(many(60, 4), "").await;
    let (first, process) = leader().await;

    let log = Log::follow(&first);
    let sent = Timestamp::now();
    kubectl(&["delete", "pod", &first, "--wait=false"]);
    let second = next_leader(&process, "SIGTERM", sent).await;
    let stopped = log.at(STOPPED).await;
    assert!(stopped <= second.since, "{first} stopped at {stopped}, and {second:?} started");

    // By the runtime: a forced deletion says SIGTERM first.
    let pod = get("pod", &second.pod);
    let container = pod["status"]["containerStatuses"][0]["containerID"].as_str().expect("an id");
    let container = container.rsplit('/').next().expect("an id");
    let sent = Timestamp::now();
    if std::env::var("CLUSTER").is_ok_and(|it| it == "current") {
        eprintln!("the nodes of CLUSTER=current are not ours: its containers are not killed");
    } else {
        let killed = Command::new("tests/cluster/cluster").args(["task", "kill", container]).status();
        assert!(killed.expect("the script starts").success(), "the container can be killed");
        let dead = Timestamp::now();
        let third = next_leader(&second.process, "SIGKILL", sent).await;
        assert!(dead <= third.since, "{second:?} was alive until {dead}, and {third:?} started");
    }
    let batch = wait_finished(&id);
    assert_eq!((&batch["status"]["succeeded"], &batch["status"]["failed"]), (&json!(240), &json!(0)));
    kubectl(&["delete", "imagebatch", &id]);
    kubectl(&["rollout", "status", "deployment/imagebatch-controller", "--timeout=120s"]);
}

#[derive(Debug)]
struct Leader {
    pod: String,
    process: String,
    since: Timestamp,
}

/// Returns the leader's pod, and the name of its process.
async fn leader() -> (String, String) {
    let mut process = None;
    wait_until("a leader", || {
        process = holder();
        process.is_some()
    })
    .await;
    let process = process.expect("a leader");
    (process.split('_').next().expect("a pod's name").to_owned(), process)
}

fn holder() -> Option<String> {
    get("lease", LEASE)["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// Waits until another process leads and a batch that is created now has its Job.
async fn next_leader(before: &str, signal: &str, sent: Timestamp) -> Leader {
    wait_until("another leader", || holder().is_some_and(|it| it != before)).await;
    let (pod, process) = leader().await;
    let name = format!("after-{}", signal.to_lowercase());
    let spec = json!({ "source": { "products": [
        { "serialNumber": "1", "name": "Bridge", "imageUrls": [origin("forest-stream.jpg")] }] } });
    let batch = json!({ "apiVersion": "imagebatch.io/v1alpha1", "kind": "ImageBatch",
        "metadata": { "name": name }, "spec": spec });
    try_kubectl(&["apply", "-f", "-"], &batch.to_string()).expect("the ImageBatch is accepted");
    wait_until("its Job", || try_kubectl(&["get", "job", &format!("{name}-run")], "").is_ok()).await;
    let reconciled = Timestamp::now();
    let mut since = None;
    wait_until("what the leader says", || {
        since = try_kubectl(&["logs", &pod], "").ok().and_then(|log| said(&log, STARTS));
        since.is_some()
    })
    .await;
    let since = since.expect("a time");
    let milliseconds = |until: Timestamp| until.duration_since(sent).as_millis() as i64;
    report(&json!({ "cluster": variable("DEMO_NAMESPACE"), "signal": signal,
        "leadingMs": milliseconds(since), "reconciledMs": milliseconds(reconciled) }));
    wait_finished(&name);
    kubectl(&["delete", "imagebatch", &name]);
    Leader { pod, process, since }
}

/// Returns when a message was logged first.
fn said(log: &str, message: &str) -> Option<Timestamp> {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["message"] == message)?;
    Some(line["timestamp"].as_str().expect("a time").parse().expect("a time"))
}

/// The log of a pod that goes away.
struct Log {
    process: Child,
    path: std::path::PathBuf,
}

impl Log {
    fn follow(pod: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{pod}.log"));
        let process = Command::new("kubectl")
            .args(["--namespace", &variable("DEMO_NAMESPACE"), "logs", "--follow", pod])
            .stdout(std::fs::File::create(&path).expect("it can be made"))
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl is in the path");
        Self { process, path }
    }

    async fn at(&self, message: &str) -> Timestamp {
        let mut found = None;
        wait_until(message, || {
            found = said(&std::fs::read_to_string(&self.path).expect("it can be read"), message);
            found.is_some()
        })
        .await;
        found.expect("a time")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn report(line: &Value) {
    eprintln!("{line}");
    std::fs::create_dir_all("target/bench").expect("it can be made");
    let file = std::fs::File::options().create(true).append(true).open("target/bench/failover.jsonl");
    writeln!(file.expect("it can be opened"), "{line}").expect("it can be written");
}
