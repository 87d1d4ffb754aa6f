//! The ImageBatches as the watch knows them.
//!
//! In full it keeps those of which something may be left to do. Of those that are finished, thousands in a
//! long-lived cluster, it keeps the state; they come back when somebody changes or deletes them. One that cannot
//! be read, as another version of the CRD allowed what this controller does not know, is told of by itself and
//! holds up no other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::api::{Api, ObjectMeta};
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc;

use super::apply;
use super::census::census_of;
use super::context::Context;
use super::expire::expiry;
use super::spans;
use crate::api::condition::{SUCCEEDED, reason};
use crate::api::image_batch::ImageBatch;
use crate::api::status::ImageBatchStatus;

/// Unreadable ImageBatches that wait for their Event; each is logged in any case.
const UNREADABLE: usize = 100;

/// ImageBatches of a page of a list. A page is in memory as text, as values and as ImageBatches; kube's default is
/// 500.
const PAGE: u32 = 200;

/// What the watch of ImageBatches knows.
pub(crate) struct Batches {
    open: Store<ImageBatch>,
    /// Those that are settled, with their state.
    settled: RwLock<HashMap<ObjectRef<ImageBatch>, String>>,
    /// Who writes what is known; taken by the watch.
    writer: Mutex<Option<Writer<ImageBatch>>>,
}

impl Default for Batches {
    fn default() -> Self {
        let (open, writer) = reflector::store();
        Self { open, settled: RwLock::default(), writer: Mutex::new(Some(writer)) }
    }
}

impl Batches {
    /// Returns the ImageBatches of which something may be left to do.
    pub(super) fn open(&self) -> Store<ImageBatch> {
        self.open.clone()
    }

    /// Returns how many of the settled ImageBatches are in each state.
    pub(super) fn settled(&self) -> BTreeMap<String, i64> {
        let mut states = BTreeMap::new();
        for state in self.settled.read().unwrap_or_else(PoisonError::into_inner).values() {
            match states.get_mut(state) {
                Some(count) => *count += 1,
                None => drop(states.insert(state.clone(), 1)),
            }
        }
        states
    }
}

/// The state's one word, as the column State shows it.
fn state_of(batch: &ImageBatch) -> String {
    let condition = batch.status.as_ref().and_then(|it| it.condition(SUCCEEDED));
    condition.map_or_else(|| reason::PENDING.to_owned(), |it| it.reason.clone())
}

/// Whether nothing is left to do for a batch until somebody changes it.
fn is_settled(batch: &ImageBatch, is_enabled: bool) -> bool {
    batch.metadata.deletion_timestamp.is_none()
        && batch.status.as_ref().is_some_and(ImageBatchStatus::is_finished)
        // Its time will come.
        && expiry(batch).is_none()
        && (!is_enabled || apply::has_finalizer(batch))
}

/// Watches these ImageBatches, those of each [`Api`] one after the other. Yields those of which something may be
/// left to do, whenever they change; sends those that cannot be read.
pub(super) fn watch(
    context: &Arc<Context>,
    apis: &[Api<ImageBatch>],
) -> (impl Stream<Item = Result<ImageBatch, watcher::Error>> + Send + 'static, mpsc::Receiver<InvalidObject>) {
    let (unreadable, receiver) = mpsc::channel(UNREADABLE);
    let writer = context.batches.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
    let writer = writer.expect("the ImageBatches of a context are watched once");
    let mut file = File { context: Arc::clone(context), writer, unreadable };
    let scopes: Vec<Option<String>> = apis.iter().map(|it| it.namespace().map(str::to_owned)).collect();
    let mut listed: Vec<HashSet<ObjectRef<ImageBatch>>> = vec![HashSet::new(); scopes.len()];
    let mut sources: Vec<_> = apis.iter().map(|api| events(context, api)).collect();
    let stream = async_stream::stream! {
        file.writer.apply_watcher_event(&Event::Init);
        for (source, listed) in sources.iter_mut().zip(&mut listed) {
            while let Some(event) = source.next().await {
                match event {
                    Event::Init => listed.clear(),
                    Event::InitApply(batch) => {
                        listed.insert(place(batch.meta()));
                        if let Some(batch) = file.put(batch, Event::InitApply) { yield Ok(batch) }
                    }
                    Event::InitDone => break,
                    Event::Apply(_) | Event::Delete(_) => {}
                }
            }
        }
        file.writer.apply_watcher_event(&Event::InitDone);
        let batches = census_of(&file.context.batches).states;
        tracing::info!(?batches, jobs = file.context.jobs.count(), "ImageBatches are listed");
        let mut events = stream::select_all(
            sources.into_iter().enumerate().map(|(source, events)| events.map(move |event| (source, event)).boxed()),
        );
        while let Some((source, event)) = events.next().await {
            match event {
                Event::Init => listed[source].clear(),
                Event::InitDone => file.keep(scopes[source].as_deref(), &std::mem::take(&mut listed[source])),
                Event::Delete(batch) => file.remove(&place(batch.meta())),
                Event::Apply(batch) => if let Some(batch) = file.put(batch, Event::Apply) { yield Ok(batch) },
                Event::InitApply(batch) => {
                    listed[source].insert(place(batch.meta()));
                    if let Some(batch) = file.put(batch, Event::Apply) { yield Ok(batch) }
                }
            }
        }
    };
    (stream, receiver)
}

