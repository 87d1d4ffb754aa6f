//! A batch followed to its end, by a watch. Ctrl-C ends the waiting, not the batch.

use anyhow::{Context, anyhow, bail};
use futures::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::End;
use super::bars::Progress;
use super::cluster::{Cluster, explain};
use super::line::{end_of, full_name};
use super::print::{Format, note, print, print_data, print_line};
use super::status::{describe, next_steps};
use crate::api::image_batch::ImageBatch;
use crate::api::status::ImageBatchStatus;

/// Errors in a row after which a watch is given up: several minutes without an answer.
const MAX_ERRORS: usize = 20;

/// Returns what tells of each Ctrl-C from now on: one that comes while something else is done waits there.
pub(super) fn interrupts() -> anyhow::Result<Signal> {
    signal(SignalKind::interrupt()).context("failed to listen for Ctrl-C")
}

/// Waits for a batch's end with its progress shown, prints what became of it, and says how it ended.
pub(super) async fn wait(cluster: &Cluster, name: &str, format: Option<Format>) -> anyhow::Result<End> {
    let mut progress = Progress::new(name);
    let ended = follow(cluster, name, &mut progress).await;
    progress.clear();
    let Some(batch) = ended? else {
        let flags = &cluster.flags;
        note(&format!("interrupted: batch {name:?} goes on without you"));
        note(&format!("  kubectl imagebatch watch {name}{flags}     comes back to it"));
        note(&format!("  kubectl imagebatch cancel {name}{flags}    stops it"));
        return Ok(End::Interrupted);
    };
    match (format, format.and_then(Format::data)) {
        (_, Some(data)) => print_data(data, &batch)?,
        (Some(Format::Name), _) => print_line(&full_name(name))?,
        _ => {
            print(&describe(&batch))?;
            note(&next_steps(&batch, &cluster.flags));
        }
    }
    Ok(end_of(&batch))
}

/// Returns the batch at its end; nothing when Ctrl-C came before.
async fn follow(cluster: &Cluster, name: &str, progress: &mut Progress) -> anyhow::Result<Option<ImageBatch>> {
    let mut watched = std::pin::pin!(watcher::watch_object(cluster.batches(), name).default_backoff());
    let (mut errors, mut interrupts) = (Errors::default(), interrupts()?);
    loop {
        let event = tokio::select! {
            event = watched.next() => event,
            Some(()) = interrupts.recv() => return Ok(None),
        };
        let Some(event) = event else { bail!("the watch of batch {name:?} ended") };
        match errors.check(event)? {
            Some(Some(batch)) if batch.status.as_ref().is_some_and(ImageBatchStatus::is_finished) => {
                return Ok(Some(batch));
            }
            Some(Some(batch)) => progress.show(&batch),
            Some(None) => bail!(
                "there is no ImageBatch {name:?} in namespace {:?} (any more); what is recorded of it shows \
                 \"kubectl imagebatch status {name}{}\"",
                cluster.namespace,
                cluster.flags
            ),
            None => {}
        }
    }
}

/// Returns the changes of a watch; errors that no further try mends end it.
pub(super) fn changes<T>(
    watched: impl Stream<Item = Result<T, watcher::Error>>,
) -> impl Stream<Item = anyhow::Result<T>> {
    let mut errors = Errors::default();
    watched.filter_map(move |event| std::future::ready(errors.check(event).transpose()))
}

/// Counts a watch's errors in a row.
#[derive(Default)]
struct Errors(usize);

impl Errors {
    /// Returns what a watch tells, nothing for an error that passes.
    fn check<T>(&mut self, event: Result<T, watcher::Error>) -> anyhow::Result<Option<T>> {
        let error = match event {
            Ok(event) => {
                self.0 = 0;
                return Ok(Some(event));
            }
            Err(error) => error,
        };
        self.0 += 1;
        match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)
                if is_final(&error) || self.0 >= MAX_ERRORS =>
            {
                Err(explain("watch ImageBatches", error))
            }
            error if self.0 >= MAX_ERRORS => Err(anyhow!(error).context("failed to watch ImageBatches")),
            error => {
                if self.0 == 1 {
                    note(&format!("the watch broke off and is begun again: {error}"));
                }
                Ok(None)
            }
        }
    }
}

fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404))
}
