//! What an installation and a batch may say of the worker pods, judged by the API server's own admission.

use imagebatch::api::stage::Stage;
use imagebatch::controller::worker_pod::WorkerPod;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodTemplateSpec};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::Harness;

const PRODUCTS: &str = r#"
source:
  products:
  - {serialNumber: "1", name: Bowl, imageUrls: ["https://shop.example/1.jpg"]}
"#;

/// Everything that can be said.
fn everything() -> Value {
    json!({
        "resources": {
            "requests": { "cpu": 0.5, "memory": "256Mi" },
            "limits": { "cpu": 2, "memory": "1Gi", "ephemeral-storage": "1Gi" },
        },
        "extraEnv": [
            { "name": "TZ", "value": "Europe/Berlin" },
            { "name": "NODE_NAME", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
        ],
        "podLabels": { "team": "media" },
        "podAnnotations": { "example.com/note": "yes" },
        "nodeSelector": { "kubernetes.io/arch": "amd64" },
        "tolerations": [{ "key": "batch", "operator": "Exists", "effect": "NoSchedule" }],
        "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 1,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": { "matchLabels": { "team": "media" } },
            },
        }] } },
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
        }],
        "priorityClassName": "",
        "runtimeClassName": "",
    })
}

async fn template(harness: &Harness, batch: &str) -> PodTemplateSpec {
    harness.wait_job(batch, Stage::Run).await.spec.expect("a spec").template
}

/// Lets the API server admit the pod under Pod Security `restricted`.
async fn admit(harness: &Harness, template: &PodTemplateSpec) -> Result<Pod, String> {
    let namespaces: Api<Namespace> = Api::all(harness.client.clone());
    let restricted = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    namespaces.patch(&harness.namespace, &PatchParams::default(), &Patch::Merge(restricted)).await.expect("a label");
    let mut metadata = template.metadata.clone().unwrap_or_default();
    metadata.name = Some("probe".to_owned());
    let pod = Pod { metadata, spec: template.spec.clone(), status: None };
    let pods: Api<Pod> = Api::namespaced(harness.client.clone(), &harness.namespace);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&dry_run, &pod).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn all_settings_of_the_worker_pods_reach_them_and_they_stay_restricted() {
    let harness = Harness::start().await;
    let _controller = harness.controller_with(&[("IMAGEBATCH_WORKER_POD", &everything().to_string())]).await;
    harness.create("dressed", PRODUCTS).await;
    let template = template(&harness, "dressed").await;
    let admitted = admit(&harness, &template).await.expect("the API server admits the pod");

    let metadata = admitted.metadata;
    assert_eq!(metadata.labels.as_ref().and_then(|it| it.get("team")).map(String::as_str), Some("media"));
    assert_eq!(metadata.annotations.expect("annotations")["example.com/note"], "yes");
    let spec = serde_json::to_value(admitted.spec.expect("a spec")).expect("JSON");
    let container = &spec["containers"][0];
    assert_eq!(
        container["resources"]["requests"],
        json!({ "cpu": "500m", "memory": "256Mi", "ephemeral-storage": "1Gi" })
    );
    assert_eq!(container["resources"]["limits"], json!({ "cpu": "2", "memory": "1Gi", "ephemeral-storage": "1Gi" }));
    let variables = container["env"].as_array().expect("variables");
    for name in ["TZ", "NODE_NAME", "IMAGEBATCH_STAGE_INPUT"] {
        assert!(variables.iter().any(|it| it["name"] == name), "no variable {name}");
    }
    let given = everything();
    assert_eq!(spec["nodeSelector"], given["nodeSelector"]);
    assert_eq!(spec["affinity"], given["affinity"]);
    assert_eq!(spec["tolerations"][0], given["tolerations"][0]);
    let uid = metadata.labels.expect("labels")["imagebatch.io/batch-uid"].clone();
    assert_eq!(
        spec["topologySpreadConstraints"][0]["labelSelector"],
        json!({ "matchLabels": { "imagebatch.io/batch-uid": uid } }),
        "without a selector, the batch's pods are spread"
    );
}

