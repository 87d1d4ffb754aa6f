//! `watch NAME`: a batch to its end; without a name the changes of all batches, as `kubectl get --watch` shows them.

use clap::Args;
use futures::StreamExt;
use jiff::Timestamp;
use kube::runtime::{WatchStreamExt, watcher};

use super::End;
use super::cluster::Cluster;
use super::follow::{changes, interrupts, wait};
use super::line::{Columns, Line, full_name};
use super::print::{Format, cell, note, print_data, print_line};
use crate::api::image_batch::ImageBatch;

/// What to watch.
#[derive(Args, Debug)]
pub(super) struct WatchArgs {
    /// The batch's name; without it all of the namespace, until Ctrl-C.
    name: Option<String>,
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Widths of the columns, as rows cannot wait for each other: names of batches have at most 40 characters.
const WIDTHS: [usize; 7] = [40, 20, 7, 7, 7, 6, 0];

/// Watches.
pub(super) async fn watch(cluster: &Cluster, args: &WatchArgs) -> anyhow::Result<End> {
    match &args.name {
        Some(name) => wait(cluster, name, args.output).await,
        None => watch_all(cluster, args.output).await,
    }
}

async fn watch_all(cluster: &Cluster, format: Option<Format>) -> anyhow::Result<End> {
    let watched = watcher(cluster.batches(), watcher::Config::default()).default_backoff().applied_objects();
    let mut watched = std::pin::pin!(changes(watched));
    let mut interrupts = interrupts()?;
    if format.is_none() || format == Some(Format::Wide) {
        print_line(&row(&["NAME", "STATE", "IMAGES", "DONE", "FAILED", "SAVED", "AGE"].map(str::to_owned)))?;
    }
    loop {
        let batch: ImageBatch = tokio::select! {
            batch = watched.next() => match batch {
                Some(batch) => batch?,
                None => return Ok(End::Done),
            },
            Some(()) = interrupts.recv() => {
                note("interrupted: the batches go on");
                return Ok(End::Interrupted);
            }
        };
        let line = Line::from(&batch);
        match (format, format.and_then(Format::data)) {
            (_, Some(data)) => print_data(data, &batch)?,
            (Some(Format::Name), _) => print_line(&full_name(&line.name))?,
            _ => {
                let wide = format == Some(Format::Wide);
                print_line(&row(&Columns { namespace: false, wide }.cells(&line, Timestamp::now())))?;
            }
        }
    }
}

fn row(cells: &[String]) -> String {
    let padded = |(index, text): (usize, &String)| {
        let width = WIDTHS.get(index).copied().unwrap_or_default();
        format!("{:width$}", cell(text))
    };
    cells.iter().enumerate().map(padded).collect::<Vec<_>>().join("   ")
}
