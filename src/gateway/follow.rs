//! A batch that is waited for: its state now, and when that changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::batch::{self, Batch};
use super::error::ApiError;
use super::state::AppState;
use crate::api::image_batch::ImageBatch;

/// Pause before a batch is looked up again that the cache does not know (yet).
const PAUSE: Duration = Duration::from_secs(1);

/// Follows one batch.
pub(crate) struct Follow {
    state: AppState,
    namespace: String,
    name: String,
    changes: Option<watch::Receiver<Arc<ImageBatch>>>,
}

impl Follow {
    /// Returns what follows the batch of that name in an enabled namespace.
    pub(crate) fn new(state: &AppState, namespace: String, name: String) -> Self {
        let changes = state.cache.subscribe(&namespace, &name);
        Self { state: state.clone(), namespace, name, changes }
    }

    /// Returns the batch as it is now.
    pub(crate) async fn now(&mut self) -> Result<Batch, ApiError> {
        match &mut self.changes {
            Some(changes) => Ok(Batch::from_cluster(&changes.borrow_and_update().clone())),
            None => batch::find_in(&self.state, &self.name, &self.namespace).await,
        }
    }

    /// Waits until there may be something new.
    pub(crate) async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes {
            if changes.changed().await.is_err() {
                self.changes = None;
            }
        } else {
            tokio::time::sleep(PAUSE).await;
            self.changes = self.state.cache.subscribe(&self.namespace, &self.name);
        }
    }
}
