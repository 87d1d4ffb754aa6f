//! A batch that is waited for: its state now, and when that changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::batch;
use super::cache::Known;
use super::error::ApiError;
use super::state::AppState;
use super::status::Shown;

/// Pause before a batch is looked up again that the cache does not know (yet).
const PAUSE: Duration = Duration::from_secs(1);

/// Follows one batch.
pub(crate) struct Follow {
    state: AppState,
    namespace: String,
    name: String,
    changes: Option<watch::Receiver<Arc<Known>>>,
}

impl Follow {
    /// Returns what follows the batch of that name in an enabled namespace.
    pub(crate) fn new(state: &AppState, namespace: String, name: String) -> Self {
        let changes = state.cache.subscribe(&namespace, &name);
        Self { state: state.clone(), namespace, name, changes }
    }

    /// Returns what clients are shown of the batch as it is now.
    pub(crate) async fn now(&mut self) -> Result<Arc<Shown>, ApiError> {
        let settings = &self.state.settings;
        if let Some(changes) = &mut self.changes {
            let known = Arc::clone(&changes.borrow_and_update());
            return known.shown(settings);
        }
        let batch = batch::find_in(&self.state, &self.name, &self.namespace).await?;
        Ok(Arc::new(Shown::of(settings, batch)?))
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
