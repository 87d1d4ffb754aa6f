//! How far the running batches are: one look at the records for all of them, at most every two seconds.
//!
//! A reconcile takes what the last look saw. Only a batch that this process has not met yet is looked at by
//! itself, so that its status does not fall back after a restart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::Stream;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::time::MissedTickBehavior;

use super::context::{Context, STATUS_INTERVAL};
use crate::api::image_batch::ImageBatch;
use crate::api::progress::Counts;
use crate::records::result::IngestResult;
use crate::records::{RecordError, Records};

/// A batch that nobody asked for that long does not run any more.
const FORGET: Duration = Duration::from_secs(60);

/// What the last look saw of each running batch, by uid.
#[derive(Default)]
pub(crate) struct Progress {
    running: Mutex<HashMap<String, Running>>,
}

struct Running {
    batch: ObjectRef<ImageBatch>,
    asked: Instant,
    seen: Seen,
}

/// What was seen of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen {
    /// What ingest found, once it has.
    pub(super) ingest: Option<IngestResult>,
    /// The sum of its shards.
    pub(super) counts: Counts,
}

impl Progress {
    /// Returns how far a running batch is.
    pub(super) async fn of(&self, records: &Records, batch: &ImageBatch) -> Result<Seen, RecordError> {
        let uid = batch.uid().unwrap_or_default();
        if let Some(known) = self.lock().get_mut(&uid) {
            known.asked = Instant::now();
            return Ok(known.seen.clone());
        }
        let ingest = records.results(&uid).await?.ingest;
        let counts = if ingest.is_some() { records.progress(&uid).await? } else { Counts::default() };
        let seen = Seen { ingest, counts };
        self.begin(batch, seen.clone());
        Ok(seen)
    }

    /// Notes that a Job of a batch begins, and what is known of it by then.
    pub(super) fn begin(&self, batch: &ImageBatch, seen: Seen) {
        let running = Running { batch: ObjectRef::from_obj(batch), asked: Instant::now(), seen };
        self.lock().insert(batch.uid().unwrap_or_default(), running);
    }

    /// Forgets a batch that has ended.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Looks at all running batches; returns those of which something new was seen.
    async fn look(&self, records: &Records) -> Result<Vec<ObjectRef<ImageBatch>>, RecordError> {
        let (ingesting, running) = {
            let mut running = self.lock();
            running.retain(|_, it| it.asked.elapsed() < FORGET);
            running.iter().map(|(uid, it)| (uid.clone(), it.seen.ingest.is_none())).partition::<Vec<_>, _>(|it| it.1)
        };
        let uids = |of: Vec<(String, bool)>| of.into_iter().map(|(uid, _)| uid).collect::<Vec<_>>();
        let mut ingests = records.ingests_of(&uids(ingesting)).await?;
        let mut counts = records.progress_of(&uids(running)).await?;
        let mut known = self.lock();
        let changed = known.iter_mut().filter_map(|(uid, it)| {
            let seen = Seen {
                ingest: it.seen.ingest.clone().or_else(|| ingests.remove(uid)),
                counts: counts.remove(uid).unwrap_or(it.seen.counts),
            };
            (std::mem::replace(&mut it.seen, seen) != it.seen).then(|| it.batch.clone())
        });
        Ok(changed.collect())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks again and again; yields the batches of which something new was seen.
pub(super) fn watch(context: &Arc<Context>) -> impl Stream<Item = ObjectRef<ImageBatch>> + Send + 'static {
    let context = Arc::clone(context);
    let mut look = tokio::time::interval(STATUS_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    async_stream::stream! {
        loop {
            look.tick().await;
            match context.progress.look(&context.records).await {
                Ok(changed) => for batch in changed { yield batch },
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "failed to look at the progress of running batches, trying again");
                }
            }
        }
    }
}
