//! How long a batch waits after a reconcile that failed: twice as long each time, until one succeeds.
//!
//! kube's `error_policy` knows only the last error. Without this, a thousand batches would ask a MongoDB
//! that is away, or an API server that refuses, again and again at the same time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// A batch that has not failed for so long is forgotten: its ImageBatch may be gone without a farewell.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// Failures in a row of each batch, by its uid.
#[derive(Debug, Default)]
pub(super) struct Backoff(Mutex<HashMap<String, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    in_a_row: u32,
    last: Instant,
}

impl Backoff {
    /// Notes a failure; returns how many there are in a row.
    pub(super) fn note_failure(&self, uid: &str) -> u32 {
        let mut failures = self.failures();
        failures.retain(|_, it| it.last.elapsed() < FORGOTTEN_AFTER);
        let last = Instant::now();
        let noted = failures.entry(uid.to_owned()).or_insert(Failures { in_a_row: 0, last });
        *noted = Failures { in_a_row: noted.in_a_row.saturating_add(1), last };
        noted.in_a_row
    }

    /// Returns how long to wait after the last failure, at most `ceiling`.
    pub(super) fn delay(&self, uid: &str, ceiling: Duration) -> Duration {
        let in_a_row = self.failures().get(uid).map_or(1, |it| it.in_a_row);
        delay(in_a_row, ceiling, fastrand::f64())
    }

    /// Forgets a batch's failures: its reconcile succeeded.
    pub(super) fn forget(&self, uid: &str) {
        self.failures().remove(uid);
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between half of the full wait and all of it, so that what failed together does not come again together.
fn delay(in_a_row: u32, ceiling: Duration, random: f64) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(in_a_row.saturating_sub(1))).min(ceiling);
    full.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling_and_begin_anew_after_a_success() {
        let ceiling = Duration::from_secs(300);
        let longest: Vec<u64> = (1..=11).map(|failures| delay(failures, ceiling, 1.0).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(delay(u32::MAX, ceiling, 0.0), ceiling / 2);

        let backoff = Backoff::default();
        assert_eq!([(); 3].map(|()| backoff.note_failure("a")), [1, 2, 3]);
        assert!((2..=4).contains(&backoff.delay("a", ceiling).as_secs()));
        assert_eq!(backoff.note_failure("b"), 1, "each batch has its own");
        backoff.forget("a");
        assert_eq!(backoff.note_failure("a"), 1);
    }
}
