//! The store of logs: what the three roles said of a request is found there after their pods are gone.

use std::collections::BTreeSet;

use reqwest::{Certificate, Client};
use serde_json::Value;

use crate::cluster::{Forward, base64, get, kubectl, many, names, upload_as, variable, wait_finished, wait_until};

const ROLES: [&str; 3] = ["gateway", "controller", "compressor"];

/// The chart's store behind a port-forward.
struct LogStore {
    client: Client,
    url: String,
    password: String,
    _forward: Forward,
}

impl LogStore {
    async fn connect() -> Self {
        let forward = Forward::to(&variable("DEMO_NAMESPACE"), "imagebatch-logs", 9_428).await;
        let authorities = get("configmap", "imagebatch-ca");
        let authority = authorities["data"]["ca.crt"].as_str().expect("PEM");
        let authority = Certificate::from_pem(authority.as_bytes()).expect("a certificate");
        let client = Client::builder().add_root_certificate(authority).build().expect("a client");
        let secret = get("secret", "imagebatch-logs");
        let password = base64(secret["data"]["password"].as_str().expect("a password"));
        let password = String::from_utf8(password).expect("text");
        Self { client, url: format!("https://localhost:{}", forward.port), password, _forward: forward }
    }

    /// Returns what a role said of a request.
    async fn said(&self, role: &str, request: &str) -> BTreeSet<(String, String)> {
        let query = format!("request_id:={request} service.name:=imagebatch-{role}");
        let asked = self.client.post(format!("{}/select/logsql/query", self.url)).query(&[("query", &query)]);
        let answer = asked.basic_auth("imagebatch", Some(&self.password)).send().await.expect("the store answers");
        assert_eq!(answer.status(), 200);
        let lines = answer.text().await.expect("lines");
        lines.lines().map(|line| key(&serde_json::from_str(line).expect("JSON"), "_time", "_msg")).collect()
    }
}

/// Returns when a line was said, to the microsecond, and its message.
fn key(line: &Value, time: &str, message: &str) -> (String, String) {
    let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{name} is not in {line}")).to_owned();
    let time = text(time);
    let seconds = time.trim_end_matches('Z');
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    (format!("{seconds}.{fraction:0<6.6}"), text(message))
}

/// Returns the pods that speak of a batch: all of gateway and controller, and those that worked on it.
fn pods(role: &str, batch: &str) -> Vec<String> {
    if role == "compressor" {
        return names("pods", &format!("imagebatch.io/batch-name={batch}"));
    }
    names("pods", &format!("app.kubernetes.io/name=imagebatch,app.kubernetes.io/component={role}"))
}

/// Returns what pods have on their standard error of a request.
fn written(pods: &[String], request: &str) -> BTreeSet<(String, String)> {
    let logs: String = pods.iter().map(|pod| kubectl(&["logs", pod])).collect();
    let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|it| it["request_id"] == request).map(|it| key(&it, "timestamp", "message")).collect()
}

#[tokio::test]
async fn a_request_is_found_after_its_pods_are_gone() {
    let request = format!("find-me-{}", std::process::id());
    // Enough images that three Jobs work on them.
    let name = upload_as(&request, many(80, 4)).await;
    wait_finished(&name);
    let pods = ROLES.map(|role| pods(role, &name));
    let written = pods.each_ref().map(|pods| written(pods, &request));
    assert!(pods[2].len() >= 3 && written.iter().all(|it| !it.is_empty()), "{pods:?}: {written:#?}");

    kubectl(&["delete", "imagebatch", &name]);
    kubectl(&["rollout", "restart", "deployment/imagebatch-gateway", "deployment/imagebatch-controller"]);
    for deployment in ["gateway", "controller"] {
        kubectl(&["rollout", "status", &format!("deployment/imagebatch-{deployment}"), "--timeout=120s"]);
    }
    wait_until("the pods that spoke are gone", || {
        let left = kubectl(&["get", "pods", "--output=name"]);
        !pods.iter().flatten().any(|pod| left.lines().any(|it| it == pod))
    })
    .await;

    let store = LogStore::connect().await;
    for (role, written) in ROLES.iter().zip(&written) {
        let found = store.said(role, &request).await;
        let missing: Vec<_> = written.difference(&found).collect();
        assert!(missing.is_empty(), "{} of {} lines of the {role}: {missing:?}", missing.len(), written.len());
    }
}
