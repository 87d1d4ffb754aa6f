//! The cluster that commands speak to, as kubectl would choose it, and what went wrong there.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::api::image_batch::ImageBatch;

/// Which cluster and namespace.
#[derive(Args, Debug, Clone)]
pub(super) struct ClusterArgs {
    /// Namespace of the batches; by default that of the context.
    #[arg(short, long, global = true, help_heading = "Cluster")]
    pub(super) namespace: Option<String>,
    /// Context of the kubeconfig; by default its current one.
    #[arg(long, global = true, help_heading = "Cluster")]
    pub(super) context: Option<String>,
    /// The kubeconfig; by default `KUBECONFIG` or ~/.kube/config.
    #[arg(long, global = true, help_heading = "Cluster")]
    pub(super) kubeconfig: Option<PathBuf>,
}

/// A cluster and a namespace in it.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) config: Config,
    pub(super) namespace: String,
    /// What a command for the same cluster begins with, for hints.
    pub(super) flags: String,
}

/// Longest time for one call of the API server, its repeats included.
const CALL: Duration = Duration::from_secs(30);

impl Cluster {
    /// Reads the kubeconfig; it speaks to nobody yet.
    pub(super) async fn connect(args: &ClusterArgs) -> anyhow::Result<Self> {
        let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let config = match &args.kubeconfig {
            Some(path) => {
                let failed =
                    |error| anyhow!("failed to read the kubeconfig {}: {}", path.display(), first_cause(&error));
                let read = Kubeconfig::read_from(path).map_err(failed)?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(failed)?
            }
            None if args.context.is_some() => Config::from_kubeconfig(&options)
                .await
                .map_err(|error| anyhow!("failed to read the kubeconfig: {}", first_cause(&error)))?,
            None => Config::infer().await.map_err(|error| {
                anyhow!(
                    "there is no kubeconfig that can be read (set KUBECONFIG, or give --kubeconfig): {}",
                    first_cause(&error)
                )
            })?,
        };
        let mut flags = String::new();
        if let Some(namespace) = &args.namespace {
            flags = format!(" -n {namespace}");
        }
        if let Some(context) = &args.context {
            flags = format!("{flags} --context {context}");
        }
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config.clone()).context("the kubeconfig's cluster cannot be spoken to")?;
        Ok(Self { client, config, namespace, flags })
    }

    /// Returns the ImageBatches of the namespace.
    pub(super) fn batches(&self) -> Api<ImageBatch> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns a batch, if there is one.
    pub(super) async fn find(&self, name: &str) -> anyhow::Result<Option<ImageBatch>> {
        bounded(&format!("get ImageBatch {name:?}"), self.batches().get_opt(name)).await
    }

    /// Returns a batch that must exist.
    pub(super) async fn get(&self, name: &str) -> anyhow::Result<ImageBatch> {
        self.find(name).await?.ok_or_else(|| {
            anyhow!(
                "there is no ImageBatch {name:?} in namespace {:?}; \"kubectl imagebatch list --all{}\" shows also \
                 those that are deleted",
                self.namespace,
                self.flags
            )
        })
    }
}

/// Returns what an error came from: its own text says the same and more around it.
fn first_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Waits for an answer of the API server as long as somebody may be kept waiting; an error says how to go on.
pub(super) async fn bounded<T>(what: &str, call: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(explain(what, error)),
        Err(_) => Err(anyhow!("failed to {what}: the API server did not answer within {} seconds", CALL.as_secs())),
    }
}

/// Returns what a refused or failed call means.
pub(super) fn explain(what: &str, error: kube::Error) -> anyhow::Error {
    let hint = match &error {
        kube::Error::Api(status) if status.code == 403 => {
            "ask for this right: \"kubectl imagebatch doctor\" lists those that are needed"
        }
        kube::Error::Api(status) if status.code == 401 => "sign in to the cluster again",
        // Without the resource the API server knows no such path.
        kube::Error::Api(status) if status.code == 404 && status.message.contains("page not found") => {
            "is ImageBatch installed in this cluster? \"kubectl imagebatch doctor\" checks it"
        }
        kube::Error::Api(_) => "",
        _ => "is the cluster reachable? \"kubectl cluster-info\" asks it",
    };
    let what = if hint.is_empty() { format!("failed to {what}") } else { format!("failed to {what} ({hint})") };
    match error {
        // Its other fields say the same again.
        kube::Error::Api(status) => anyhow!("{what}: {}", super::print::clean(&status.message)),
        error => anyhow::Error::from(error).context(what),
    }
}
