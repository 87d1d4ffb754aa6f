//! Two controllers: one works and the other stands by, and takes over when the first one ends, is killed, or is
//! cut off from the API server. `FAILOVERS=20` repeats the first two; times go to `target/bench/failover.jsonl`.

mod holders;
mod proxy;
mod replica;

use std::io::Write;
use std::sync::Arc;

use futures::StreamExt;
use imagebatch::api::stage::Stage;
use imagebatch::api::status::ImageBatchStatus;
use imagebatch::controller::{self, error::ReconcileError};
use imagebatch::records::request::Origin;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Harness, Running, condition};
use holders::Holders;
use proxy::Proxy;
use replica::{Replica, Term};

impl Harness {
    /// Creates a batch of one image and waits until a controller has made its Job.
    async fn begin(&self, name: &str) {
        let url = self.origin.url("wall-clock.jpg");
        let product = json!({ "serialNumber": "1", "name": "Clock", "imageUrls": [url] });
        self.create(name, &json!({ "source": { "products": [product] } }).to_string()).await;
        self.wait_job(name, Stage::Run).await;
    }

    /// Runs its pod, and waits until a controller has seen the end.
    async fn finish(&self, name: &str) {
        self.run_job(name, Stage::Run).await;
        let finished = self.wait_finished(name).await;
        assert_eq!(condition(&finished, "Succeeded"), "True/Completed");
    }
}

#[tokio::test]
async fn a_standby_takes_over_from_a_leader_that_ends_or_is_killed() {
    let repeat: usize = std::env::var("FAILOVERS").map_or(1, |it| it.parse().expect("FAILOVERS is a number"));
    let harness = Harness::start().await;
    let holders = Holders::watch(&harness);
    let mut terms = Vec::new();
    let mut expected = Vec::new();
    let mut lines = Vec::new();
    let mut leader = Replica::start(&harness, "controller-0", None);
    leader.until_leading().await;
    for round in 0..2 * repeat {
        let standby = Replica::start(&harness, &format!("controller-{}", round + 1), None);
        standby.until_ready().await;
        assert_eq!((leader.leads_by_metrics().await, standby.leads_by_metrics().await), (true, false));
        let half_way = format!("half-way-{round}");
        harness.begin(&half_way).await;

        let signal = if round % 2 == 0 { Signal::TERM } else { Signal::KILL };
        let sent = Timestamp::now();
        leader.process.send(signal);
        let status = leader.process.ended().await;
        let ended = Timestamp::now();
        // Not before it has ended, so that it is the standby that meets it.
        let new = format!("new-{round}");
        harness.begin(&new).await;
        let reconciled = Timestamp::now();
        let started = standby.until_leading().await;
        let milliseconds = |until: Timestamp| until.duration_since(sent).as_millis() as i64;
        lines.push(json!({
            "cluster": "none", "signal": if signal == Signal::TERM { "SIGTERM" } else { "SIGKILL" },
            "leadingMs": milliseconds(started), "reconciledMs": milliseconds(reconciled),
        }));
        harness.finish(&half_way).await;
        harness.finish(&new).await;

        expected.push(Some(leader.name.clone()));
        if signal == Signal::TERM {
            assert!(status.success(), "{status}");
            assert!(leader.stopped().is_some(), "it says so");
            expected.push(None);
        }
        terms.push(leader.term(ended));
        leader = standby;
    }
    expected.push(Some(leader.name.clone()));
    holders.until(&expected).await;
    terms.push(leader.term(Timestamp::MAX));
    assert_disjoint(&terms);
    report(&lines);
}

