//! What happens to a batch: processes end, stores stand still or go, the node is drained, the kubelet stops.
//! Each waits until pods of the batch run, so that none of it comes too late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{get, kubectl, try_kubectl, wait_until};
use crate::node::{Container, act, container, node};

/// Kills of one index.
const MOST_KILLS: usize = 4;

pub(crate) struct Trouble<'a> {
    batch: &'a str,
    start: Instant,
    /// Images that get an outcome between two kills, and how many had one at the last.
    apart: i64,
    done: i64,
    /// Containers that were killed already, by the index of the Job that they were for.
    killed: BTreeMap<String, BTreeSet<String>>,
    compressors_killed: usize,
    controllers_killed: usize,
    drained: usize,
    kubelet_stops: usize,
    paused: Vec<String>,
    stopped: Vec<String>,
    disk_full: usize,
}

impl<'a> Trouble<'a> {
    pub(crate) fn new(batch: &'a str, start: Instant, apart: i64) -> Self {
        Self {
            batch,
            start,
            apart,
            done: 0,
            killed: BTreeMap::new(),
            compressors_killed: 0,
            controllers_killed: 0,
            drained: 0,
            kubelet_stops: 0,
            paused: Vec::new(),
            stopped: Vec::new(),
            disk_full: 0,
        }
    }

    pub(crate) fn controllers_killed(&self) -> usize {
        self.controllers_killed
    }

    pub(crate) fn counts(&self) -> Value {
        json!({
            "compressorsKilled": self.compressors_killed,
            "controllersKilled": self.controllers_killed,
            "podsEvicted": self.drained,
            "kubeletStops": self.kubelet_stops,
            "storesPaused": self.paused,
            "storesStopped": self.stopped,
            "disksFull": self.disk_full,
        })
    }

    /// Kills a compressor that works on images, by SIGKILL.
    pub(crate) async fn kill_compressor(&mut self) {
        self.progress().await;
        self.say("a compressor is killed");
        loop {
            let victim = self.running().await;
            // One that has ended in the meantime was not killed.
            if self.kill(victim) {
                break;
            }
        }
    }

    /// Kills the controller that leads, by SIGKILL. A new pod takes its place at once; its own would wait longer and
    /// longer before it starts again.
    pub(crate) async fn kill_controller(&mut self) {
        let mut leader = None;
        wait_until("a controller that leads", || {
            let lease = get("lease", "imagebatch-controller");
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            let name = holder.split('_').next().unwrap_or_default();
            // The one that was killed last may hold it still.
            let pod = try_kubectl(
                &["get", "pods", "--field-selector", &format!("metadata.name={name}"), "--output=json"],
                "",
            );
            let pod: Value = serde_json::from_str(&pod.unwrap_or_default()).unwrap_or_default();
            leader = container(&pod["items"][0]).map(|it| (name.to_owned(), it.id));
            leader.is_some()
        })
        .await;
        let Some((name, id)) = leader else { return };
        self.say("the controller is killed");
        self.controllers_killed += usize::from(act(&["task", "kill", &id]));
        let _ = try_kubectl(&["delete", "pod", &name, "--grace-period=0", "--force", "--wait=false"], "");
    }

    /// Evicts the batch's pods, as a drain of the node does.
    pub(crate) async fn drain(&mut self) {
        self.say("the node is drained of the batch's pods");
        self.running().await;
        self.drained += self.containers().len();
        let node = node();
        let selector = format!("--pod-selector=imagebatch.io/batch-name={}", self.batch);
        kubectl(&["drain", &node, &selector, "--force", "--timeout=120s"]);
        kubectl(&["uncordon", &node]);
    }

    /// Stops the kubelet, and kills a compressor by the runtime while nobody looks after it.
    pub(crate) async fn stop_kubelet(&mut self, time: Duration) {
        self.say("the kubelet is stopped");
        let victim = self.running().await;
        assert!(act(&["kubelet", "stop"]), "the kubelet stops");
        self.kill(victim);
        tokio::time::sleep(time).await;
        assert!(act(&["kubelet", "start"]), "the kubelet starts");
        self.kubelet_stops += 1;
        kubectl(&["wait", "--for=condition=Ready", "node", &node(), "--timeout=120s"]);
        self.stores_answer();
    }

    /// Lets a store's processes stand still: connections stay, and nobody answers.
    pub(crate) async fn pause(&mut self, store: &str, time: Duration) {
        self.say(&format!("{store} stands still"));
        self.running().await;
        let pod = get("pod", &format!("imagebatch-{store}-0"));
        let Container { id, .. } = container(&pod).expect("the store runs");
        assert!(act(&["task", "pause", &id]), "{store} can be paused");
        // Liveness probes would end it after 55 s.
        tokio::time::sleep(time.min(Duration::from_secs(40))).await;
        assert!(act(&["task", "resume", &id]), "{store} can be resumed");
        self.paused.push(store.to_owned());
        self.stores_answer();
    }

