//! Decisions for some seconds, so that a client that asks often does not ask the API server as often. What is
//! revoked ends with them.

use std::time::{Duration, Instant};

use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

/// How long a yes is good for.
const ACCEPTED: Duration = Duration::from_secs(10);
/// How long a no is: who was just given a right shall not wait.
const REFUSED: Duration = Duration::from_secs(2);
/// Age from which on a yes is asked for again.
const OLD: Duration = Duration::from_secs(6);
/// Most decisions of each kind.
const CAPACITY: u64 = 10_000;
/// Questions that are asked at the same time; those about one key take turns.
const TURNS: usize = 64;
/// How long somebody waits for another's answer.
const TURN: Duration = Duration::from_secs(2);

/// What a decision is about, without what must not be kept.
pub(super) type Key = [u8; 32];

/// The decisions of the last seconds.
pub(super) struct Decisions<V> {
    accepted: Cache<Key, (V, Instant)>,
    refused: Cache<Key, ()>,
    turns: [Mutex<()>; TURNS],
}

/// What was decided, and since when it holds where that is a yes.
enum Decision<V> {
    Accepted(V, Instant),
    Refused,
}

impl<V> Decision<V> {
    fn is_old(&self) -> bool {
        matches!(self, Self::Accepted(_, since) if since.elapsed() >= OLD)
    }

    fn accepted(self) -> Option<V> {
        match self {
            Self::Accepted(value, _) => Some(value),
            Self::Refused => None,
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Decisions<V> {
    pub(super) fn new() -> Self {
        Self {
            accepted: Cache::builder().max_capacity(CAPACITY).time_to_live(ACCEPTED).build(),
            refused: Cache::builder().max_capacity(CAPACITY).time_to_live(REFUSED).build(),
            turns: std::array::from_fn(|_| Mutex::new(())),
        }
    }

    /// Returns the decision about a key. Of all who need it at the same time one asks, and before a yes is forgotten
    /// one asks again, for which nobody else waits.
    pub(super) async fn decide<E>(
        &self,
        key: Key,
        ask: impl Future<Output = Result<Option<V>, E>>,
    ) -> Result<Option<V>, E> {
        let turn = &self.turns[usize::from(key[0]) % TURNS];
        let _turn = match self.known(&key) {
            Some(decision) if !decision.is_old() => return Ok(decision.accepted()),
            Some(decision) => {
                let Ok(turn) = turn.try_lock() else { return Ok(decision.accepted()) };
                Some(turn)
            }
            // A turn that does not come, since those before it get no answer, is not waited for any longer.
            None => tokio::time::timeout(TURN, turn.lock()).await.ok(),
        };
        let known = match self.known(&key) {
            Some(decision) if !decision.is_old() => return Ok(decision.accepted()),
            known => known,
        };
        match (ask.await, known) {
            (Ok(decision), _) => {
                self.insert(key, decision.clone());
                Ok(decision)
            }
            // It holds until it is forgotten.
            (Err(_), Some(decision)) => Ok(decision.accepted()),
            (Err(error), None) => Err(error),
        }
    }

    fn insert(&self, key: Key, decision: Option<V>) {
        if let Some(value) = decision {
            self.accepted.insert(key, (value, Instant::now()));
        } else {
            self.accepted.invalidate(&key);
            self.refused.insert(key, ());
        }
    }

    fn known(&self, key: &Key) -> Option<Decision<V>> {
        let accepted = self.accepted.get(key).map(|(value, since)| Decision::Accepted(value, since));
        accepted.or_else(|| self.refused.get(key).map(|()| Decision::Refused))
    }
}

/// Returns the key of some text.
pub(super) fn key(text: &[u8]) -> Key {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn one_asks_for_all_who_wait() {
        let (decisions, asked) = (Decisions::new(), AtomicUsize::new(0));
        let ask = || {
            decisions.decide(key(b"right"), async {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok::<_, ()>(Some("yes"))
            })
        };
        let answers = futures::future::join_all((0..100).map(|_| ask())).await;
        assert_eq!(answers, [Ok(Some("yes")); 100]);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_old_yes_is_asked_for_again_by_one_and_holds_meanwhile() {
        let decisions = Decisions::new();
        let key = key(b"right");
        let since = Instant::now().checked_sub(OLD).expect("the machine is up longer");
        decisions.accepted.insert(key, ("old", since));
        let (decided, go) = tokio::sync::oneshot::channel::<()>();
        let first = decisions.decide(key, async {
            go.await.expect("the other decides");
            Ok::<_, ()>(None)
        });
        let second = async {
            let answer = decisions.decide(key, async { Err(()) }).await;
            decided.send(()).expect("the first waits");
            answer
        };
        assert_eq!(tokio::join!(first, second), (Ok(None), Ok(Some("old"))));
        assert_eq!(decisions.decide(key, async { Err(()) }).await, Ok(None), "it is taken back");

        decisions.accepted.insert(key, ("old", since));
        assert_eq!(decisions.decide(key, async { Err(()) }).await, Ok(Some("old")), "the answer does not come");
    }
}
