//! `logs`: what a batch's pods have written. Pods are found by the batch's label, and go with their Job.

use std::collections::HashSet;

use clap::Args;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::task::JoinSet;

use super::End;
use super::cluster::{Cluster, bounded};
use super::follow::{changes, interrupts};
use super::print::{clean, note, print_line};
use crate::api::labels;
use crate::api::status::ImageBatchStatus;

/// Of which batch.
#[derive(Args, Debug)]
pub(super) struct LogsArgs {
    /// The batch's name.
    name: String,
    /// Only pods of this stage: run, ingest, compress or report.
    #[arg(long, value_parser = ["run", "ingest", "compress", "report"])]
    stage: Option<String>,
    /// Go on until the batch has ended.
    #[arg(short, long)]
    follow: bool,
    /// Lines of each pod, counted from its last.
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(i64).range(0..))]
    tail: Option<i64>,
}

/// Logs that are read at the same time.
const MAX_STREAMS: usize = 64;

/// Prints logs.
pub(super) async fn logs(cluster: &Cluster, args: &LogsArgs) -> anyhow::Result<End> {
    cluster.get(&args.name).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let stage = args.stage.as_ref().map(|it| format!(",{}={it}", labels::STAGE)).unwrap_or_default();
    let selector = format!("{}={}{stage}", labels::BATCH_NAME, args.name);
    if args.follow { follow(cluster, &pods, &selector, args).await } else { print_all(&pods, &selector, args).await }
}

async fn print_all(pods: &Api<Pod>, selector: &str, args: &LogsArgs) -> anyhow::Result<End> {
    let mut found = bounded("list the batch's pods", pods.list(&ListParams::default().labels(selector))).await?.items;
    found.sort_by_key(|it| it.metadata.creation_timestamp.as_ref().map(|it| it.0));
    if found.is_empty() {
        note(&format!("there are no pods of batch {:?} (any more)", args.name));
    }
    let (begun, waiting): (Vec<_>, Vec<_>) = found.iter().partition(|it| has_begun(it));
    for pod in waiting {
        note(&format!("pod {} has not started", pod.name_any()));
    }
    for pod in &begun {
        let name = pod.name_any();
        let prefix = if begun.len() > 1 { format!("[{name}] ") } else { String::new() };
        read(pods, &name, &prefix, &LogParams { tail_lines: args.tail, ..LogParams::default() }).await?;
    }
    Ok(End::Done)
}

/// Reads each pod's log from when it starts, until the batch has ended and all is read.
async fn follow(cluster: &Cluster, pods: &Api<Pod>, selector: &str, args: &LogsArgs) -> anyhow::Result<End> {
    let config = watcher::Config::default().labels(selector);
    let mut changed = std::pin::pin!(changes(watcher(pods.clone(), config).default_backoff().applied_objects()));
    let batch = watcher::watch_object(cluster.batches(), &args.name).default_backoff();
    let mut batch = std::pin::pin!(changes(batch));
    let mut logs = Logs { pods, tail: args.tail, known: HashSet::new(), reading: JoinSet::new() };
    let (mut ended, mut interrupts) = (false, interrupts()?);
    loop {
        if ended && logs.reading.is_empty() {
            // The watch may not have told of the last ones.
            let left = bounded("list the batch's pods", pods.list(&ListParams::default().labels(selector))).await?;
            left.iter().for_each(|it| logs.begin(it));
            if logs.reading.is_empty() {
                return Ok(End::Done);
            }
        }
        tokio::select! {
            Some(pod) = changed.next(), if logs.reading.len() < MAX_STREAMS => logs.begin(&pod?),
            Some(read) = logs.reading.join_next() => read??,
            Some(found) = batch.next(), if !ended => {
                ended = found?.is_none_or(|it| it.status.as_ref().is_some_and(ImageBatchStatus::is_finished));
            }
            Some(()) = interrupts.recv() => {
                note(&format!("interrupted: batch {:?} goes on", args.name));
                return Ok(End::Interrupted);
            }
        }
    }
}

/// The logs that are followed.
struct Logs<'a> {
    pods: &'a Api<Pod>,
    tail: Option<i64>,
    known: HashSet<String>,
    reading: JoinSet<anyhow::Result<()>>,
}

impl Logs<'_> {
    /// Begins to read a pod's log, if there is one and it is not read already.
    fn begin(&mut self, pod: &Pod) {
        let name = pod.name_any();
        if has_begun(pod) && self.known.insert(name.clone()) {
            let params = LogParams { follow: true, tail_lines: self.tail, ..LogParams::default() };
            let pods = self.pods.clone();
            self.reading.spawn(async move { read(&pods, &name, &format!("[{name}] "), &params).await });
        }
    }
}

/// Returns whether a pod has a log.
fn has_begun(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    matches!(phase, Some("Running" | "Succeeded" | "Failed"))
}

async fn read(pods: &Api<Pod>, name: &str, prefix: &str, params: &LogParams) -> anyhow::Result<()> {
    let what = format!("read the log of pod {name}");
    let mut lines = bounded(&what, pods.log_stream(name, params)).await?.lines();
    // A log that is followed may be quiet for as long as the pod works.
    while let Some(line) = lines.try_next().await? {
        print_line(&format!("{prefix}{}", clean(&line)))?;
    }
    Ok(())
}
