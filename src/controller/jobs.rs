//! The Jobs as the watches know them: what a reconcile reads instead of asking the API server each time.
//!
//! It lags behind by milliseconds. A Job that it does not know yet is created again, which the API server refuses
//! as the name is taken; what this controller created or changed itself it knows at once (`note`). It
//! keeps a few numbers of each Job, not the Job with its pods' template.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;

use super::context::Context;
use super::error::ReconcileError;
use super::kueue;
use super::observe::{JobState, WorkingJob, stage_of, state_of};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::stage::Stage;

/// Longest wait of a reconcile for the first answer to a watch.
const FIRST_LIST: Duration = Duration::from_secs(5);

/// What the watches of Jobs know.
#[derive(Default)]
pub(crate) struct Jobs {
    known: RwLock<HashMap<Place, Known>>,
    /// Namespaces whose Jobs were listed, or why they could not be yet.
    listed: watch::Sender<HashMap<String, Result<(), Arc<watcher::Error>>>>,
}

/// Namespace and name of a Job.
type Place = (String, String);

#[derive(Debug, Clone, PartialEq)]
struct Known {
    uid: String,
    version: u64,
    batch: String,
    batch_uid: String,
    stage: Stage,
    state: JobState,
    queued: bool,
}

/// The Jobs of a batch.
#[derive(Debug, Default)]
pub(super) struct JobsOfBatch {
    /// Those that exist.
    pub(super) states: BTreeMap<Stage, JobState>,
    /// The one that has not ended.
    pub(super) working: Option<WorkingJob>,
}

impl Jobs {
    /// Returns the Jobs of a batch; waits until those of its namespace are known.
    pub(super) async fn of(&self, batch: &ImageBatch) -> Result<JobsOfBatch, ReconcileError> {
        let (namespace, name) = (batch.namespace().unwrap_or_default(), batch.name_any());
        let mut listed = self.listed.subscribe();
        let answered = tokio::time::timeout(FIRST_LIST, listed.wait_for(|it| it.contains_key(&namespace))).await;
        let answer = answered.ok().and_then(Result::ok).and_then(|it| it.get(&namespace).cloned());
        match answer {
            Some(Ok(())) => {}
            Some(Err(cause)) => return Err(ReconcileError::JobsUnknown { namespace, cause: Some(cause) }),
            None => return Err(ReconcileError::JobsUnknown { namespace, cause: None }),
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut jobs = JobsOfBatch::default();
        for stage in Stage::ALL {
            let place = (namespace.clone(), stage.job_name(&name));
            let job = known.get(&place).filter(|job| Some(&job.batch_uid) == batch.metadata.uid.as_ref());
            let Some(Known { uid, stage, state, queued, .. }) = job else { continue };
            jobs.states.insert(*stage, *state);
            if state.ended.is_none() {
                let (name, uid) = (place.1, uid.clone());
                jobs.working = Some(WorkingJob { name, uid, suspended: state.suspended, queued: *queued });
            }
        }
        Ok(jobs)
    }

    /// Notes what the API server answered to a request of this controller.
    pub(super) fn note(&self, job: &Job) {
        if let Some((place, seen)) = read(job) {
            put(&mut self.known.write().unwrap_or_else(PoisonError::into_inner), place, seen);
        }
    }

    /// Notes why the Jobs of a namespace are not known; once they are, a watch that fails goes on from there.
    fn note_failure(&self, namespace: &str, error: watcher::Error) {
        self.listed.send_if_modified(|listed| {
            let is_unknown = !listed.get(namespace).is_some_and(Result::is_ok);
            if is_unknown {
                listed.insert(namespace.to_owned(), Err(Arc::new(error)));
            }
            is_unknown
        });
    }

    /// Returns how many Jobs are known.
    pub(super) fn count(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes a watch's event in. Returns the names of the batches whose Jobs changed in a way that matters.
    fn take(&self, namespace: &str, relist: &mut HashMap<Place, Known>, event: &watcher::Event<Job>) -> Vec<String> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            watcher::Event::Init => relist.clear(),
            watcher::Event::InitApply(job) => relist.extend(read(job)),
            watcher::Event::InitDone => {
                let before: Vec<Place> = known.keys().filter(|(it, _)| it == namespace).cloned().collect();
                let mut changed = Vec::new();
                for place in before {
                    if !relist.contains_key(&place) {
                        changed.extend(known.remove(&place).map(|it| it.batch));
                    }
                }
                changed.extend(relist.drain().filter_map(|(place, seen)| put(&mut known, place, seen)));
                drop(known);
                self.listed.send_modify(|listed| drop(listed.insert(namespace.to_owned(), Ok(()))));
                return changed;
            }
            watcher::Event::Apply(job) => {
                return match read(job) {
                    Some((place, seen)) => put(&mut known, place, seen).into_iter().collect(),
                    // Somebody took its labels away: its batch puts them back.
                    None => remove(&mut known, namespace, job).into_iter().collect(),
                };
            }
            watcher::Event::Delete(job) => return remove(&mut known, namespace, job).into_iter().collect(),
        }
        Vec::new()
    }
}

