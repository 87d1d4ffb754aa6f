//! Storage, MongoDB and DNS as the gateway's own readiness check sees them, and whether the gateway lets the user in.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::Value;

use super::finding::Finding;
use crate::plugin::cluster::{Cluster, bounded};
use crate::plugin::gateway::Gateway;
use crate::plugin::gateway::find::Found;
use crate::plugin::gateway::forward::Forward;

/// Longest time for /readyz, whose own checks take two seconds each.
const ANSWER: Duration = Duration::from_secs(30);
const STORES: [(&str, &str); 2] =
    [("storage", "IMAGEBATCH_STORAGE_PROVIDER, its endpoint, bucket and keys"), ("mongodb", "IMAGEBATCH_MONGODB_URI")];
/// Pods of the cluster's DNS, in kube-system, under any implementation's usual label.
const DNS: &str = "k8s-app=kube-dns";

/// Checks what the gateway's pod can reach.
pub(super) async fn stores(cluster: &Cluster, gateway: &Gateway<'_>) -> Vec<Finding> {
    let unknown = |why: &str| STORES.into_iter().map(|(check, _)| Finding::unknown(check, why)).collect::<Vec<_>>();
    let pod = match gateway.find_all().await {
        // One that is not ready can say why.
        Ok(found) => found.iter().find(|it| !it.is_ready).or(found.first()).cloned(),
        Err(error) => return unknown(&format!("{error:#}")),
    };
    let Some(pod) = pod else { return unknown("there is no pod of the gateway that could be asked") };
    let checks = match ready(cluster, &pod).await {
        Ok(checks) => checks,
        Err(error) => return unknown(&format!("{error:#}")),
    };
    let mut findings = Vec::new();
    for (check, settings) in STORES {
        findings.push(match checks[check].as_str() {
            Some("ok") => Finding::ok(check, format!("the gateway's pod {} reaches it", pod.pod)),
            Some(_) => Finding::fault(
                check,
                format!("the gateway's pod {} does not reach it", pod.pod),
                format!(
                    "\"kubectl -n {} logs {}\" has the cause behind \"not ready\"; check {settings} in the connection \
                     Secret, and that its server runs",
                    pod.namespace, pod.pod
                ),
            ),
            None => Finding::unknown(check, "the gateway says nothing of it"),
        });
    }
    let all_reached = STORES.iter().all(|(check, _)| checks[*check] == "ok");
    findings.push(if all_reached {
        Finding::ok("dns", "the gateway finds its stores by their names")
    } else {
        dns(cluster).await
    });
    findings
}

/// Asks a pod's /readyz.
async fn ready(cluster: &Cluster, pod: &Found) -> anyhow::Result<Value> {
    let forward = Forward::start(&cluster.client, &pod.namespace, &pod.pod, pod.ops_port)?;
    let client = reqwest::Client::builder().unix_socket(forward.socket()).timeout(ANSWER).build()?;
    let answer = client.get("http://gateway/readyz").send().await.map_err(|error| {
        let why = forward.fault().map(|it| format!(": {it}")).unwrap_or_default();
        anyhow::Error::from(error.without_url()).context(format!("failed to ask the gateway's pod {}{why}", pod.pod))
    })?;
    let mut document: Value = answer.json().await.context("the gateway's /readyz cannot be read")?;
    Ok(document["checks"].take())
}

/// Checks the cluster's DNS itself.
async fn dns(cluster: &Cluster) -> Finding {
    let check = "dns";
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "kube-system");
    let found = match bounded("list the pods of the cluster's DNS", pods.list(&ListParams::default().labels(DNS))).await
    {
        Ok(found) => found.items,
        Err(error) => return Finding::unknown(check, format!("{error:#}")),
    };
    let conditions =
        |pod: &Pod| pod.status.iter().flat_map(|it| it.conditions.clone().unwrap_or_default()).collect::<Vec<_>>();
    let is_ready = |pod: &&Pod| conditions(pod).iter().any(|it| it.type_ == "Ready" && it.status == "True");
    let (ready, all) = (found.iter().filter(is_ready).count(), found.len());
    let detail = format!("{ready} of {all} pods with {DNS} in kube-system are ready");
    match (ready, all) {
        (_, 0) => Finding::unknown(check, format!("there are no pods with {DNS} in kube-system")),
        (0, _) => Finding::fault(check, detail, "look at \"kubectl -n kube-system logs -l k8s-app=kube-dns\""),
        _ => Finding::ok(check, detail),
    }
}

/// Checks that the gateway answers this user.
pub(super) async fn access(gateway: &Gateway<'_>) -> Finding {
    let check = "access";
    let asked = async { gateway.connect().await?.get::<Value>("/v1/batches", &[("limit", "1")]).await };
    match asked.await {
        Ok(_) => {
            let way = if gateway.has_url() { "at its URL" } else { "by a port-forward" };
            Finding::ok(check, format!("the gateway answers you {way}"))
        }
        Err(error) => Finding::fault(
            check,
            format!("{error:#}"),
            "submit of small files, status, watch, retry and cancel need no gateway; docs/kubectl-plugin.md says how to reach it",
        ),
    }
}
