//! Whether the installation's controller and gateway run, and are of this plugin's version.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::finding::Finding;
use crate::plugin::cluster::{Cluster, bounded};
use crate::plugin::gateway::Gateway;

const LABELS: &str = "app.kubernetes.io/name=imagebatch,app.kubernetes.io/component in (controller,gateway)";
const COMPONENTS: [&str; 2] = ["controller", "gateway"];

/// Checks both Deployments.
pub(super) async fn workloads(cluster: &Cluster, gateway: &Gateway<'_>) -> Vec<Finding> {
    // They are where the gateway's pods are; without a pod, wherever they may be seen.
    let namespace = gateway.find_all().await.ok().and_then(|it| it.into_iter().next()).map(|it| it.namespace);
    let found = match &namespace {
        Some(namespace) => list(&cluster.client, Some(namespace)).await,
        None => match list(&cluster.client, None).await {
            Ok(found) => Ok(found),
            Err(_) => list(&cluster.client, Some(&cluster.namespace)).await,
        },
    };
    match found {
        Ok(found) => COMPONENTS.into_iter().map(|component| workload(component, &found)).collect(),
        Err(error) => {
            COMPONENTS.into_iter().map(|component| Finding::unknown(component, format!("{error:#}"))).collect()
        }
    }
}

async fn list(client: &Client, namespace: Option<&str>) -> anyhow::Result<Vec<Deployment>> {
    let api: Api<Deployment> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    Ok(bounded("list the installation's Deployments", api.list(&ListParams::default().labels(LABELS))).await?.items)
}

fn workload(component: &'static str, all: &[Deployment]) -> Finding {
    let label = |it: &Deployment, name: &str| it.labels().get(name).cloned();
    let Some(found) = all.iter().find(|it| label(it, "app.kubernetes.io/component").as_deref() == Some(component))
    else {
        let fix = "install the chart: \"helm install imagebatch charts/imagebatch\"";
        return Finding::fault(component, format!("there is no Deployment of the {component} to be seen"), fix);
    };
    let (name, namespace) = (found.name_any(), found.namespace().unwrap_or_default());
    let wanted = found.spec.as_ref().and_then(|it| it.replicas).unwrap_or(1);
    let ready = found.status.as_ref().and_then(|it| it.ready_replicas).unwrap_or_default();
    let detail = format!("{ready} of {wanted} pods of Deployment {name} in namespace {namespace:?} are ready");
    let look = format!(
        "look at \"kubectl -n {namespace} describe pods -l app.kubernetes.io/component={component}\" and their logs"
    );
    if ready == 0 {
        return Finding::fault(component, detail, look);
    }
    if ready < wanted {
        return Finding::warning(component, detail, look);
    }
    match label(found, "app.kubernetes.io/version") {
        Some(version) if version != env!("CARGO_PKG_VERSION") => Finding::warning(
            component,
            format!("{detail}; its version is {version}, this plugin's {}", env!("CARGO_PKG_VERSION")),
            "upgrade whichever is older",
        ),
        _ => Finding::ok(component, detail),
    }
}