    /// Takes a store away: its pod ends, and its Service leads nowhere.
    pub(crate) async fn stop_store(&mut self, store: &str, time: Duration) {
        self.say(&format!("{store} goes away"));
        self.running().await;
        let name = format!("statefulset/imagebatch-{store}");
        kubectl(&["scale", &name, "--replicas=0"]);
        let pod = format!("pod/imagebatch-{store}-0");
        kubectl(&["wait", "--for=delete", &pod, "--timeout=120s"]);
        tokio::time::sleep(time).await;
        kubectl(&["scale", &name, "--replicas=1"]);
        self.stopped.push(store.to_owned());
        self.stores_answer();
    }

    /// Lets the storage server find its disk full, which it asks for no more free space than it wants:
    /// it restarts, serves what it has, and refuses to write.
    pub(crate) async fn fill_disk(&mut self, time: Duration) {
        self.say("the disk of s3 is full");
        self.running().await;
        let stateful_set = get("statefulset", "imagebatch-s3");
        let args = &stateful_set["spec"]["template"]["spec"]["containers"][0]["args"];
        let mut full = args.as_array().expect("arguments").clone();
        full.push("-volume.minFreeSpace=1000000GiB".into());
        for (args, time) in [(json!(full), time), (args.clone(), Duration::ZERO)] {
            let place = "/spec/template/spec/containers/0/args";
            let patch = json!([{ "op": "replace", "path": place, "value": args }]).to_string();
            kubectl(&["patch", "statefulset", "imagebatch-s3", "--type=json", "--patch", &patch]);
            kubectl(&["rollout", "status", "statefulset/imagebatch-s3", "--timeout=180s"]);
            tokio::time::sleep(time).await;
        }
        self.disk_full += 1;
        self.stopped.push("s3".to_owned());
        self.stores_answer();
    }

    /// Counts the faults that the failpoints of the batch's pods injected, as far as their logs are left.
    pub(crate) fn injected(&self) -> Value {
        let selector = format!("--selector=imagebatch.io/batch-name={}", self.batch);
        let logs = kubectl(&["logs", &selector, "--tail=-1", "--max-log-requests=2000", "--ignore-errors"]);
        let count = |name: &str| {
            let point = format!("\"failpoint\":\"{name}");
            logs.lines().filter(|it| it.contains("\"injected\"") && it.contains(&point)).count()
        };
        json!({
            "s3Before": count("storage.request.before"),
            "s3Done": count("storage.request.after"),
            "mongodbBefore": count("mongodb.command.before"),
            "mongodbDone": count("mongodb.command.after"),
        })
    }

    /// Returns how many pods of the batch there are, those included that ended.
    pub(crate) fn pods(&self) -> usize {
        crate::cluster::names("pods", &format!("imagebatch.io/batch-name={}", self.batch)).len()
    }

    fn kill(&mut self, Container { id, index }: Container) -> bool {
        let is_killed = act(&["task", "kill", &id]);
        self.killed.entry(index).or_default().insert(id);
        self.compressors_killed += usize::from(is_killed);
        is_killed
    }

    /// Waits for a compressor of the batch that works, was not killed yet, and is for an index that may
    /// still fail: after seven times it is given up.
    async fn running(&self) -> Container {
        let mut found = None;
        wait_until("a running compressor", || {
            let mut containers = self.containers();
            let killed =
                |it: &Container| self.killed.get(&it.index).map_or((false, 0), |all| (all.contains(&it.id), all.len()));
            containers.retain(|it| !killed(it).0 && killed(it).1 < MOST_KILLS);
            fastrand::shuffle(&mut containers);
            found = containers.pop();
            let ended = found.is_none() && get("imagebatch", self.batch)["status"]["completionTime"].is_string();
            assert!(!ended, "the batch ended before all faults had come; it needs more images");
            found.is_some()
        })
        .await;
        found.expect("a container")
    }

    /// Returns the containers of the batch that work on images.
    fn containers(&self) -> Vec<Container> {
        let selector = format!("imagebatch.io/batch-name={},imagebatch.io/stage=compress", self.batch);
        let pods = ["get", "pods", "--selector", &selector, "--field-selector=status.phase=Running"];
        let pods = kubectl(&[&pods[..], &["--output=json"]].concat());
        let pods: Value = serde_json::from_str(&pods).expect("JSON");
        pods["items"].as_array().expect("pods").iter().filter_map(container).collect()
    }

    /// Waits until the batch is so many images further than at the last kill.
    async fn progress(&mut self) {
        let (batch, expected) = (self.batch, self.done + self.apart);
        let mut done = 0;
        wait_until("progress of the batch", || {
            let status = get("imagebatch", batch)["status"].clone();
            done = status["succeeded"].as_i64().unwrap_or_default() + status["failed"].as_i64().unwrap_or_default();
            done >= expected || status["completionTime"].is_string()
        })
        .await;
        self.done = done;
    }

    fn stores_answer(&self) {
        for store in ["s3", "mongodb"] {
            kubectl(&["rollout", "status", &format!("statefulset/imagebatch-{store}"), "--timeout=180s"]);
        }
        self.say("the stores answer");
    }

    fn say(&self, what: &str) {
        eprintln!("{:5.0} s: {what}", self.start.elapsed().as_secs_f64());
    }
}