/// Forgets a Job; returns its batch. Another of the same name may have been created since, and stays.
fn remove(known: &mut HashMap<Place, Known>, namespace: &str, job: &Job) -> Option<String> {
    let place = (namespace.to_owned(), job.name_any());
    known.get(&place).filter(|it| Some(&it.uid) == job.metadata.uid.as_ref())?;
    known.remove(&place).map(|it| it.batch)
}

/// Keeps what was seen, unless something newer is known; returns the batch if anything is new.
fn put(known: &mut HashMap<Place, Known>, place: Place, seen: Known) -> Option<String> {
    let before = known.get(&place);
    if before.is_some_and(|it| it.version > seen.version) {
        return None;
    }
    let is_new = before.is_none_or(|it| Known { version: seen.version, ..it.clone() } != seen);
    let batch = is_new.then(|| seen.batch.clone());
    known.insert(place, seen);
    batch
}

fn read(job: &Job) -> Option<(Place, Known)> {
    let label = |name: &str| job.labels().get(name).cloned();
    let known = Known {
        uid: job.uid()?,
        version: version_of(job.metadata.resource_version.as_deref()),
        batch: label(labels::BATCH_NAME)?,
        batch_uid: label(labels::BATCH_UID)?,
        stage: stage_of(job)?,
        state: state_of(job),
        queued: kueue::is_queued(job),
    };
    Some(((job.namespace()?, job.name_any()), known))
}

/// Returns a resource version as a number, by which those of one kind are in order.
pub(super) fn version_of(resource_version: Option<&str>) -> u64 {
    resource_version.and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// Watches the Jobs of the installation's namespaces; yields the batches whose Jobs changed.
pub fn watch(context: &Arc<Context>) -> impl Stream<Item = ObjectRef<ImageBatch>> + Send + 'static {
    let managed = watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={}", labels::CONTROLLER));
    stream::select_all(context.namespaces.iter().map(|namespace| {
        let (context, namespace) = (Arc::clone(context), namespace.clone());
        let jobs = Api::<Job>::namespaced(context.client.clone(), &namespace);
        let mut relist = HashMap::new();
        watcher(jobs, managed.clone())
            .default_backoff()
            .flat_map(move |event| {
                let changed = match event {
                    Ok(event) => context.jobs.take(&namespace, &mut relist, &event),
                    Err(error) => {
                        context.metrics.watch_errors.inc();
                        tracing::warn!(%error, batch.namespace = namespace, "the watch of Jobs failed, it starts again");
                        context.jobs.note_failure(&namespace, error);
                        Vec::new()
                    }
                };
                let namespace = namespace.clone();
                stream::iter(changed.into_iter().map(move |name| ObjectRef::new(&name).within(&namespace)))
            })
            .boxed()
    }))
}
