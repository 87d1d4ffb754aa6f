//! The Secret of API keys, watched: a new key works and a revoked one stops working within moments.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::Notify;

use super::principal::Principal;
use crate::api::api_key::{self, Entry, Pepper, id_of};
use crate::gateway::error::{ApiError, Code, chain};

/// How long the start waits for the Secret.
const FIRST: Duration = Duration::from_secs(10);

/// The keys that are valid now.
pub(super) struct Keyring {
    ring: Arc<RwLock<Option<Ring>>>,
    watch: tokio::task::JoinHandle<()>,
}

/// What the Secret holds; without pepper no key matches.
#[derive(Default)]
struct Ring {
    pepper: Option<Pepper>,
    entries: BTreeMap<String, Entry>,
}

impl Keyring {
    /// Watches the Secret of that name.
    pub(super) async fn watch(client: Client, namespace: &str, name: &str) -> Self {
        let secrets: Api<Secret> = Api::namespaced(client, namespace);
        let (ring, read) = (Arc::new(RwLock::new(None)), Arc::new(Notify::new()));
        let watch = tokio::spawn(follow(secrets, name.to_owned(), Arc::clone(&ring), Arc::clone(&read)));
        if tokio::time::timeout(FIRST, read.notified()).await.is_err() {
            tracing::warn!(secret = name, "the Secret of API keys could not be read yet; keys are refused until it is");
        }
        Self { ring, watch }
    }

    /// Returns who a key is of, if it is valid.
    pub(super) fn principal(&self, key: &str) -> Result<Option<Principal>, ApiError> {
        let ring = self.ring.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(ring) = ring.as_ref() else {
            return Err(ApiError::new(Code::ClusterUnavailable, "the API keys could not be read yet; try again"));
        };
        let Some((pepper, entry)) = ring.pepper.as_ref().zip(id_of(key).and_then(|it| ring.entries.get(it))) else {
            return Ok(None);
        };
        if !pepper.matches(key, &entry.hash) || entry.expires <= Timestamp::now() {
            return Ok(None);
        }
        Ok(Some(Principal::foreign(entry.user.clone(), entry.groups.clone(), entry.namespace.clone())))
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn follow(secrets: Api<Secret>, name: String, ring: Arc<RwLock<Option<Ring>>>, read: Arc<Notify>) {
    let mut found = watcher::watch_object(secrets, &name).default_backoff().boxed();
    while let Some(found) = found.next().await {
        match found {
            Ok(secret) => {
                if secret.is_none() {
                    tracing::warn!(secret = name, "there is no Secret of API keys: no key is valid");
                }
                let new = secret.as_ref().map(Ring::of).unwrap_or_default();
                tracing::info!(secret = name, keys = new.entries.len(), "API keys read");
                *ring.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(new);
                read.notify_one();
            }
            // What was read last stays good.
            Err(error) => {
                tracing::warn!(secret = name, error = chain(&error), "failed to watch the Secret of API keys");
            }
        }
    }
}

impl Ring {
    /// Reads a Secret. An entry that is wrong costs only itself.
    fn of(secret: &Secret) -> Self {
        let pepper = Pepper::of(secret).inspect_err(|error| tracing::error!(%error, "no API key is valid"));
        let mut entries = BTreeMap::new();
        for (id, entry) in api_key::list(secret) {
            if let Some(entry) = entry {
                entries.insert(id, entry);
            } else {
                // Its text could show what it holds.
                tracing::error!(id, "the entry of an API key is no JSON with hash, user and expires: it is left out");
            }
        }
        Self { pepper: pepper.ok().flatten(), entries }
    }
}
