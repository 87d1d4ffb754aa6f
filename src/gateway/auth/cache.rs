//! Decisions for some seconds, so that a client that asks often does not ask the API server as often. What is
//! revoked ends with them.

use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest, Sha256};

/// How long a yes is good for.
const ACCEPTED: Duration = Duration::from_secs(10);
/// How long a no is: who was just given a right shall not wait.
const REFUSED: Duration = Duration::from_secs(2);
/// Most decisions of each kind.
const CAPACITY: u64 = 10_000;

/// What a decision is about, without what must not be kept.
pub(super) type Key = [u8; 32];

/// What was decided.
pub(super) enum Decision<V> {
    Accepted(V),
    Refused,
}

impl<V> Decision<V> {
    pub(super) fn accepted(self) -> Option<V> {
        match self {
            Self::Accepted(value) => Some(value),
            Self::Refused => None,
        }
    }
}

/// The decisions of the last seconds.
pub(super) struct Decisions<V> {
    accepted: Cache<Key, V>,
    refused: Cache<Key, ()>,
}

impl<V: Clone + Send + Sync + 'static> Decisions<V> {
    pub(super) fn new() -> Self {
        Self {
            accepted: Cache::builder().max_capacity(CAPACITY).time_to_live(ACCEPTED).build(),
            refused: Cache::builder().max_capacity(CAPACITY).time_to_live(REFUSED).build(),
        }
    }

    /// Returns the decision where there is one.
    pub(super) fn get(&self, key: &Key) -> Option<Decision<V>> {
        let accepted = self.accepted.get(key).map(Decision::Accepted);
        accepted.or_else(|| self.refused.get(key).map(|()| Decision::Refused))
    }

    pub(super) fn insert(&self, key: Key, decision: Option<&V>) {
        match decision {
            Some(value) => self.accepted.insert(key, value.clone()),
            None => self.refused.insert(key, ()),
        }
    }
}

/// Returns the key of some text.
pub(super) fn key(text: &[u8]) -> Key {
    Sha256::digest(text).into()
}
