//! The compressor's stages, killed and failed at each of their points.

use std::fmt::Write;

use axum::Router;
use axum::routing::get;
use imagebatch::api::source::Source;
use imagebatch::manifest::outcome::ImageOutcome;

use super::{ACTIONS, RULES, SEEN, Seen, points};
use crate::compressor::Batch;
use crate::harness::{Harness, PATIENCE, Running};

/// Enough for points that are met once a row to be met by each process of the test.
const ROWS: usize = 75;

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

/// What fails below the clients' own retries is of no consequence above them.
#[tokio::test]
async fn stores_that_fail_now_and_then_cost_no_image_and_no_process() {
    let harness = Harness::start().await;
    let (source, _source) = source(&harness).await;
    let seen = Seen::new("stores");
    let (calm, troubled) = (Batch::new(&harness, source.clone()), Batch::new(&harness, source));
    calm.succeed(&["run"]).await;
    let each =
        ["storage.request", "mongodb.command"].map(|it| format!("{it}.before=5%error+5%timeout;{it}.after=5%error"));
    let variables = [(RULES.to_owned(), each.join(";")), (SEEN.to_owned(), seen.path().to_owned())];
    let ended = tokio::time::timeout(PATIENCE, troubled.start_with(&["run"], variables).wait()).await;
    assert!(ended.expect("the stages end").expect("they can be waited for").success());
    for name in ["storage.request", "mongodb.command"] {
        let (began, done) = (seen.count(&format!("{name}.before")), seen.count(&format!("{name}.after")));
        assert!(began > done, "none of {began} calls of {name} failed");
    }
    assert_eq!(ending(&troubled, 3).await, ending(&calm, 3).await);
}
