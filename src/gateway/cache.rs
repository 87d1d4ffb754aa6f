//! The ImageBatches that have not ended, as a watch knows them: status requests, lists and event streams do not
//! each ask the API server.
//!
//! One that has ended goes from here: its record is complete before its ImageBatch says so. What is not here is
//! looked up, so a cache that is empty or behind costs time and never an answer.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::StreamExt;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;

use super::batch::Batch;
use super::error::ApiError;
use super::state::Settings;
use super::status::Shown;
use crate::api::image_batch::ImageBatch;
use crate::api::status::ImageBatchStatus;

/// ImageBatches of a page of a list; kube's default of 500 would hold more memory than the cache does.
const PAGE: u32 = 200;

/// An ImageBatch, or what says which one could not be read.
type Guarded = DeserializeGuard<ImageBatch>;
/// Namespace and name.
type Place = (String, String);

/// An ImageBatch in one of its states, and what clients are shown of it: that is written once, however many ask.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) batch: ImageBatch,
    shown: OnceLock<Arc<Shown>>,
}

impl Known {
    /// Returns what clients are shown.
    pub(crate) fn shown(&self, settings: &Settings) -> Result<Arc<Shown>, ApiError> {
        if let Some(shown) = self.shown.get() {
            return Ok(Arc::clone(shown));
        }
        let shown = Arc::new(Shown::of(settings, Batch::from_cluster(&self.batch))?);
        Ok(Arc::clone(self.shown.get_or_init(|| shown)))
    }
}

/// Unfinished ImageBatches, each with the channel that tells of its changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cache(Arc<RwLock<Map>>);

type Map = BTreeMap<Place, watch::Sender<Arc<Known>>>;

impl Cache {
    /// Returns a cache that follows these namespaces until its last handle is gone.
    pub(crate) fn start(client: &Client, namespaces: &[String]) -> Self {
        let cache = Self::default();
        for namespace in namespaces {
            let batches = Api::<Guarded>::namespaced(client.clone(), namespace);
            let map = Arc::downgrade(&cache.0);
            let namespace = namespace.clone();
            tokio::spawn(async move {
                let mut events = watcher(batches, watcher::Config::default().page_size(PAGE)).default_backoff().boxed();
                let mut listed = HashSet::new();
                while let Some(event) = events.next().await {
                    let Some(map) = map.upgrade() else { return };
                    match event {
                        Ok(event) => Self(map).take(&namespace, event, &mut listed),
                        Err(error) => tracing::warn!(namespace, %error, "the watch of ImageBatches broke, going on"),
                    }
                }
            });
        }
        cache
    }

    /// Returns what tells of an ImageBatch's changes: closed when it ended or is gone, after its last state.
    pub(crate) fn subscribe(&self, namespace: &str, name: &str) -> Option<watch::Receiver<Arc<Known>>> {
        self.read().get(&(namespace.to_owned(), name.to_owned())).map(watch::Sender::subscribe)
    }

    /// Returns the ImageBatches of a namespace.
    pub(crate) fn list(&self, namespace: &str) -> Vec<Arc<Known>> {
        let map = self.read();
        let of_namespace = map.range((namespace.to_owned(), String::new())..).take_while(|(it, _)| it.0 == namespace);
        of_namespace.map(|(_, it)| Arc::clone(&it.borrow())).collect()
    }

    fn take(&self, namespace: &str, event: Event<Guarded>, listed: &mut HashSet<String>) {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(batch) => {
                if let Some(name) = self.put(namespace, batch) {
                    listed.insert(name);
                }
            }
            // What went while there was no watch was not told of.
            Event::InitDone => self.write().retain(|(of, name), _| of != namespace || listed.contains(name)),
            Event::Apply(batch) => drop(self.put(namespace, batch)),
            Event::Delete(batch) => {
                let name = batch.0.map_or_else(|invalid| invalid.metadata.name.unwrap_or_default(), |it| it.name_any());
                self.write().remove(&(namespace.to_owned(), name));
            }
        }
    }

    /// Keeps an ImageBatch and returns its name, unless it has ended or cannot be read.
    fn put(&self, namespace: &str, batch: Guarded) -> Option<String> {
        let mut batch = match batch.0 {
            Ok(batch) => batch,
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                tracing::warn!(namespace, batch.name = name, error = invalid.error, "an ImageBatch cannot be read");
                self.write().remove(&(namespace.to_owned(), name));
                return None;
            }
        };
        batch.metadata.managed_fields = None;
        batch.spec.source.products = None;
        let (name, ended) = (batch.name_any(), batch.status.as_ref().is_some_and(ImageBatchStatus::is_finished));
        let place = (namespace.to_owned(), name.clone());
        let new = Arc::new(Known { batch, shown: OnceLock::new() });
        let mut map = self.write();
        let same = map.get(&place).filter(|it| it.borrow().batch.metadata.uid == new.batch.metadata.uid);
        match same {
            Some(known) => drop(known.send_replace(new)),
            None if ended => {}
            None => drop(map.insert(place.clone(), watch::Sender::new(new))),
        }
        if ended {
            map.remove(&place);
        }
        (!ended).then_some(name)
    }

    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
