//! Every failpoint is reached, and what died or failed there is mended by whoever comes next: a batch
//! whose processes die and fail at each point, one after the other, ends like one without any fault.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use imagebatch::api::source::Source;
use imagebatch::api::stage::Stage;
use imagebatch::failpoint::NAMES;
use imagebatch::manifest::outcome::ImageOutcome;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::compressor::Batch;
use crate::harness::process::{Gateway, Process};
use crate::harness::{Harness, PATIENCE, Running, condition};
use crate::intake::{answer, post as upload};

const RULES: &str = "IMAGEBATCH_FAILPOINTS";
const SEEN: &str = "IMAGEBATCH_FAILPOINTS_SEEN";
/// Enough for points that are met once a row to be met by each process of the test.
const ROWS: usize = 75;

const ACTIONS: [&str; 2] = ["kill", "error"];

/// Both sides of each name from `first` to `last`.
fn points(first: &str, last: &str) -> impl Iterator<Item = String> {
    let place = |name: &str| NAMES.iter().position(|it| *it == name).expect("a failpoint's name");
    let names = &NAMES[place(first)..=place(last)];
    names.iter().flat_map(|name| ["before", "after"].map(|side| format!("{name}.{side}")))
}

/// Writes down which points the processes of a test reach.
struct Seen(PathBuf);

