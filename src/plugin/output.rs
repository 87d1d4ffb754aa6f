//! `output`: the CSV with the new URLs, or that of the failed rows, from the gateway.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use reqwest::Response;

use super::End;
use super::cluster::Cluster;
use super::gateway::Gateway;
use super::print::note;

/// Which report.
#[derive(Args, Debug)]
pub(super) struct OutputArgs {
    /// The batch's name.
    name: String,
    /// The rows with failed images only, in a form that can be submitted again.
    #[arg(long)]
    failed: bool,
    /// Without the apostrophes that keep spreadsheets from running cells as formulas.
    #[arg(long)]
    raw: bool,
    /// File for the CSV; by default standard output.
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Longest pause of a download.
const PAUSE: Duration = Duration::from_secs(60);

/// Downloads a report.
pub(super) async fn output(_: &Cluster, gateway: &Gateway<'_>, args: &OutputArgs) -> anyhow::Result<End> {
    let report = if args.failed { "failed.csv" } else { "output.csv" };
    let connection = gateway.connect().await?;
    let query: &[(&str, &str)] = if args.raw { &[("raw", "true")] } else { &[] };
    let answer = connection.download(&format!("/v1/batches/{}/{report}", args.name), query).await?;
    match &args.file {
        Some(file) => to_file(answer, file).await?,
        None => copy(answer, &mut std::io::stdout().lock(), "standard output").await?,
    }
    Ok(End::Done)
}

/// Writes beside the file first, so that there is never half of it.
async fn to_file(answer: Response, file: &Path) -> anyhow::Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let (part, shown) = (PathBuf::from(part), file.display().to_string());
    let failed = || format!("failed to write {shown}");
    let mut output = std::fs::File::create(&part).with_context(failed)?;
    let copied = copy(answer, &mut output, &shown).await;
    let done = copied.and_then(|()| std::fs::rename(&part, file).with_context(failed));
    if done.is_err() {
        // The error that led here says more than that of this.
        let _ = std::fs::remove_file(&part);
    } else {
        note(&format!("{shown} written"));
    }
    done
}

async fn copy(mut answer: Response, output: &mut impl Write, shown: &str) -> anyhow::Result<()> {
    // Hidden where standard error is no terminal.
    let bar = answer.content_length().map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let broke_off = "the download broke off; run the command again";
    loop {
        let chunk = tokio::time::timeout(PAUSE, answer.chunk()).await.context(broke_off)?.context(broke_off)?;
        let Some(chunk) = chunk else { break };
        output.write_all(&chunk).with_context(|| format!("failed to write to {shown}"))?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    output.flush().with_context(|| format!("failed to write to {shown}"))
}
