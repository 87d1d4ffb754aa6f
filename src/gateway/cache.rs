//! The ImageBatches that have not ended, as a watch knows them: status requests, lists and event streams do not
//! each ask the API server.
//!
//! One that has ended goes from here: its record is complete before its ImageBatch says so. What is not here is
//! looked up, so a cache that is empty or behind costs time and never an answer.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::StreamExt;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;

use crate::api::image_batch::ImageBatch;
use crate::api::status::ImageBatchStatus;

/// ImageBatches of a page of a list; kube's default of 500 would hold more memory than the cache does.
const PAGE: u32 = 200;

/// An ImageBatch, or what says which one could not be read.
type Guarded = DeserializeGuard<ImageBatch>;
/// Namespace and name.
type Place = (String, String);

/// Unfinished ImageBatches, each with the channel that tells of its changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cache(Arc<RwLock<BTreeMap<Place, watch::Sender<Arc<ImageBatch>>>>>);

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
    pub(crate) fn subscribe(&self, namespace: &str, name: &str) -> Option<watch::Receiver<Arc<ImageBatch>>> {
        self.read().get(&(namespace.to_owned(), name.to_owned())).map(watch::Sender::subscribe)
    }

    /// Returns the ImageBatches of a namespace.
    pub(crate) fn list(&self, namespace: &str) -> Vec<Arc<ImageBatch>> {
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
        let (place, batch) = ((namespace.to_owned(), name.clone()), Arc::new(batch));
        let mut map = self.write();
        let same = map.get(&place).filter(|it| it.borrow().metadata.uid == batch.metadata.uid);
        match same {
            Some(known) => drop(known.send_replace(batch)),
            None if ended => {}
            None => drop(map.insert(place.clone(), watch::Sender::new(batch))),
        }
        if ended {
            map.remove(&place);
        }
        (!ended).then_some(name)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Place, watch::Sender<Arc<ImageBatch>>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Place, watch::Sender<Arc<ImageBatch>>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
