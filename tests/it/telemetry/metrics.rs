//! Metrics: what is served is what `docs/metrics.md` lists, and counts what happened, also after a restart.

use std::collections::{BTreeMap, BTreeSet};

use imagebatch::api::stage::Stage;
use serde_json::json;

use super::{csv, until};
use crate::harness::process::{Gateway, OPS_LISTEN, Process, free_address};
use crate::harness::{Harness, condition};
use crate::intake::{answer, post};
use crate::webhook::{OLD, create_secret, receiver};

/// Type and labels of each metric by its name.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

/// An answer of /metrics.
struct Scrape {
    families: Families,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Returns the value of a sample, as it stands in the text.
    fn value(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("no {sample} among {:#?}", self.samples))
    }
}

async fn scrape(url: &str) -> Option<Scrape> {
    let response = reqwest::get(format!("{url}/metrics")).await.ok()?;
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Some(parse(&response.text().await.expect("text")))
}

/// Reads an answer as far as it is written here.
fn parse(text: &str) -> Scrape {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut types = BTreeMap::new();
    let mut families = Families::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(of_type) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of_type.split_once(' ').expect("a type");
            assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{name} comes twice");
        }
        if line.starts_with('#') {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let suffixes = ["_total", "_info", "_bucket", "_sum", "_count", ""];
        let mut bare = suffixes.into_iter().filter_map(|suffix| name.strip_suffix(suffix));
        let bare = bare.find(|it| types.contains_key(*it)).unwrap_or_else(|| panic!("{name} has no type"));
        let kind = types[bare].clone();
        let listed = if kind == "histogram" { bare } else { name };
        // Values here have no commas and no quotes.
        let labels = labels.trim_end_matches('}').split(',').filter_map(|it| Some(it.split_once('=')?.0.to_owned()));
        let family = families.entry(listed.to_owned()).or_insert((kind, BTreeSet::new()));
        family.1.extend(labels.filter(|it| it != "le"));
        samples.insert(sample.to_owned(), value.parse().expect("a number"));
    }
    Scrape { families, samples }
}

/// Returns what the page lists in these sections.
fn documented(sections: [&str; 2]) -> Families {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).expect("the page");
    let of_section = |section: &str| {
        let text = page.split(&format!("\n## {section}\n")).nth(1).expect("the section").to_owned();
        text.split("\n## ").next().expect("text").to_owned()
    };
    let rows = sections.map(of_section).concat();
    let rows = rows.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let bare = |cell: &str| cell.trim_matches('`').to_owned();
        let labels = cells[2].split(", ").filter(|it| !it.is_empty()).map(bare).collect();
        (bare(cells[0]), (cells[1].to_owned(), labels))
    })
    .collect()
}