type Guarded = DeserializeGuard<ImageBatch>;

/// The events of one watch, for ever.
fn events(context: &Context, api: &Api<ImageBatch>) -> BoxStream<'static, Event<Guarded>> {
    let guarded = match api.namespace() {
        Some(namespace) => Api::<Guarded>::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    };
    let events = watcher(guarded, watcher::Config::default().page_size(PAGE)).default_backoff();
    let metrics = Arc::clone(&context.metrics);
    let logged = events.filter_map(move |event| {
        let event = event.inspect_err(|error| {
            metrics.watch_errors.inc();
            tracing::warn!(%error, "the watch of ImageBatches failed, it starts again");
        });
        std::future::ready(event.ok())
    });
    logged.boxed()
}

fn place(metadata: &ObjectMeta) -> ObjectRef<ImageBatch> {
    let name = metadata.name.as_deref().unwrap_or_default();
    ObjectRef::new(name).within(metadata.namespace.as_deref().unwrap_or_default())
}

/// Writes down what the watches say.
struct File {
    context: Arc<Context>,
    writer: Writer<ImageBatch>,
    unreadable: mpsc::Sender<InvalidObject>,
}

impl File {
    /// Puts an ImageBatch where it belongs; returns it if something may be left to do.
    fn put(&mut self, batch: Guarded, event: fn(ImageBatch) -> Event<ImageBatch>) -> Option<ImageBatch> {
        let place = place(batch.meta());
        let mut batch = match batch.0 {
            Ok(batch) => batch,
            Err(invalid) => {
                let _in = spans::of_object(&invalid.metadata).entered();
                tracing::warn!(error = invalid.error, "an ImageBatch cannot be read");
                // When too many wait, the log alone says it.
                let _ = self.unreadable.try_send(invalid);
                self.remove(&place);
                return None;
            }
        };
        if is_settled(&batch, self.context.is_enabled(&batch.namespace().unwrap_or_default())) {
            self.remove(&place);
            self.settled().insert(place, state_of(&batch));
            return None;
        }
        self.settled().remove(&place);
        batch.managed_fields_mut().clear();
        let event = event(batch);
        self.writer.apply_watcher_event(&event);
        match event {
            Event::Apply(batch) | Event::InitApply(batch) => Some(batch),
            Event::Delete(_) | Event::Init | Event::InitDone => None,
        }
    }

    fn remove(&mut self, place: &ObjectRef<ImageBatch>) {
        self.settled().remove(place);
        if let Some(batch) = self.context.batches.open.get(place) {
            self.context.forget(&batch.uid().unwrap_or_default());
            self.writer.apply_watcher_event(&Event::Delete(ImageBatch::clone(&batch)));
        }
    }

    /// Removes what a namespace, or all of them, had and the API server did not list again.
    fn keep(&mut self, scope: Option<&str>, listed: &HashSet<ObjectRef<ImageBatch>>) {
        let open = self.context.batches.open.state().into_iter().map(|it| place(it.meta()));
        let known: Vec<_> = open.chain(self.settled().keys().cloned()).collect();
        let is_gone = |it: &&ObjectRef<ImageBatch>| {
            scope.is_none_or(|scope| it.namespace.as_deref() == Some(scope)) && !listed.contains(it)
        };
        for place in known.iter().filter(is_gone) {
            self.remove(place);
        }
    }

    fn settled(&self) -> RwLockWriteGuard<'_, HashMap<ObjectRef<ImageBatch>, String>> {
        self.context.batches.settled.write().unwrap_or_else(PoisonError::into_inner)
    }
}
