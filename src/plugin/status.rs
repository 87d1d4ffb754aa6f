//! `status`: a batch as people want to know it. One whose ImageBatch is deleted is shown by the gateway's records.

use std::fmt::Write;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use super::End;
use super::cluster::Cluster;
use super::gateway::Gateway;
use super::line::{Columns, Line, full_name, problems, state_of};
use super::print::{Format, Table, bytes, clean, print, print_data, print_line, span};
use crate::api::condition::{REPORT_READY, SUCCEEDED};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::status::{Failure, ImageBatchStatus};

/// Which batch.
#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// The batch's name.
    name: String,
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Failures that are shown.
const MAX_SHOWN: usize = 5;

/// Shows a batch.
pub(super) async fn status(cluster: &Cluster, gateway: &Gateway<'_>, args: &StatusArgs) -> anyhow::Result<End> {
    let name = &args.name;
    if let Some(batch) = cluster.find(name).await? {
        show(&Line::from(&batch), args.output, &batch, || Ok(describe(&batch)))?;
    } else {
        let view: Value = gateway.connect().await?.get(&format!("/v1/batches/{name}"), &[]).await?;
        let line: Line = serde_json::from_value(view.clone())?;
        show(&line, args.output, &view, || Ok(describe_record(&view, &serde_json::from_value(view.clone())?)))?;
    }
    Ok(End::Done)
}

fn show(
    line: &Line,
    format: Option<Format>,
    data: &impl serde::Serialize,
    text: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    match format {
        None => print(&text()?),
        Some(Format::Name) => print_line(&full_name(&line.name)),
        Some(Format::Wide) => {
            let columns = Columns { namespace: false, wide: true };
            let mut table = columns.table();
            table.add(columns.cells(line, Timestamp::now()));
            print(&table.to_string())
        }
        Some(format) => format.data().map_or(Ok(()), |it| print_data(it, data)),
    }
}

/// Returns what there is to say of a batch.
pub(super) fn describe(batch: &ImageBatch) -> String {
    let status = batch.status.clone().unwrap_or_default();
    let head = Head {
        name: batch.name_any(),
        namespace: batch.namespace().unwrap_or_default(),
        display_name: batch.annotations().get(labels::DISPLAY_NAME).cloned(),
        state: state_of(batch).to_owned(),
        note: batch.metadata.deletion_timestamp.as_ref().map(|_| "it is being deleted"),
    };
    text(&head, &status)
}

/// Returns the same of a batch that only records are left of.
fn describe_record(view: &Value, status: &ImageBatchStatus) -> String {
    let field = |name: &str| view[name].as_str().map(str::to_owned);
    let head = Head {
        name: field("id").unwrap_or_default(),
        namespace: field("namespace").unwrap_or_default(),
        display_name: field("displayName"),
        state: field("status").unwrap_or_default(),
        note: Some("its ImageBatch is deleted"),
    };
    text(&head, status)
}

struct Head {
    name: String,
    namespace: String,
    display_name: Option<String>,
    state: String,
    note: Option<&'static str>,
}

fn text(head: &Head, status: &ImageBatchStatus) -> String {
    let mut text = String::new();
    let mut row = |title: &str, value: String| {
        // A String takes everything.
        let _ = writeln!(text, "{title:<11} {}", clean(&value));
    };
    row("Name:", head.name.clone());
    row("Namespace:", head.namespace.clone());
    if let Some(name) = &head.display_name {
        row("For:", name.clone());
    }
    let message = status.condition(SUCCEEDED).map(|it| it.message.clone()).unwrap_or_default();
    let note = head.note.map(|it| format!(" ({it})")).unwrap_or_default();
    row(
        "State:",
        if message.is_empty() { format!("{}{note}", head.state) } else { format!("{}{note}: {message}", head.state) },
    );
    let counts = status.counts();
    if let Some(images) = status.images {
        let kept = if status.kept_original > 0 {
            format!(", {} kept as they were", status.kept_original)
        } else {
            String::new()
        };
        let percent = status.percent.as_deref().unwrap_or("0%");
        row(
            "Images:",
            format!(
                "{} of {images} ({percent}): {} stored{kept}, {} failed",
                counts.done(),
                counts.succeeded,
                counts.failed
            ),
        );
    }
    if let Some(skipped) = status.skipped_rows.filter(|it| *it > 0) {
        row("Rows:", format!("{} of {} were skipped", skipped, status.rows.unwrap_or_default()));
    }
    if let Some(saved) = &status.saved {
        row("Bytes:", format!("{} became {}: {saved} saved", bytes(status.bytes_in), bytes(status.bytes_out)));
    }
    if let Some(start) = &status.start_time {
        let end = status.completion_time.as_ref().map_or_else(Timestamp::now, |it| it.0);
        let speed = status.images_per_minute.map(|it| format!(", {it} images/min")).unwrap_or_default();
        let word = if status.completion_time.is_some() { "took" } else { "running for" };
        row("Time:", format!("{word} {}{speed}", span(end.duration_since(start.0).as_secs().max(0))));
    }
    if !status.is_finished()
        && let Some(end) = &status.estimated_completion_time
    {
        row("Left:", span(end.0.duration_since(Timestamp::now()).as_secs().max(0)));
    }
    if let Some(retry) = &status.retry {
        row("Retry of:", retry.of.clone());
    }
    for name in &status.retried_by {
        row("Retried by:", name.clone());
    }
    for it in problems(status) {
        row("Problem:", format!("{} {}: {}", it.type_, it.reason, it.message));
    }
    if !status.failures.is_empty() {
        let mut table = failure_table();
        status.failures.iter().take(MAX_SHOWN).for_each(|it| table.add(failure_cells(it)));
        let _ = write!(text, "\n{table}");
        let more = counts.failed - MAX_SHOWN as i64;
        if more > 0 {
            let _ = writeln!(text, "... and {more} more; \"kubectl imagebatch failures {}\" lists all", head.name);
        }
    }
    text
}

/// Returns the headings of failures.
pub(super) fn failure_table() -> Table {
    Table::new(&["ROW", "IMAGE", "REASON", "DETAIL"])
}

/// Returns the cells of a failure.
pub(super) fn failure_cells(failure: &Failure) -> [String; 4] {
    let image = failure.image.map(|it| it.to_string()).unwrap_or_default();
    [failure.row.to_string(), image, failure.reason.clone(), failure.detail.clone()]
}

/// Returns what can be done with a batch that has ended.
pub(super) fn next_steps(batch: &ImageBatch, flags: &str) -> String {
    let name = batch.name_any();
    let status = batch.status.clone().unwrap_or_default();
    let mut steps = String::from("\nnext:");
    if status.condition(REPORT_READY).is_some_and(|it| it.status == "True") {
        let _ = write!(steps, "\n  kubectl imagebatch output {name}{flags} > output.csv");
    }
    if status.failed > 0 {
        let _ = write!(
            steps,
            "\n  kubectl imagebatch failures {name}{flags}\n  kubectl imagebatch retry {name}{flags} --wait"
        );
    }
    if steps.ends_with(':') {
        let _ = write!(steps, "\n  kubectl imagebatch logs {name}{flags}");
    }
    steps
}
