//! `doctor` where nothing is installed, and where pods that nobody runs stand for an installation.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::run;
use crate::harness::Harness;

/// Returns a check's verdict and the rest of it.
fn check<'a>(found: &'a Value, name: &str) -> (&'a str, &'a Value) {
    let checks = found["checks"].as_array().expect("checks");
    let found = checks.iter().find(|it| it["check"] == name).unwrap_or_else(|| panic!("no check {name}: {checks:?}"));
    (found["verdict"].as_str().expect("a verdict"), found)
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_remedy() {
    let harness = Harness::start().await;
    let printed = run(&harness, &["doctor", "-o", "json"]).await.expect(3);
    let found = printed.json();
    for name in ["cluster", "definition", "rights", "batches"] {
        assert_eq!(check(&found, name).0, "Ok", "{found}");
    }
    let (verdict, namespace) = check(&found, "namespace");
    assert!(verdict == "Fault" && namespace["fix"].as_str().is_some_and(|it| it.contains("namespaces")), "{namespace}");
    let text = run(&harness, &["doctor"]).await.expect(3).stdout;
    assert!(text.contains("ok       cluster     Kubernetes v1.") && text.contains("fault    namespace"), "{text}");

    let unreachable = run(&harness, &["doctor", "--kubeconfig", "/nowhere"]).await.expect(1);
    assert!(unreachable.stderr.contains("failed to read the kubeconfig /nowhere"), "{}", unreachable.stderr);
}

#[tokio::test]
async fn an_installation_is_found_by_the_charts_labels() {
    let harness = Harness::start().await;
    let namespace = &harness.namespace;
    let (client, params) = (&harness.client, PostParams::default());
    let mut account = ServiceAccount::default();
    account.metadata.name = Some("imagebatch-worker".to_owned());
    Api::namespaced(client.clone(), namespace).create(&params, &account).await.expect("it is new");
    for (component, ready) in [("controller", 2), ("gateway", 1)] {
        let labels = json!({ "app.kubernetes.io/name": "imagebatch", "app.kubernetes.io/component": component });
        let template =
            json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "a", "image": "a" }] } });
        let spec = json!({ "replicas": 2, "selector": { "matchLabels": labels }, "template": template });
        let object = json!({ "metadata": { "name": component, "labels": labels }, "spec": spec });
        let deployment: Deployment = serde_json::from_value(object).expect("a Deployment");
        let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        api.create(&params, &deployment).await.expect("it is new");
        let status = Patch::Merge(json!({ "status": { "replicas": 2, "readyReplicas": ready } }));
        api.patch_status(component, &PatchParams::default(), &status).await.expect("it can be patched");
    }
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "gateway-1",
            "labels": { "app.kubernetes.io/name": "imagebatch", "app.kubernetes.io/component": "gateway" },
        },
        "spec": {
            "nodeName": "nowhere",
            "containers": [{
                "name": "gateway",
                "image": "a",
                "env": [{ "name": "IMAGEBATCH_AUTHENTICATION", "value": "none" }, { "name": "IMAGEBATCH_NAMESPACES", "value": namespace }],
                "ports": [{ "name": "http", "containerPort": 8080 }, { "name": "ops", "containerPort": 8081 }],
            }],
        },
    }))
    .expect("a Pod");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    pods.create(&params, &pod).await.expect("it is new");
    let not_ready = run(&harness, &["list", "--all"]).await.expect(1);
    assert!(not_ready.stderr.contains("none of the gateway's 1 pods"), "{}", not_ready.stderr);
    let status = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    pods.patch_status("gateway-1", &PatchParams::default(), &Patch::Merge(status)).await.expect("it can be patched");

    let found = run(&harness, &["doctor", "-o", "json"]).await.expect(3).json();
    assert_eq!(check(&found, "namespace").0, "Ok", "{found}");
    assert_eq!(check(&found, "controller").0, "Ok", "{found}");
    let (verdict, gateway) = check(&found, "gateway");
    assert!(
        verdict == "Warning" && gateway["detail"].as_str().is_some_and(|it| it.starts_with("1 of 2 pods")),
        "{gateway}"
    );
    // No node is there that would forward a port.
    assert_eq!(check(&found, "storage").0, "Unknown", "{found}");
    let (verdict, access) = check(&found, "access");
    assert!(
        verdict == "Fault" && access["detail"].as_str().is_some_and(|it| it.contains("failed to forward port 8080")),
        "{access}"
    );
}
