//! ImageBatches that the cluster itself does not admit: a full quota, a policy.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::client::{Asker, CSV, json, problem};
use super::surroundings::until;
use crate::harness::Harness;

#[tokio::test]
async fn a_full_quota_is_quoted_and_leaves_nothing() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let upload = async |key: &'static str| {
        let request = gateway.request(Method::POST, "/v1/batches").header("content-type", "text/csv");
        request.header("idempotency-key", key).body(CSV).send().await.expect("the gateway answers")
    };
    let first = json(upload("first").await).await["id"].clone();
    let kept = harness.objects().await.len();
    let quotas = harness.forbid("few", "imagebatches.imagebatch.io").await;
    // Until the API server's admission has seen the quota, others are accepted.
    until("the quota holds", async || upload("second").await.status() == StatusCode::TOO_MANY_REQUESTS).await;
    let refused = upload("third").await;
    assert_eq!(refused.headers()["retry-after"], "30");
    let refused = problem(refused, 429, "TooManyBatches").await;
    let detail = refused["detail"].as_str().expect("text");
    assert!(detail.contains("exceeded quota: few") && detail.contains("limited: count/imagebatches"), "{detail}");
    let batches = harness.batches().list(&ListParams::default()).await.expect("a list").items.len();
    assert_eq!(harness.objects().await.len(), kept + batches - 1, "what is refused leaves nothing");
    let repeated = upload("first").await;
    assert_eq!(repeated.status(), StatusCode::ACCEPTED, "a repeat adds nothing");
    assert_eq!(json(repeated).await["id"], first);

    quotas.delete("few", &DeleteParams::default()).await.expect("it goes");
    until("there is room again", async || upload("third").await.status() == StatusCode::ACCEPTED).await;
}

#[tokio::test]
async fn a_policy_of_the_cluster_is_quoted() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let name = &harness.namespace;
    let policy = json!({
        "metadata": { "name": name },
        "spec": {
            "matchConstraints": { "resourceRules": [{
                "apiGroups": ["imagebatch.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["imagebatches"],
            }] },
            // Such as policy engines answer: without a reason it would be 422.
            "validations": [{ "expression": "false", "message": "not in the sales week", "reason": "Forbidden" }],
        },
    });
    let binding = json!({
        "metadata": { "name": name },
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } },
        },
    });
    let policies = Api::<ValidatingAdmissionPolicy>::all(harness.client.clone());
    let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(harness.client.clone());
    let policy = serde_json::from_value(policy).expect("a policy");
    policies.create(&PostParams::default(), &policy).await.expect("the policy is new");
    let binding = serde_json::from_value(binding).expect("a binding");
    bindings.create(&PostParams::default(), &binding).await.expect("the binding is new");
    until("the policy holds", async || gateway.upload("", "text/csv", CSV).await.status() == 422).await;
    let refused = problem(gateway.upload("", "text/csv", CSV).await, 422, "InvalidBatch").await;
    assert!(refused["detail"].as_str().is_some_and(|it| it.contains("not in the sales week")), "{refused:#}");
    bindings.delete(name, &DeleteParams::default()).await.expect("it goes");
    policies.delete(name, &DeleteParams::default()).await.expect("it goes");
}
