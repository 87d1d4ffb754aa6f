//! `cancel`: stops a batch by `spec.cancel`; the controller ends it, and what is done is kept and reported.

use anyhow::bail;
use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::End;
use super::cluster::{Cluster, bounded};
use super::line::{full_name, state_of};
use super::print::{Format, note, print_data, print_line};
use crate::api::image_batch::Cancel;
use crate::api::status::ImageBatchStatus;

/// Which batch, and why.
#[derive(Args, Debug)]
pub(super) struct CancelArgs {
    /// The batch's name.
    name: String,
    /// A sentence for people.
    #[arg(long, default_value = "asked for by kubectl imagebatch cancel", value_parser = parse_reason)]
    reason: String,
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Longest reason, in characters, as the CRD has it.
const MAX_REASON: usize = 256;

/// Stops a batch.
pub(super) async fn cancel(cluster: &Cluster, args: &CancelArgs) -> anyhow::Result<End> {
    let name = &args.name;
    let found = cluster.get(name).await?;
    if found.status.as_ref().is_some_and(ImageBatchStatus::is_finished) {
        bail!("batch {name:?} has ended as {}; nothing is left to cancel", state_of(&found));
    }
    let (batch, word) = if let Some(Cancel { reason }) = &found.spec.cancel {
        note(&format!("batch {name:?} was cancelled before: {}", super::print::clean(reason)));
        (found, "unchanged")
    } else {
        let patch = Patch::Merge(json!({ "spec": { "cancel": Cancel { reason: args.reason.clone() } } }));
        let what = format!("cancel ImageBatch {name:?}");
        (bounded(&what, cluster.batches().patch(name, &PatchParams::default(), &patch)).await?, "cancelled")
    };
    match (args.output, args.output.and_then(Format::data)) {
        (_, Some(data)) => print_data(data, &batch)?,
        (Some(Format::Name), _) => print_line(&full_name(name))?,
        _ => print_line(&format!("{} {word}", full_name(name)))?,
    }
    Ok(End::Done)
}

fn parse_reason(text: &str) -> Result<String, String> {
    let reason = text.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
        return Err(format!("give 1 to {MAX_REASON} characters, and no line breaks"));
    }
    Ok(reason.to_owned())
}
