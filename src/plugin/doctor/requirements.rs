//! What a user needs of the cluster: an API server, the CustomResourceDefinition, rights, an enabled namespace; and
//! whether the batches that are there get on.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, PostParams};
use kube::{CustomResourceExt, ResourceExt};

use super::finding::Finding;
use crate::api::image_batch::ImageBatch;
use crate::api::labels::WORKER;
use crate::api::status::ImageBatchStatus;
use crate::plugin::cluster::{Cluster, bounded};
use crate::plugin::line::problems;

/// Oldest Kubernetes that the chart installs on.
const MIN_MINOR: u32 = 33;
/// Group, resource, verb, and what for.
const RIGHTS: [(&str, &str, &str, &str); 10] = [
    ("imagebatch.io", "imagebatches", "get", "status, watch"),
    ("imagebatch.io", "imagebatches", "list", "list, watch"),
    ("imagebatch.io", "imagebatches", "watch", "watch, submit --wait"),
    ("imagebatch.io", "imagebatches", "create", "submit, retry"),
    ("imagebatch.io", "imagebatches", "patch", "cancel"),
    ("", "configmaps", "create", "submit of small files"),
    ("", "configmaps", "patch", "submit of small files"),
    ("", "pods", "list", "logs"),
    ("", "pods/log", "get", "logs"),
    ("", "pods/portforward", "create", "output and large files, where the gateway is in this namespace"),
];
/// Batches with problems that are named.
const MAX_NAMED: usize = 5;
/// Batches that are looked at.
const MAX_LISTED: u32 = 500;

/// Checks that the API server answers, and its version.
pub(super) async fn api_server(cluster: &Cluster) -> Finding {
    let check = "cluster";
    match bounded("ask the API server for its version", cluster.client.apiserver_version()).await {
        Ok(version) => {
            let minor: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
            let detail = format!("Kubernetes {} at {}", version.git_version, cluster.config.cluster_url);
            if minor.parse::<u32>().is_ok_and(|it| it < MIN_MINOR) {
                return Finding::fault(check, detail, format!("ImageBatch needs Kubernetes 1.{MIN_MINOR} or later"));
            }
            Finding::ok(check, detail)
        }
        Err(error) => {
            let fix = "check the network and the kubeconfig: \"kubectl cluster-info\" must answer";
            Finding::fault(check, format!("{error:#}"), fix)
        }
    }
}

/// Checks that the cluster knows ImageBatches, and the same ones as this plugin.
pub(super) async fn definition(cluster: &Cluster) -> Finding {
    let check = "definition";
    let ours = ImageBatch::crd();
    let name = ours.name_any();
    let missing = || {
        let fix = "install the chart (docs: \"helm install imagebatch charts/imagebatch\"), with crds.enabled=true";
        Finding::fault(check, format!("there is no CustomResourceDefinition {name}"), fix)
    };
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let theirs = match bounded("get the CustomResourceDefinition", definitions.get_opt(&name)).await {
        Ok(Some(found)) => found,
        Ok(None) => return missing(),
        // Few users may read definitions; that the resource is served can be seen by listing it.
        Err(_) => {
            let listed = cluster.batches().list(&ListParams::default().limit(1)).await;
            return match listed {
                Err(kube::Error::Api(status)) if status.code == 404 => missing(),
                _ => Finding::unknown(
                    check,
                    "ImageBatch is served; you may not read its definition, so its version is not compared",
                ),
            };
        }
    };
    let version = &ours.spec.versions[0].name;
    let schema = |crd: &CustomResourceDefinition| {
        let found = crd.spec.versions.iter().find(|it| it.name == *version && it.served);
        found.map(|it| serde_json::to_value(&it.schema).unwrap_or_default())
    };
    match schema(&theirs) {
        None => Finding::fault(
            check,
            format!("the cluster does not serve ImageBatch {version}"),
            "upgrade the chart, or take the plugin of the chart's version",
        ),
        found if found != schema(&ours) => Finding::warning(
            check,
            format!("ImageBatch {version} of the cluster is not that of this plugin ({})", env!("CARGO_PKG_VERSION")),
            "upgrade whichever is older: the chart with its CustomResourceDefinition, or the plugin",
        ),
        _ => Finding::ok(check, format!("ImageBatch {version}, the same as this plugin's")),
    }
}

/// Checks what the user may do.
pub(super) async fn rights(cluster: &Cluster) -> Finding {
    let check = "rights";
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let mut missing = Vec::new();
    for (group, resource, verb, purpose) in RIGHTS {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = ResourceAttributes {
            namespace: Some(cluster.namespace.clone()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        match bounded("ask for your rights", reviews.create(&PostParams::default(), &review)).await {
            Ok(review) if review.status.as_ref().is_some_and(|it| it.allowed) => {}
            Ok(_) => {
                let slash = if subresource.is_empty() { "" } else { "/" };
                missing.push(format!("{verb} {resource}{slash}{subresource} (for {purpose})"));
            }
            Err(error) => return Finding::unknown(check, format!("{error:#}")),
        }
    }
    let namespace = &cluster.namespace;
    if missing.is_empty() {
        return Finding::ok(check, format!("you may do everything in namespace {namespace:?}"));
    }
    Finding::warning(
        check,
        format!("in namespace {namespace:?} you may not {}", missing.join(", ")),
        "have an administrator bind a Role with these verbs to you; docs/kubectl-plugin.md has one",
    )
}

/// Checks that batches can run in the namespace.
pub(super) async fn namespace(cluster: &Cluster) -> Finding {
    let (check, namespace) = ("namespace", &cluster.namespace);
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), namespace);
    match bounded(&format!("get ServiceAccount {WORKER:?}"), accounts.get_opt(WORKER)).await {
        Ok(Some(_)) => Finding::ok(check, format!("{namespace:?} is enabled")),
        Ok(None) => Finding::fault(
            check,
            format!("{namespace:?} has no ServiceAccount {WORKER:?}: batches cannot run in it"),
            format!("add it to the chart's value namespaces, or use an enabled one by --namespace; given: {namespace}"),
        ),
        Err(error) => Finding::unknown(check, format!("{error:#}")),
    }
}

/// Checks whether the batches of the namespace get on.
pub(super) async fn batches(cluster: &Cluster) -> Finding {
    let check = "batches";
    let listed = bounded("list ImageBatches", cluster.batches().list(&ListParams::default().limit(MAX_LISTED))).await;
    let batches = match listed {
        Ok(batches) => batches.items,
        Err(error) => return Finding::unknown(check, format!("{error:#}")),
    };
    let problem = |batch: &ImageBatch| {
        let status = batch.status.as_ref().filter(|it| !it.is_finished())?;
        let found = problems(status).next()?;
        Some(format!("{}: {}: {}", batch.name_any(), found.reason, found.message))
    };
    let held_up: Vec<String> = batches.iter().filter_map(problem).collect();
    let running = batches.iter().filter(|it| !it.status.as_ref().is_some_and(ImageBatchStatus::is_finished)).count();
    let detail = format!("{} in namespace {:?}, {running} of them not ended", batches.len(), cluster.namespace);
    if held_up.is_empty() {
        return Finding::ok(check, detail);
    }
    let named = held_up[..held_up.len().min(MAX_NAMED)].join("; ");
    Finding::warning(
        check,
        format!("{detail}; {} with problems: {named}", held_up.len()),
        "docs/troubleshooting.md explains each reason",
    )
}
