//! The API server of `tests/cluster/services`.

use std::time::Duration;

use anyhow::{Context, Result};
use imagebatch::api::image_batch::crd_yaml;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};

/// How long the API server may take to serve the resource.
const ESTABLISHED: Duration = Duration::from_secs(60);

/// Returns a client of an API server that knows ImageBatches.
pub(crate) async fn connect() -> Result<Client> {
    // Another in the same process finds it there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::try_default().await.context("KUBECONFIG does not point at the tests' API server")?;
    let crd: CustomResourceDefinition = serde_saphyr::from_str(&crd_yaml()?)?;
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let name = crd.name_any();
    api.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(&crd)).await?;
    let established = await_condition(api, &name, conditions::is_crd_established());
    tokio::time::timeout(ESTABLISHED, established).await.context("the CRD is not established")??;
    Ok(client)
}