#[tokio::test]
async fn what_is_served_is_what_the_page_lists_and_what_happened() {
    let harness = Harness::start().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (hook, _, _receiver) = receiver(&[204]).await;
    let gateway = Gateway::start(&harness, &[]).await;
    let ops = [free_address(), free_address()].map(|it| it.to_string());
    let rules = ("IMAGEBATCH_FAILPOINTS", "status.patch.before=error*1");
    let cap = ("IMAGEBATCH_MAX_ACTIVE_BATCHES", "1");
    let mut controller = Process::controller(&harness, &[(OPS_LISTEN, &ops[0]), rules, cap]);

    let accepted = csv(&harness, &["wall-clock.jpg", "page.jpg"]);
    let (status, body) = answer(post(&gateway.url, &format!("?webhook={hook}")).body(accepted.clone())).await;
    assert_eq!(status, 202, "{body}");
    let id = body["id"].as_str().expect("an id");
    let refused = "S. No.,Product Name,Input Image Urls\n1,Clock,\n2,Clock,\n";
    assert_eq!(answer(post(&gateway.url, "").body(refused)).await.0, 422);
    harness.wait_job(id, Stage::Run).await;
    let product = json!({ "serialNumber": "1", "name": "Clock", "imageUrls": [harness.origin.url("wall-clock.jpg")] });
    harness.create("second", &json!({ "source": { "products": [product] } }).to_string()).await;
    let first = format!("http://{}", ops[0]);
    let waiting = "imagebatch_waiting_batches";
    let queued = "imagebatch_batches{state=\"Queued\"}";
    let waits = async || scrape(&first).await.filter(|it| it.samples.get(queued) == Some(&1.0));
    let waits = until("the second batch waits", waits).await;
    assert!((waits.value(waiting) - 1.0).abs() < 0.5, "{:#?}", waits.samples);
    assert!(waits.value("imagebatch_oldest_waiting_batch_age_seconds") >= 0.0);
    assert!(waits.value("imagebatch_batches{state=\"Pending\"}") > 0.0);

    harness.run_job(id, Stage::Run).await;
    let batch = harness.wait(id, "told", |it| condition(it, "WebhookDelivered").starts_with("True")).await;
    let status = batch.status.expect("a status");
    let finished = "imagebatch_finished_batches_total{reason=\"ImagesFailed\"}";
    let jobs = "imagebatch_job_creation_latency_seconds_count";
    let ended = async || {
        let is = |it: &Scrape, sample, value: f64| it.samples.get(sample) == Some(&value);
        scrape(&first).await.filter(|it| is(it, finished, 1.0) && is(it, jobs, 2.0) && is(it, waiting, 0.0))
    };
    let scraped = until("the end is counted, and the second batch has a Job", ended).await;
    assert_eq!(scraped.families, documented(["Every process", "Controller"]));
    let images = |outcome: &str| scraped.value(&format!("imagebatch_images_total{{outcome=\"{outcome}\"}}"));
    for (sample, expected) in [
        (images("Compressed") + images("KeptOriginal"), status.succeeded),
        (images("KeptOriginal"), status.kept_original),
        (images("Failed"), 1),
        (scraped.value("imagebatch_image_input_bytes_total"), status.bytes_in),
        (scraped.value("imagebatch_image_output_bytes_total"), status.bytes_out),
        (scraped.value("imagebatch_batches{state=\"ImagesFailed\"}"), 1),
        (scraped.value("imagebatch_oldest_waiting_batch_age_seconds"), 0),
        (scraped.value("imagebatch_batch_duration_seconds_count"), 1),
        (scraped.value("imagebatch_webhook_attempts_total{result=\"Delivered\"}"), 1),
        (scraped.value("imagebatch_webhook_duration_seconds_count"), 1),
        (scraped.value("imagebatch_reconcile_errors_total{kind=\"ApiServer\"}"), 1),
        // Here it works without asking anybody; tests of the leader look at one that does.
        (scraped.value("imagebatch_leader"), 0),
    ] {
        assert!((sample - expected as f64).abs() < 0.5, "{sample} is not {expected}: {:#?}", scraped.samples);
    }
    assert!(status.bytes_in > status.bytes_out && status.bytes_out > 0);

    // Another controller knows the batches that are there, and takes what happened as counted.
    controller.kill();
    let _controller = Process::controller(&harness, &[(OPS_LISTEN, &ops[1])]);
    let second = format!("http://{}", ops[1]);
    let state = "imagebatch_batches{state=\"ImagesFailed\"}";
    let knows = async || scrape(&second).await.filter(|it| it.samples.get(state) == Some(&1.0));
    let scraped = until("the next controller knows the batch", knows).await;
    assert!(!scraped.samples.contains_key(finished));
    assert!(scraped.value("imagebatch_images_total{outcome=\"Failed\"}") < 0.5);

    assert_eq!(answer(post(&format!("{}/none", gateway.url), "")).await.0, 404);
    let scraped = scrape(&gateway.ops_url).await.expect("the gateway answers");
    assert_eq!(scraped.families, documented(["Every process", "Gateway"]));
    let request = |status: &str| {
        format!("imagebatch_http_requests_total{{route=\"/v1/batches\",method=\"POST\",status=\"{status}\"}}")
    };
    for (sample, expected) in [
        (scraped.value(&request("202")), 1),
        (scraped.value(&request("422")), 1),
        (scraped.value("imagebatch_http_requests_total{route=\"none\",method=\"POST\",status=\"404\"}"), 1),
        (scraped.value("imagebatch_upload_bytes_total"), (accepted.len() + refused.len()) as i64),
        (scraped.value("imagebatch_upload_problems_total{code=\"MissingImageUrl\"}"), 2),
        (scraped.value("imagebatch_uploads_in_flight"), 0),
        // The one that asks.
        (scraped.value("imagebatch_http_requests_in_flight"), 1),
    ] {
        assert!((sample - expected as f64).abs() < 0.5, "{sample} is not {expected}: {:#?}", scraped.samples);
    }
    assert!(scraped.value("process_resident_memory_bytes") > 1e6 && scraped.value("process_open_fds") > 3.0);
}
