//! `GET /v1/batches/{id}/products`: every row with what became of its images, also while they wait.

use std::fmt::Write;

use imagebatch::api::stage::Stage;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Asker, json, problem};
use crate::harness::Harness;

/// Returns all rows, page by page.
async fn rows(gateway: &Asker, id: &str, query: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = json(gateway.get(&format!("/v1/batches/{id}/products?{query}{cursor}")).await).await;
        rows.extend(page["products"].as_array().unwrap_or_else(|| panic!("{page:#}")).clone());
        let Some(next) = page["nextCursor"].as_str() else { return rows };
        cursor = format!("&cursor={next}");
    }
}

fn outcomes(row: &Value) -> Vec<&str> {
    row["images"].as_array().into_iter().flatten().filter_map(|it| it["outcome"].as_str()).collect()
}

#[tokio::test]
async fn rows_say_what_became_of_their_images() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let csv = format!(
        "S. No.,Product Name,Shelf,Input Image Urls\nA-1,Clock,7,{}\nA-2,Page,8,\"{}, {}\"\n",
        harness.origin.url("wall-clock.jpg"),
        harness.origin.url("page.jpg"),
        harness.origin.url("fig-bowl-cutout.png"),
    );
    let id = gateway.submit(&csv).await;
    assert_eq!(rows(&gateway, &id, "").await, [""; 0], "nothing is known yet");
    harness.run_job(&id, Stage::Run).await;
    harness.wait_finished(&id).await;

    let found = rows(&gateway, &id, "limit=1").await;
    assert_eq!(found, rows(&gateway, &id, "").await);
    let [clock, page] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(
        (&clock["row"], &clock["serialNumber"], &clock["name"], &clock["extra"]),
        (&json!(1), &json!("A-1"), &json!("Clock"), &json!([{ "column": "Shelf", "value": "7" }]))
    );
    assert_eq!((outcomes(clock), outcomes(page)), (vec!["Compressed"], vec!["Failed", "Compressed"]), "{found:#?}");
    let (image, failed) = (&clock["images"][0], &page["images"][0]);
    assert_eq!((&image["position"], &image["inputUrl"]), (&json!(1), &json!(harness.origin.url("wall-clock.jpg"))));
    assert!(image["bytesOut"].as_i64() < image["bytesIn"].as_i64() && image["bytesOut"] != 0, "{image:#}");
    assert_eq!(failed["reason"], "NotAnImage", "{failed:#}");
    let stored = gateway.get(&format!("/images/{}", image["key"].as_str().expect("a key"))).await;
    assert_eq!(stored.content_length(), image["bytesOut"].as_u64());

    assert_eq!(rows(&gateway, &id, "outcome=Failed").await, found[1..]);
    assert_eq!(rows(&gateway, &id, "outcome=Compressed&limit=1").await, found);
    assert_eq!(rows(&gateway, &id, "outcome=Pending").await, [""; 0]);
    for query in ["limit=0", "limit=501", "cursor=1", "cursor=-1.2", "outcome=failed", "row=1"] {
        let refused = gateway.get(&format!("/v1/batches/{id}/products?{query}")).await;
        problem(refused, 400, "InvalidParameter").await;
    }
    problem(gateway.get("/v1/batches/none/products").await, 404, "BatchNotFound").await;
    let head = gateway.request(Method::HEAD, &format!("/v1/batches/{id}/products")).send().await.expect("an answer");
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn rows_of_many_shards_wait_in_order() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let mut csv = "S. No.,Product Name,Input Image Urls\n".to_owned();
    for row in 1..=310 {
        writeln!(csv, "{row},Postcard,{}", harness.origin.url(&format!("mountain-thumb.jpg?{row}"))).expect("it grows");
    }
    let id = gateway.submit(&csv).await;
    harness.run_job(&id, Stage::Ingest).await;
    for query in ["limit=7", "limit=500", "outcome=Pending&limit=40"] {
        let found = rows(&gateway, &id, query).await;
        let numbers: Vec<i64> = found.iter().filter_map(|it| it["row"].as_i64()).collect();
        assert_eq!(numbers, (1..=310).collect::<Vec<_>>(), "{query}");
        assert!(found.iter().all(|it| outcomes(it) == ["Pending"]), "{query}");
    }
    assert_eq!(rows(&gateway, &id, "outcome=Failed").await, [""; 0]);
}