#[tokio::test]
async fn a_leader_that_is_cut_off_stops_before_the_standby_starts() {
    let harness = Harness::start().await;
    let proxy = Proxy::start(&harness).await;
    let mut leader = Replica::start(&harness, "cut-off", Some(&proxy.kubeconfig));
    leader.until_leading().await;
    let standby = Replica::start(&harness, "standby", None);
    standby.until_ready().await;
    harness.begin("batch").await;

    let cut = Timestamp::now();
    proxy.cut();
    let status = leader.process.ended().await;
    assert_eq!(status.code(), Some(1), "it is to be started again");
    let stopped = leader.stopped().expect("it says so");
    let started = standby.until_leading().await;
    assert_disjoint(&[leader.term(stopped), standby.term(Timestamp::MAX)]);
    harness.finish("batch").await;
    let milliseconds = |until: Timestamp| until.duration_since(cut).as_millis() as i64;
    report(&[json!({
        "cluster": "none", "cutOff": true, "stoppedMs": milliseconds(stopped), "leadingMs": milliseconds(started),
    })]);
}

/// A request may arrive long after its sender has stopped.
#[tokio::test]
async fn what_an_earlier_leader_writes_late_changes_nothing() {
    let harness = Harness::start().await;
    let running = harness.controller().await;
    harness.begin("batch").await;
    let early = harness.wait("batch", "seen", |it| it.status.is_some()).await;
    let early_status = early.status.clone().expect("a status");
    harness.finish("batch").await;
    drop(running);
    // As it stood when the earlier leader looked.
    let context = Arc::new(harness.controller_context().await);
    let _jobs = Running(tokio::spawn(controller::jobs::watch(&context).for_each(|_| std::future::ready(()))));
    let error = controller::reconcile(Arc::new(early.clone()), Arc::clone(&context)).await.expect_err("it is outdated");
    assert!(matches!(&error, ReconcileError::Outdated(_)), "{error:?}");
    let batch = harness.batches().get("batch").await.expect("the batch exists");
    assert!(batch.status.as_ref().is_some_and(ImageBatchStatus::is_finished), "{:?}", batch.status);

    let uid = early.uid().expect("a uid");
    harness.records.mirror_status(&uid, &Origin::of(&early), &early_status).await.expect("MongoDB answers");
    let mirrored = harness.records.request(&uid).await.expect("MongoDB answers").and_then(|it| it.status);
    assert!(mirrored.expect("a status").contains_key("completionTime"));

    // What it says of a batch that has changed, and is not finished, comes again.
    harness.create("other", "source: {configMapKeyRef: {name: none, key: none}}").await;
    let _controller = harness.controller().await;
    let waiting = harness.wait("other", "seen", |it| it.status.is_some()).await;
    let parallelism = Patch::Merge(json!({ "spec": { "parallelism": 3 } }));
    harness.batches().patch("other", &PatchParams::default(), &parallelism).await.expect("it may change");
    let generation = waiting.metadata.generation.map(|it| it + 1);
    let is_seen = |it: &ImageBatchStatus| it.observed_generation == generation;
    harness.wait("other", "seen again", |it| it.status.as_ref().is_some_and(is_seen)).await;
}

/// Asserts that no two worked at the same time.
fn assert_disjoint(terms: &[Term]) {
    for pair in terms.windows(2) {
        assert!(pair[0].until <= pair[1].from, "two were active: {pair:#?}");
    }
}

/// Prints the times, and adds them to `target/bench/failover.jsonl`; of many also how they are spread.
fn report(lines: &[Value]) {
    let mut lines = lines.to_vec();
    for signal in ["SIGTERM", "SIGKILL"] {
        let mut times: Vec<i64> =
            lines.iter().filter(|it| it["signal"] == signal).filter_map(|it| it["reconciledMs"].as_i64()).collect();
        times.sort_unstable();
        let (Some(max), true) = (times.last(), times.len() > 1) else { continue };
        let percentile = |it: usize| times[(times.len() * it).div_ceil(100) - 1];
        lines.push(json!({
            "cluster": "none", "allOf": signal, "count": times.len(),
            "reconciledMs": { "p50": percentile(50), "p99": percentile(99), "max": max },
        }));
    }
    std::fs::create_dir_all("target/bench").expect("it can be made");
    let file = std::fs::File::options().create(true).append(true).open("target/bench/failover.jsonl");
    let mut file = file.expect("it can be opened");
    for line in lines {
        eprintln!("{line}");
        writeln!(file, "{line}").expect("it can be written");
    }
}
