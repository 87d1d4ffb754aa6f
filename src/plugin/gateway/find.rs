//! The gateway's pods, by the chart's labels, and what their settings say. Nothing but pods need be read: whoever
//! may forward a port must see them anyway.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::plugin::cluster::{Cluster, bounded};

/// Labels of the gateway's pods.
pub(crate) const LABELS: &str = "app.kubernetes.io/name=imagebatch,app.kubernetes.io/component=gateway";

/// A gateway's pod, and how it serves.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// Port of the API.
    pub(crate) port: u16,
    /// Port of /readyz.
    pub(crate) ops_port: u16,
    pub(crate) tls: bool,
    pub(crate) is_ready: bool,
    /// Ways to authenticate.
    pub(crate) modes: Vec<String>,
    pub(crate) audience: String,
    /// Secret of the API keys, in this namespace.
    pub(crate) api_keys: Option<(String, String)>,
    /// Namespaces that it serves.
    pub(crate) namespaces: Vec<String>,
    /// The chart names Service and ServiceAccount alike.
    service: String,
}

impl Found {
    /// Returns the name that the certificate has which the chart has made.
    pub(crate) fn server_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    fn of(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let container = spec.containers.iter().find(|it| it.name == "gateway")?;
        let variables: BTreeMap<&str, &str> =
            container.env.iter().flatten().filter_map(|it| Some((it.name.as_str(), it.value.as_deref()?))).collect();
        let value = |name: &str| variables.get(name).map(|it| (*it).to_owned());
        let list = |name: &str| -> Vec<String> {
            value(name).iter().flat_map(|it| it.split(',')).filter(|it| !it.is_empty()).map(str::to_owned).collect()
        };
        let namespace = pod.namespace()?;
        let api_keys = value("IMAGEBATCH_API_KEYS_SECRET");
        Some(Self {
            pod: pod.name_any(),
            port: port(container, "http")?,
            ops_port: port(container, "ops")?,
            is_ready: is_ready(pod),
            tls: variables.contains_key("IMAGEBATCH_TLS_CERTIFICATE"),
            modes: list("IMAGEBATCH_AUTHENTICATION"),
            audience: value("IMAGEBATCH_TOKEN_AUDIENCE").unwrap_or_else(|| "imagebatch".to_owned()),
            api_keys: api_keys
                .map(|it| (value("IMAGEBATCH_API_KEYS_NAMESPACE").unwrap_or_else(|| namespace.clone()), it)),
            namespaces: list("IMAGEBATCH_NAMESPACES"),
            service: spec.service_account_name.clone().unwrap_or_default(),
            namespace,
        })
    }
}

fn port(container: &Container, name: &str) -> Option<u16> {
    let ports = container.ports.iter().flatten();
    ports.filter(|it| it.name.as_deref() == Some(name)).find_map(|it| u16::try_from(it.container_port).ok())
}

/// Finds a pod of the gateway that serves the batches' namespace and is ready.
pub(crate) async fn find(cluster: &Cluster, namespace: Option<&str>) -> anyhow::Result<Found> {
    let pods = all(cluster, namespace).await?;
    let place = namespace.map_or_else(|| "the cluster".to_owned(), |it| format!("namespace {it:?}"));
    if pods.is_empty() {
        bail!("there is no gateway in {place}: is the chart installed? \"kubectl imagebatch doctor\" checks it");
    }
    let count = pods.len();
    pods.into_iter().find(|it| it.is_ready).ok_or_else(|| {
        anyhow!("none of the gateway's {count} pods in {place} is ready; \"kubectl imagebatch doctor\" says more")
    })
}

/// Finds the gateway's pods, of several installations first those of the one that serves the batches' namespace.
pub(crate) async fn all(cluster: &Cluster, namespace: Option<&str>) -> anyhow::Result<Vec<Found>> {
    let pods = match namespace {
        Some(namespace) => list(Api::namespaced(cluster.client.clone(), namespace)).await?,
        None => match list(Api::namespaced(cluster.client.clone(), &cluster.namespace)).await {
            Ok(pods) if !pods.is_empty() => pods,
            _ => everywhere(&cluster.client).await?,
        },
    };
    let mut found: Vec<Found> = pods.iter().filter_map(Found::of).collect();
    found.sort_by_key(|it| !it.namespaces.contains(&cluster.namespace));
    Ok(found)
}

async fn everywhere(client: &Client) -> anyhow::Result<Vec<Pod>> {
    list(Api::all(client.clone())).await.map_err(|error| {
        error.context("the gateway is not in the batches' namespace; name its own by --gateway-namespace")
    })
}

async fn list(pods: Api<Pod>) -> anyhow::Result<Vec<Pod>> {
    let params = ListParams::default().labels(LABELS);
    Ok(bounded("list the gateway's pods", pods.list(&params)).await?.items)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|it| it.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
}
