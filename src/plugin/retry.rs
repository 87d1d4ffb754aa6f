//! `retry`: a batch that fetches another one's failed images again. It is the batch that the gateway would make, so
//! that a retry by either way finds the other's.

use anyhow::{Context, bail};
use clap::Args;
use kube::ResourceExt;
use kube::api::PostParams;

use super::End;
use super::cluster::{Cluster, bounded};
use super::follow::wait;
use super::line::{full_name, state_of};
use super::print::{Format, note, print_data, print_line};
use crate::api::image_batch::{ImageBatch, ImageBatchSpec};
use crate::api::labels;
use crate::api::source::{FailedOf, Source, Validation};
use crate::api::status::ImageBatchStatus;
use crate::gateway::idempotency::{retry_fingerprint, retry_name};

/// Which batch.
#[derive(Args, Debug)]
pub(super) struct RetryArgs {
    /// The batch's name.
    name: String,
    /// Wait for the end, with the progress shown.
    #[arg(short, long)]
    wait: bool,
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Retries a batch.
pub(super) async fn retry(cluster: &Cluster, args: &RetryArgs) -> anyhow::Result<End> {
    let earlier = cluster.get(&args.name).await?;
    let images = check(&earlier)?;
    let (retry, is_new) = create(cluster, &earlier).await?;
    let name = retry.name_any();
    let is_finished = |it: &ImageBatch| it.status.as_ref().is_some_and(ImageBatchStatus::is_finished);
    if !is_new && is_finished(&retry) {
        bail!(
            "batch {:?} was retried as {name:?}, which ended: retry that one, by \"kubectl imagebatch retry {name}{}\"",
            args.name,
            cluster.flags
        );
    }
    let data = args.output.and_then(Format::data);
    match (args.output, data) {
        (_, Some(data)) if !args.wait => print_data(data, &retry)?,
        (None | Some(Format::Wide), _) => {
            print_line(&format!("{} {}", full_name(&name), if is_new { "created" } else { "found" }))?;
        }
        (Some(Format::Name), _) if !args.wait => print_line(&full_name(&name))?,
        _ => {}
    }
    if args.wait {
        return wait(cluster, &name, args.output).await;
    }
    note(&format!(
        "{images} images are fetched again; \"kubectl imagebatch watch {name}{}\" follows it",
        cluster.flags
    ));
    Ok(End::Done)
}

/// Returns how many images are fetched again.
fn check(earlier: &ImageBatch) -> anyhow::Result<i64> {
    let (name, status) = (earlier.name_any(), earlier.status.clone().unwrap_or_default());
    if earlier.metadata.deletion_timestamp.is_some() {
        bail!("batch {name:?} is being deleted");
    }
    if !status.is_finished() {
        bail!("batch {name:?} is {}; what failed is known at its end", state_of(earlier));
    }
    status.images_to_retry().map_err(|problem| anyhow::anyhow!("batch {name:?} cannot be retried: {problem}"))
}

/// Creates the retry, or returns the one that is there.
async fn create(cluster: &Cluster, earlier: &ImageBatch) -> anyhow::Result<(ImageBatch, bool)> {
    let uid = earlier.uid().context("the API server gave a batch without uid")?;
    let source = Source { failed_of: Some(FailedOf { name: earlier.name_any() }), ..Source::default() };
    // What held or stopped the old batch is not what was asked for.
    let spec = ImageBatchSpec {
        source,
        validation: Validation::default(),
        suspend: false,
        cancel: None,
        ..earlier.spec.clone()
    };
    let name = retry_name(&uid);
    let mut retry = ImageBatch::new(&name, spec);
    let annotations = retry.annotations_mut();
    annotations.insert(labels::FINGERPRINT.to_owned(), retry_fingerprint(&uid));
    if let Some(text) = earlier.annotations().get(labels::DISPLAY_NAME) {
        annotations.insert(labels::DISPLAY_NAME.to_owned(), text.clone());
    }
    let batches = cluster.batches();
    let create = async {
        match batches.create(&PostParams::default(), &retry).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            created => created.map(Some),
        }
    };
    match bounded("create the retry's ImageBatch", create).await? {
        Some(created) => Ok((created, true)),
        None => Ok((cluster.get(&name).await?, false)),
    }
}
