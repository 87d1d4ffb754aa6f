//! Kueue's Workloads, from one watch a namespace: whether there is a Kueue, and what it says of a Job.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::error::DiscoveryError;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt, discovery};
use serde_json::json;
use tokio::sync::{broadcast, watch};

use super::context::Context;
use super::kueue::{self, Workload};
use super::places::listen;
use crate::api::image_batch::ImageBatch;

/// Time between two looks for a Kueue that is not there.
pub(super) const INTERVAL: Duration = Duration::from_secs(15);
/// Workloads that changed and whose batches are not looked at yet.
const MAX_CHANGED: usize = 1_024;

/// What is known of Kueue.
pub struct Workloads {
    /// Without it nothing is asked: the installation may not have the right to.
    enabled: bool,
    state: watch::Sender<State>,
    changed: broadcast::Sender<ObjectRef<ImageBatch>>,
}

#[derive(Clone)]
enum State {
    /// Nobody looked yet.
    Unknown,
    /// There is none; holds the message.
    Missing(String),
    /// It is there.
    Watched { resource: ApiResource, stores: Vec<Store<DynamicObject>> },
}

impl Workloads {
    /// Watches nothing yet.
    #[must_use]
    pub fn new(enabled: bool) -> Self {
        let state = if enabled {
            State::Unknown
        } else {
            State::Missing(
                "queues are not enabled in this installation: set the chart's value kueue.enabled".to_owned(),
            )
        };
        Self { enabled, state: watch::Sender::new(state), changed: broadcast::channel(MAX_CHANGED).0 }
    }

    /// Returns why nobody would start a Job that waits in a queue.
    pub(super) async fn problem(&self) -> Option<String> {
        let mut state = self.state.subscribe();
        match state.wait_for(|it| !matches!(it, State::Unknown)).await.as_deref() {
            Ok(State::Missing(message)) => Some(message.clone()),
            _ => None,
        }
    }

    /// Returns the Workload of a Job, once Kueue has made it.
    pub(super) fn of_job(&self, uid: &str) -> Option<Workload> {
        let State::Watched { stores, .. } = &*self.state.borrow() else { return None };
        let is_it = |it: &DynamicObject| it.labels().get(kueue::JOB_UID).is_some_and(|label| label == uid);
        stores.iter().find_map(|store| store.find(is_it)).map(|it| Workload::read(&it))
    }

    /// Returns the batches whose Workloads change.
    pub(super) fn changes(&self) -> impl Stream<Item = ObjectRef<ImageBatch>> + Send + 'static {
        listen(self.changed.subscribe())
    }

    /// Switches a Workload on or off; one that is gone is left alone.
    pub(super) async fn set_active(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
        active: bool,
    ) -> kube::Result<()> {
        let State::Watched { resource, .. } = self.state.borrow().clone() else { return Ok(()) };
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        // Not applied: that would create one of which there is nothing but this.
        let params = PatchParams { field_manager: Some(kueue::MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(name, &params, &Patch::Merge(json!({ "spec": { "active": active } }))).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Watches until there is no Kueue any more; returns the message.
    async fn follow(&self, client: &Client, namespaces: &BTreeSet<String>, resource: &ApiResource) -> String {
        let mut stores = Vec::new();
        let mut streams = Vec::new();
        for namespace in namespaces {
            let writer = Writer::new(resource.clone());
            stores.push(writer.as_reader());
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, resource);
            let stream = watcher(api, watcher::Config::default().labels(kueue::JOB_UID))
                .default_backoff()
                .modify(kueue::prune)
                .reflect(writer)
                .touched_objects();
            streams.push(stream.boxed());
        }
        tracing::info!(version = resource.api_version, "Kueue is there");
        self.state.send_replace(State::Watched { resource: resource.clone(), stores });
        let mut changes = futures::stream::select_all(streams);
        loop {
            match changes.try_next().await {
                Ok(Some(object)) => {
                    if let Some(batch) = kueue::batch_of(&object) {
                        let namespace = object.namespace().unwrap_or_default();
                        // Without a listener there is nobody to tell.
                        let _ = self.changed.send(ObjectRef::new(batch).within(&namespace));
                    }
                }
                Ok(None) => return "the watch of Kueue's Workloads ended".to_owned(),
                Err(error) if is_gone(&error) => return "Kueue is not installed in this cluster any more".to_owned(),
                Err(error) => tracing::warn!(%error, "the watch of Kueue's Workloads failed, it starts again"),
            }
        }
    }
}

/// Looks for Kueue and watches its Workloads in the enabled namespaces, for ever.
pub async fn run(context: &Context) {
    let Context { client, namespaces, workloads, .. } = context;
    if !workloads.enabled {
        return std::future::pending().await;
    }
    loop {
        let message = match find(client).await {
            Ok(Some(resource)) => workloads.follow(client, namespaces, &resource).await,
            Ok(None) => "Kueue is not installed in this cluster".to_owned(),
            Err(error) => format!("Kueue cannot be looked for: {error}"),
        };
        workloads.state.send_replace(State::Missing(message));
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Returns how this cluster's Kueue names its Workloads.
async fn find(client: &Client) -> kube::Result<Option<ApiResource>> {
    match discovery::group(client, kueue::GROUP).await {
        Ok(group) => Ok(group.recommended_kind("Workload").map(|(resource, _)| resource)),
        Err(kube::Error::Discovery(DiscoveryError::MissingApiGroup(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.is_not_found(),
        _ => false,
    }
}
