//! To be told of a batch's changes: the ETag, `Prefer: wait`, and server-sent events.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use reqwest::{Method, Response};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::client::{Asker, CSV, Wire, json, problem};
use crate::harness::process::Gateway;
use crate::harness::{Harness, PATIENCE};

/// Makes a batch's status what a controller would write.
async fn set(harness: &Harness, id: &str, reason: &str, succeeded: i64, finished: bool) {
    let condition = |type_: &str, status: &str| json!({ "type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let mut conditions = vec![condition("Succeeded", if finished { "True" } else { "Unknown" })];
    conditions.extend(finished.then(|| condition("Finished", "True")));
    let patch = json!({ "status": { "conditions": conditions, "succeeded": succeeded } });
    harness.batches().patch_status(id, &PatchParams::default(), &Patch::Merge(patch)).await.expect("a status");
}

/// Reads events as they come.
struct Events {
    response: Response,
    text: String,
}

#[derive(Debug, Default)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

impl Events {
    async fn open(gateway: &Asker, path: &str, seen: Option<&str>) -> Self {
        let mut request = gateway.request(Method::GET, path);
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let response = request.send().await.expect("the gateway answers");
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// Returns the next event, or none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (mut event, after) = (Event::default(), rest.to_owned());
                for line in block.lines() {
                    match line.split_once(": ").or_else(|| line.split_once(':')) {
                        Some(("event", kind)) => kind.clone_into(&mut event.kind),
                        Some(("id", id)) => id.clone_into(&mut event.id),
                        Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
                        _ => {}
                    }
                }
                self.text = after;
                if !event.kind.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("an event comes");
            let chunk = chunk.expect("the connection stands")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }
}

#[tokio::test]
async fn events_tell_every_state_until_the_end() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let id = gateway.submit(CSV).await;
    let path = format!("/v1/batches/{id}/events");
    let mut events = Events::open(&gateway, &path, None).await;
    let first = events.next().await.expect("the state now");
    assert_eq!((first.kind.as_str(), &first.data["status"]), ("status", &json!("Pending")));
    assert_eq!(first.data, json(gateway.get(&format!("/v1/batches/{id}")).await).await);

    set(&harness, &id, "Running", 1, false).await;
    let second = events.next().await.expect("the change");
    assert_eq!((second.kind.as_str(), &second.data["status"]), ("status", &json!("Running")));
    // Who comes again is not told once more what was seen.
    let mut resumed = Events::open(&gateway, &path, Some(&second.id)).await;
    let mut restarted = Events::open(&gateway, &format!("{path}?lastEventId={}", first.id), None).await;
    assert_eq!(restarted.next().await.expect("the state now").id, second.id);

    set(&harness, &id, "Completed", 3, true).await;
    let mut last = String::new();
    for events in [&mut events, &mut resumed, &mut restarted] {
        let event = events.next().await.expect("the end");
        assert_eq!((event.kind.as_str(), &event.data["succeeded"]), ("finished", &json!(3)), "{event:?}");
        assert!(events.next().await.is_none(), "the stream ends");
        last = event.id;
    }
    let mut late = Events::open(&gateway, &path, Some(&first.id)).await;
    assert_eq!(late.next().await.expect("the end").id, last);
    let over = gateway.request(Method::GET, &path).header("last-event-id", &last);
    assert_eq!(over.send().await.expect("the gateway answers").status(), 204);
}

#[tokio::test]
async fn events_of_a_batch_that_goes_end_with_it() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let batch = harness.create("short", "source: {configMapKeyRef: {name: none, key: csv}}").await;
    let mut events = Events::open(&gateway, "/v1/batches/short/events", None).await;
    events.next().await.expect("the state now");
    harness.delete(&batch).await;
    let event = events.next().await.expect("the end");
    assert_eq!((event.kind.as_str(), &event.data["id"]), ("deleted", &json!("short")));
    assert!(events.next().await.is_none(), "the stream ends");
    problem(gateway.get("/v1/batches/short/events").await, 404, "BatchNotFound").await;
    problem(gateway.get("/v1/batches/short/events?since=1").await, 400, "InvalidParameter").await;
}

#[tokio::test]
async fn event_streams_are_bounded() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let path = format!("/v1/batches/{}/events", gateway.submit(CSV).await);
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(Events::open(&gateway, &path, None).await);
    }
    let refused = gateway.get(&path).await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503, "TooManyStreams").await;
    // A preference is passed over where it cannot be met.
    let status = gateway.request(Method::GET, path.trim_end_matches("/events")).header("prefer", "wait=30");
    let status = status.send().await.expect("the gateway answers");
    assert_eq!((status.status().as_u16(), status.headers().get("preference-applied")), (200, None));
    streams.clear();
    let again = async {
        while gateway.get(&path).await.status() == 503 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("a place becomes free");
}

#[tokio::test]
async fn a_status_has_an_etag_and_can_be_waited_for() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let id = gateway.submit(CSV).await;
    let path = format!("/v1/batches/{id}");
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = gateway.request(Method::GET, &path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("the gateway answers")
    };
    let etag = |response: &Response| response.headers()["etag"].to_str().expect("text").to_owned();
    let pending = etag(&ask(&[]).await);
    let same = ask(&[("if-none-match", &format!("\"other\", W/{pending}"))]).await;
    assert_eq!((same.status().as_u16(), etag(&same)), (304, pending.clone()));
    assert_eq!(same.text().await.expect("no body"), "");
    let waited = ask(&[("if-none-match", &pending), ("prefer", "respond-async, wait=1")]).await;
    assert_eq!(
        (waited.status().as_u16(), &waited.headers()["preference-applied"]),
        (304, &"wait=1".parse().expect("text"))
    );

    let headers = [("if-none-match", pending.as_str()), ("prefer", "wait=30")];
    let (changed, ()) = tokio::join!(ask(&headers), set(&harness, &id, "Running", 1, false));
    assert_eq!(changed.status(), 200);
    let running = etag(&changed);
    assert_ne!(running, pending);
    assert_eq!(json(changed).await["status"], "Running");
    let headers = [("prefer", "wait=600")];
    let (finished, ()) = tokio::join!(ask(&headers), set(&harness, &id, "Completed", 3, true));
    assert_eq!(finished.headers()["preference-applied"], "wait=30");
    assert_eq!(json(finished).await["finished"], true);
}

#[tokio::test]
async fn a_gateway_that_ends_finishes_uploads_and_ends_streams() {
    let harness = Harness::start().await;
    let mut process = Gateway::start(&harness, &[]).await;
    let gateway = Asker::new(&process.url);
    let id = gateway.submit(CSV).await;
    let mut events = Events::open(&gateway, &format!("/v1/batches/{id}/events"), None).await;
    events.next().await.expect("the state now");
    let waiting = gateway.request(Method::GET, &format!("/v1/batches/{id}")).header("prefer", "wait=30").send();
    let waiting = tokio::spawn(waiting);
    let framing = format!("content-length: {}", CSV.len());
    let mut upload = Wire::upload(&process.url, &framing, "text/csv").await;
    let (first, last) = CSV.as_bytes().split_at(20);
    upload.send(first).await;

    process.process.send(Signal::TERM);
    assert!(events.next().await.is_none(), "the stream ends");
    let waited = waiting.await.expect("a task").expect("the gateway answers");
    assert_eq!(json(waited).await["status"], "Pending");
    upload.send(last).await;
    assert_eq!(upload.answer().await.status, 202);
    assert!(process.process.ended().await.success());
}