impl Seen {
    fn new(test: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("failpoints-{test}"));
        std::fs::write(&path, "").expect("it can be written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }

    fn count(&self, point: &str) -> usize {
        let seen = std::fs::read_to_string(&self.0).expect("it can be read");
        seen.lines().filter(|it| *it == point).count()
    }
}

#[test]
fn every_name_stands_once_in_the_source() {
    let mut found: BTreeMap<&str, usize> = NAMES.iter().map(|name| (*name, 0)).collect();
    let sources: Vec<String> = crate::layering::sources("").into_iter().map(|(.., text)| text).collect();
    for text in &sources {
        for (_, rest) in text.match_indices("failpoint::around(\"").map(|(at, start)| text.split_at(at + start.len())) {
            let name = rest.split('"').next().expect("a name");
            *found.get_mut(name).unwrap_or_else(|| panic!("{name} is not in failpoint::NAMES")) += 1;
        }
    }
    assert_eq!(found.iter().filter(|(_, count)| **count != 1).collect::<Vec<_>>(), []);
    assert!(2 * NAMES.len() >= 25, "two points a name");
}

/// A CSV of images at the origin, at a URL of its own.
async fn source(harness: &Harness) -> (Source, Running) {
    let mut csv = "S. No.,Product Name,Input Image Urls\n".to_owned();
    for row in 1..=ROWS {
        let path = if row % 10 == 0 { format!("nowhere.jpg?{row}") } else { format!("mountain-thumb.jpg?{row}") };
        writeln!(csv, "{row},Postcard {row},{}", harness.origin.url(&path)).expect("a String grows");
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/products.csv", listener.local_addr().expect("an address"));
    let router = Router::new().route("/products.csv", get(async move || csv));
    let serve = async move { axum::serve(listener, router).await.expect("the source is served") };
    (Source { url: Some(url), ..Source::default() }, Running(tokio::spawn(serve)))
}

/// Runs a stage that is to fail at each of these points, and then once without a fault.
async fn fail_at(points: impl Iterator<Item = String>, action: &str, batch: &Batch<'_>, stage: &[&str], seen: &Seen) {
    for point in points {
        let before = seen.count(&point);
        let variables = [
            (RULES.to_owned(), format!("{point}={action}*1")),
            (SEEN.to_owned(), seen.path().to_owned()),
            // One image at a time, so that many are left for those who come after.
            ("IMAGEBATCH_IMAGES_IN_FLIGHT".to_owned(), "1".to_owned()),
        ];
        let mut process = batch.start_with(stage, variables);
        let ended = tokio::time::timeout(PATIENCE, process.wait()).await.expect("the stage ends");
        assert!(seen.count(&point) > before, "{point} is not reached");
        assert!(!ended.expect("it can be waited for").success(), "{point}={action} has no effect");
    }
    batch.succeed(stage).await;
}

/// What a batch ended with, without what differs between two batches that are equal.
async fn ending(batch: &Batch<'_>, shards: u32) -> (String, String, Vec<(u64, Vec<ImageOutcome>)>, String) {
    let mut outcomes = Vec::new();
    for shard in 0..shards {
        for (row, mut outcome) in batch.outcomes(shard).await {
            for image in &mut outcome.images {
                image.duration_ms = 0;
                image.output_url = image.output_url.take().map(|it| it.replace(&batch.input.uid, "UID"));
            }
            outcomes.push((row, outcome.images));
        }
    }
    let neutral = |text: String| text.replace(&batch.input.uid, "UID");
    let results = format!("{:?}", batch.results().await);
    let (output, failed) = (batch.object("batch/output.csv").await, batch.object("batch/failed.csv").await);
    (neutral(output), neutral(failed), outcomes, neutral(results))
}

#[tokio::test]
async fn stages_that_die_or_fail_at_any_point_end_as_if_they_had_not() {
    let harness = Harness::start().await;
    let (source, _source) = source(&harness).await;
    let seen = Seen::new("stages");
    let calm = Batch::new(&harness, source.clone());
    calm.succeed(&["run"]).await;
    let settled = Batch::new(&harness, source.clone());
    settled.succeed(&["ingest"]).await;
    settled.succeed(&["report"]).await;
    for action in ACTIONS {
        let troubled = Batch::new(&harness, source.clone());
        fail_at(points("source.put", "report.insert"), action, &troubled, &["run"], &seen).await;
        assert_eq!(ending(&troubled, 3).await, ending(&calm, 3).await, "{action}");
        let objects = harness.objects().await;
        let of = |batch: &Batch<'_>| -> Vec<String> {
            let own = objects.iter().filter(|it| it.contains(&batch.input.uid));
            own.map(|it| it.replace(&batch.input.uid, "UID")).collect()
        };
        assert_eq!(of(&troubled), of(&calm), "{action}");

        // The same for a report that has to settle what nobody worked on.
        let troubled = Batch::new(&harness, source.clone());
        troubled.succeed(&["ingest"]).await;
        fail_at(points("settled.insert", "report.insert"), action, &troubled, &["report"], &seen).await;
        assert_eq!(ending(&troubled, 3).await, ending(&settled, 3).await, "{action}");
    }
}

#[tokio::test]
async fn an_upload_whose_gateway_dies_or_fails_at_any_point_is_one_batch() {
    let harness = Harness::start().await;
    let seen = Seen::new("gateway");
    let csv = "S. No.,Product Name,Input Image Urls\n1,Chair,https://shop.example/1.jpg\n";
    let faults: Vec<(String, &str)> = points("upload.put", "request.insert")
        .flat_map(|point| ACTIONS.map(|action| (point.clone(), action)))
        .collect();
    for (point, action) in &faults {
        let rules = format!("{point}={action}*1");
        let mut gateway = Gateway::start(&harness, &[(RULES, &rules), (SEEN, seen.path())]).await;
        let request = || upload(&gateway.url, "").header("idempotency-key", &rules).body(csv);
        let first = request().send().await;
        assert!(seen.count(point) > 0, "{point} is not reached");
        let survives = *action == "error" && !point.starts_with("upload.put");
        let status = first.ok().map(|it| it.status().as_u16());
        assert_eq!(status, if survives { Some(202) } else { (*action == "error").then_some(503) }, "{rules}");
        if *action == "kill" {
            gateway.kill();
            gateway = Gateway::start(&harness, &[]).await;
        }
        let (status, body) = answer(upload(&gateway.url, "").header("idempotency-key", &rules).body(csv)).await;
        assert_eq!(status, 202, "{body}");
    }
    let batches = harness.batches().list(&ListParams::default()).await.expect("a list").items;
    assert_eq!(batches.len(), faults.len());
    // Storage tells times in seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    harness.collect_uploads(Duration::ZERO).await;
    let mut claimed: Vec<String> =
        batches.iter().filter_map(|it| Some(it.spec.source.upload.as_ref()?.key.clone())).collect();
    claimed.sort();
    let objects = harness.objects().await;
    assert!(claimed.len() == objects.len() && claimed.iter().zip(&objects).all(|(key, it)| key.ends_with(it)));
}

/// Runs controllers one after the other, each of which dies or is killed at one of these points.
async fn controllers_end_at(points: impl Iterator<Item = String>, action: &str, harness: &Harness, seen: &Seen) {
    for point in points {
        let before = seen.count(&point);
        let rules = format!("{point}={action}*1");
        let mut controller = Process::controller(harness, &[(RULES, &rules), (SEEN, seen.path())]);
        let reached = async {
            while seen.count(&point) == before || (action == "kill" && !controller.has_ended()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{point} is not reached"));
    }
}

#[tokio::test]
async fn a_batch_whose_controllers_die_at_any_point_reaches_its_end_and_goes() {
    controllers("kill").await;
}

#[tokio::test]
async fn a_batch_whose_controllers_fail_at_any_point_reaches_its_end_and_goes() {
    controllers("error").await;
}

async fn controllers(action: &str) {
    let harness = Harness::start().await;
    let seen = Seen::new(&format!("controller-{action}"));
    let secret = json!({ "metadata": { "name": "imagebatch-webhook" }, "stringData": {
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } });
    let secret: Secret = serde_json::from_value(secret).expect("a Secret");
    let secrets = Api::<Secret>::namespaced(harness.client.clone(), &harness.namespace);
    secrets.create(&PostParams::default(), &secret).await.expect("the Secret is new");
    let (hook, ids, _receiver) = receiver().await;
    let (gateway, _gateway) = harness.gateway().await;
    let csv = format!("S. No.,Product Name,Input Image Urls\n1,Clock,{}\n", harness.origin.url("wall-clock.jpg"));
    let (_, body) = answer(upload(&gateway, &format!("?webhook={hook}")).body(csv)).await;
    let name = body["id"].as_str().expect("an id").to_owned();
    let policy = Patch::Merge(json!({ "spec": { "deletionPolicy": "Delete" } }));
    let batch = harness.batches().patch(&name, &PatchParams::default(), &policy).await.expect("it may change");
    let uid = batch.uid().expect("a uid");

    controllers_end_at(points("job.apply", "status.patch"), action, &harness, &seen).await;
    harness.run_job(&name, Stage::Run).await;
    controllers_end_at(points("progress.delete", "told.update"), action, &harness, &seen).await;
    let mut controller = Process::controller(&harness, &[]);
    let batch = harness.wait(&name, "told", |it| condition(it, "WebhookDelivered").starts_with("True")).await;
    controller.kill();
    assert_eq!((condition(&batch, "Succeeded"), condition(&batch, "Finished")), completed());
    let deliveries = harness.records.deliveries(&uid).await.expect("MongoDB answers");
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    let mut ids = ids.lock().expect("not poisoned").clone();
    ids.dedup();
    assert_eq!(ids, [format!("msg_{uid}")], "one event, however often it was sent");

    let _collector = harness.collect_jobs();
    let deleted = harness.batches().delete(&name, &kube::api::DeleteParams::default()).await;
    assert!(deleted.expect("it can be deleted").left().is_some_and(|it| it.meta().deletion_timestamp.is_some()));
    controllers_end_at(points("objects.delete", "batch.cleanup"), action, &harness, &seen).await;
    let _controller = Process::controller(&harness, &[]);
    let gone = await_condition(harness.batches(), &name, conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.expect("the batch goes").expect("the watch goes on");
    assert_eq!(harness.objects().await, [""; 0]);
    assert!(harness.records.request(&uid).await.expect("MongoDB answers").is_none());
}

fn completed() -> (String, String) {
    ("True/Completed".to_owned(), "True/Completed".to_owned())
}

/// A receiver of webhooks that notes their ids.
async fn receiver() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>, Running) {
    let ids = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let noted = std::sync::Arc::clone(&ids);
    let take = async move |headers: axum::http::HeaderMap, _: axum::Json<Value>| {
        let id = headers["webhook-id"].to_str().expect("text").to_owned();
        noted.lock().expect("not poisoned").push(id);
        StatusCode::NO_CONTENT
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let router = Router::new().route("/hook", post(take));
    let serve = async move { axum::serve(listener, router).await.expect("the receiver serves") };
    (url, ids, Running(tokio::spawn(serve)))
}

/// What fails below the clients' own retries is of no consequence above them.
#[tokio::test]
async fn stores_that_fail_now_and_then_cost_no_image_and_no_process() {
    let harness = Harness::start().await;
    let (source, _source) = source(&harness).await;
    let seen = Seen::new("stores");
    let (calm, troubled) = (Batch::new(&harness, source.clone()), Batch::new(&harness, source));
    calm.succeed(&["run"]).await;
    let each = ["s3.request", "mongodb.command"].map(|it| format!("{it}.before=5%error+5%timeout;{it}.after=5%error"));
    let variables = [(RULES.to_owned(), each.join(";")), (SEEN.to_owned(), seen.path().to_owned())];
    let ended = tokio::time::timeout(PATIENCE, troubled.start_with(&["run"], variables).wait()).await;
    assert!(ended.expect("the stages end").expect("they can be waited for").success());
    for name in ["s3.request", "mongodb.command"] {
        let (began, done) = (seen.count(&format!("{name}.before")), seen.count(&format!("{name}.after")));
        assert!(began > done, "none of {began} calls of {name} failed");
    }
    assert_eq!(ending(&troubled, 3).await, ending(&calm, 3).await);
}
