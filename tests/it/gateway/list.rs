//! `GET /v1/batches`: running batches from the watch, older ones from the records, in one order.

use std::collections::HashSet;

use imagebatch::api::stage::Stage;
use imagebatch::records::result::{IngestResult, ReportResult};
use kube::ResourceExt;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Asker, CSV, json, problem};
use crate::harness::{Harness, PATIENCE};

const PRODUCTS: &str = r#"
source:
  products:
  - {serialNumber: "1", name: Bowl, imageUrls: ["https://shop.example/1.jpg"]}
"#;

async fn ids(gateway: &Asker, query: &str) -> Vec<String> {
    let page = json(gateway.get(&format!("/v1/batches{query}")).await).await;
    let batches = page["batches"].as_array().unwrap_or_else(|| panic!("{page:#}"));
    batches.iter().map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
}

/// Asks until the list is as expected.
async fn until(gateway: &Asker, query: &str, expected: &[&str]) {
    let expected: HashSet<&str> = expected.iter().copied().collect();
    let asked = async {
        loop {
            let found = ids(gateway, query).await;
            if found.len() == expected.len() && found.iter().all(|it| expected.contains(it.as_str())) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, asked).await.is_ok();
    assert!(in_time, "{query} lists {:?} and not {expected:?}", ids(gateway, query).await);
}

#[tokio::test]
async fn running_and_past_batches_are_one_list() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    assert_eq!(json(gateway.get("/v1/batches").await).await, json!({ "batches": [] }));

    let _controller = harness.controller().await;
    let past = harness.create("past", PRODUCTS).await;
    let uid = past.uid().expect("a uid");
    let job = harness.wait_job("past", Stage::Run).await;
    let ingest = IngestResult { accepted: true, rows: 1, images: 1, shards: 1, ..IngestResult::default() };
    harness.records.insert_ingest(&uid, &ingest).await.expect("MongoDB answers");
    harness
        .records
        .insert_report(&uid, &ReportResult { rows: 1, ..ReportResult::default() })
        .await
        .expect("it answers");
    harness.end_job(&job, "Complete", None).await;
    let finished = harness.wait_finished("past").await;
    let _collector = harness.collect_jobs();
    harness.delete(&finished).await;

    let named = gateway.upload("?displayName=Spring%20(50%25)", "text/csv", CSV).await;
    let named = json(named).await["id"].as_str().expect("an id").to_owned();
    let other = gateway.submit(CSV).await;
    until(&gateway, "", &["past", &named, &other]).await;

    // The youngest first, whatever they come from, page by page.
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = json(gateway.get(&format!("/v1/batches?limit=1{cursor}")).await).await;
        pages.extend(page["batches"].as_array().expect("a list").clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let found: HashSet<&str> = pages.iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!((pages.len(), found.len()), (3, 3), "{pages:#?}");
    let times: Vec<&str> = pages.iter().filter_map(|it| it["createdTime"].as_str()).collect();
    assert!(times.len() == 3 && times.is_sorted_by(|one, next| one >= next), "{times:?}");
    let whole = ids(&gateway, "").await;
    assert_eq!(whole, pages.iter().filter_map(|it| it["id"].as_str()).collect::<Vec<_>>());
    let last = pages.iter().find(|it| it["id"] == "past").expect("it is listed");
    assert_eq!((&last["finished"], &last["images"]), (&json!(true), &json!(1)), "{last:#}");

    until(&gateway, "?finished=true", &["past"]).await;
    until(&gateway, "?finished=false", &[&named, &other]).await;
    let state = last["status"].as_str().expect("a word");
    until(&gateway, &format!("?state={state},Nothing"), &["past"]).await;
    until(&gateway, "?name=pAS", &["past"]).await;
    until(&gateway, "?name=spring%20(5", &[&named]).await;
    until(&gateway, "?name=.%2A", &[]).await;
    until(&gateway, "?createdSince=2000-01-01T00:00:00Z", &["past", &named, &other]).await;
    until(&gateway, "?createdSince=2999-01-01T00:00:00Z", &[]).await;
}

#[tokio::test]
async fn a_wrong_query_is_refused() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let queries = [
        "limit=0",
        "limit=201",
        "cursor=1",
        "cursor=x.y",
        "cursor=99999999999999999.a",
        "state=",
        "state=a,,b",
        "finished=maybe",
        "name=",
        "createdSince=yesterday",
        "colour=1",
        "limit=1&limit=2",
    ];
    for query in queries {
        let refused = problem(gateway.get(&format!("/v1/batches?{query}")).await, 400, "InvalidParameter").await;
        assert_eq!(refused["errors"].as_array().map(Vec::len), Some(1), "{query}: {refused:#}");
    }
    problem(gateway.get("/v1/batches?namespace=elsewhere").await, 404, "NamespaceNotEnabled").await;
    let method = gateway.request(Method::PATCH, "/v1/batches").send().await.expect("the gateway answers");
    let allowed = method.headers()["allow"].to_str().expect("text");
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    problem(method, 405, "MethodNotAllowed").await;
}

#[tokio::test]
async fn a_batch_is_deleted_once() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let id = gateway.submit(CSV).await;
    let path = format!("/v1/batches/{id}");
    let response = gateway.request(Method::DELETE, &path).send().await.expect("the gateway answers");
    assert_eq!(response.status(), 202);
    let answer = json(response).await;
    assert_eq!((&answer["id"], &answer["deletionPolicy"]), (&json!(id), &json!("Retain")), "{answer:#}");
    assert!(harness.batches().get_opt(&id).await.expect("the API server answers").is_none());
    let again = gateway.request(Method::DELETE, &path).send().await.expect("the gateway answers");
    problem(again, 404, "BatchNotFound").await;
    let other = gateway.request(Method::DELETE, "/v1/batches/none").send().await.expect("the gateway answers");
    problem(other, 404, "BatchNotFound").await;
    let remembered: Value = json(gateway.get(&path).await).await;
    assert_eq!(remembered["id"], id.as_str());
}