#[tokio::test]
async fn a_batch_names_its_own_priority_class() {
    let harness = Harness::start().await;
    let class = PriorityClass {
        metadata: kube::api::ObjectMeta { name: Some(harness.namespace.clone()), ..Default::default() },
        value: 1_000,
        ..PriorityClass::default()
    };
    let classes: Api<PriorityClass> = Api::all(harness.client.clone());
    classes.create(&PostParams::default(), &class).await.expect("a PriorityClass");
    let settings = json!({ "priorityClassName": harness.namespace });
    let _controller = harness.controller_with(&[("IMAGEBATCH_WORKER_POD", &settings.to_string())]).await;
    harness.create("ordinary", PRODUCTS).await;
    let ordinary = template(&harness, "ordinary").await;
    let admitted = admit(&harness, &ordinary).await.expect("the API server admits the pod");
    assert_eq!(admitted.spec.and_then(|it| it.priority), Some(1_000));

    harness.create("urgent", &format!("{PRODUCTS}priorityClassName: there-is-none\n")).await;
    let urgent = template(&harness, "urgent").await;
    let refused = admit(&harness, &urgent).await.expect_err("there is no such class");
    assert!(refused.contains("no PriorityClass with name there-is-none"), "{refused}");
    classes.delete(&harness.namespace, &kube::api::DeleteParams::default()).await.expect("it goes");
}

#[tokio::test]
async fn what_the_api_server_refuses_ends_the_controller_at_its_start() {
    let harness = Harness::start().await;
    harness.check_worker_pod(&[("IMAGEBATCH_WORKER_POD", &everything().to_string())]).await.expect("they are valid");
    for (settings, expected) in [
        (json!({ "tolerations": [{ "key": "batch", "operator": "Exsts" }] }), "tolerations[0].operator"),
        (json!({ "podLabels": { "team": "a b" } }), "labels"),
        (
            json!({ "resources": { "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } } }),
            "must be less than or equal to memory limit",
        ),
        (json!({ "resources": { "limits": { "memory": "lots" } } }), "quantities must match"),
    ] {
        let error = harness.check_worker_pod(&[("IMAGEBATCH_WORKER_POD", &settings.to_string())]).await;
        let error = error.expect_err(&settings.to_string());
        assert!(error.contains(expected) && error.contains("the chart's value worker"), "{settings}: {error}");
    }
}

#[test]
fn settings_that_would_be_ignored_or_weaken_the_pods_are_refused_by_name() {
    let accepted: WorkerPod = everything().to_string().parse().expect("they are accepted");
    assert_eq!(accepted.node_selector.len(), 1);
    for (settings, expected) in [
        (json!([]), "the list"),
        (json!({ "securityContext": { "runAsUser": 0 } }), "cannot be read"),
        (json!({ "volumes": [] }), "cannot be read"),
        (json!({ "tolerations": [{ "kee": "batch" }] }), "tolerations[0].kee is not known"),
        (json!({ "affinity": { "nodeAffinity": { "required": {} } } }), "affinity.nodeAffinity.required is not known"),
        (json!({ "resources": { "limits": { "cpu": 1 } } }), "resources.limits.memory is missing"),
        (json!({ "resources": { "limits": { "memory": "1Gi" }, "claims": [] } }), "cannot be read"),
        (json!({ "podLabels": { "imagebatch.io/batch-uid": "x" } }), "podLabels: imagebatch.io/batch-uid"),
        (json!({ "podLabels": { "job-name": "x" } }), "podLabels: job-name"),
        (json!({ "podLabels": { "kueue.x-k8s.io/queue-name": "x" } }), "podLabels: kueue.x-k8s.io/queue-name"),
        (
            json!({ "podAnnotations": { "container.apparmor.security.beta.kubernetes.io/compressor": "unconfined" } }),
            "podAnnotations: container.apparmor",
        ),
    ] {
        let error = settings.to_string().parse::<WorkerPod>().expect_err(&settings.to_string());
        assert!(error.to_string().contains(expected), "{settings}: {error}");
    }
}
