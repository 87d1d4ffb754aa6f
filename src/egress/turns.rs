//! Turns at a host: a bounded number of requests at the same time, and pauses that it asks for.
//!
//! Counted in this process: a batch that runs in `n` pods may have `n` times as many requests open. A
//! host that answers 429 or 503 with `Retry-After` is left alone by all requests until then, within a
//! limit. A host that does nothing else is not waited for any longer: while it wants to be left alone,
//! its other requests fail at once, so that it costs its own images and not the batch's time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::FetchError;

/// Hosts remembered before those without a request and a pause are forgotten.
const REMEMBERED: usize = 1_024;
/// After this many longest pauses without a success in between, a host is not waited for.
const PATIENCE: u32 = 5;

/// The turns at all hosts.
#[derive(Debug)]
pub(super) struct Turns {
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    per_host: usize,
    longest_pause: Duration,
}

#[derive(Debug)]
struct Host {
    slots: Arc<Semaphore>,
    pause: Mutex<Pause>,
}

#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    /// All pauses since the last success.
    total: Duration,
}

/// A request's turn; its end lets the next in.
#[derive(Debug)]
pub(super) struct Turn {
    host: Arc<Host>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Returns turns for this many requests at the same time to each host.
    pub(super) fn new(per_host: usize, longest_pause: Duration) -> Self {
        Self { hosts: Mutex::default(), per_host, longest_pause }
    }

    /// Returns how many requests to one host are let in at the same time.
    pub(super) fn per_host(&self) -> usize {
        self.per_host
    }

    /// Waits for a turn at the host, and for the end of its pause.
    pub(super) async fn take(&self, host: &str) -> Result<Turn, FetchError> {
        let host = self.host(host);
        // Never closed, so that no error can come.
        let slot = Arc::clone(&host.slots).acquire_owned().await.ok();
        while let Some(until) = host.paused(self.longest_pause * PATIENCE)? {
            // Spread over a quarter of a second: all wait for the same instant.
            tokio::time::sleep_until(until + Duration::from_millis(fastrand::u64(0..250))).await;
        }
        Ok(Turn { host, _slot: slot })
    }

    /// Leaves the host alone for as long as it asked, within the limit.
    pub(super) fn pause(&self, turn: &Turn, asked: Duration) {
        lock(&turn.host.pause).extend(Instant::now(), asked.min(self.longest_pause));
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut hosts = lock(&self.hosts);
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        if hosts.len() >= REMEMBERED {
            let now = Instant::now();
            hosts.retain(|_, it| Arc::strong_count(it) > 1 || lock(&it.pause).until.is_some_and(|until| until > now));
        }
        let host = Arc::new(Host { slots: Arc::new(Semaphore::new(self.per_host)), pause: Mutex::default() });
        hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }
}

impl Turn {
    /// Notes that the host answers without asking for a pause.
    pub(super) fn succeeded(&self) {
        lock(&self.host.pause).total = Duration::ZERO;
    }
}

impl Host {
    // Apart from the loop that asks: the lock must not be held while it sleeps.
    fn paused(&self, patience: Duration) -> Result<Option<Instant>, FetchError> {
        lock(&self.pause).left(Instant::now(), patience)
    }
}

impl Pause {
    fn extend(&mut self, now: Instant, asked: Duration) {
        let known = self.until.unwrap_or(now).max(now);
        let until = now + asked;
        if until > known {
            self.total += until - known;
            self.until = Some(until);
        }
    }

    /// Returns when the pause ends, where there is one.
    fn left(&self, now: Instant, patience: Duration) -> Result<Option<Instant>, FetchError> {
        let Some(until) = self.until.filter(|until| *until > now) else { return Ok(None) };
        if self.total > patience { Err(FetchError::HostPaused) } else { Ok(Some(until)) }
    }
}

/// What is behind these locks is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_pause_ends_when_the_longest_one_does() {
        let now = Instant::now();
        let mut pause = Pause::default();
        assert_eq!(pause.left(now, MINUTE).expect("patient"), None);
        pause.extend(now, Duration::from_secs(7));
        pause.extend(now, Duration::from_secs(3));
        assert_eq!(pause.left(now, MINUTE).expect("patient"), Some(now + Duration::from_secs(7)));
        assert_eq!(pause.left(now + Duration::from_secs(7), MINUTE).expect("patient"), None);
    }

    #[test]
    fn a_host_that_only_asks_for_pauses_is_not_waited_for() {
        let mut now = Instant::now();
        let mut pause = Pause::default();
        for _ in 0..5 {
            // Many requests are refused at the same time, which is one pause.
            for _ in 0..100 {
                pause.extend(now, MINUTE);
            }
            assert!(pause.left(now, 5 * MINUTE).expect("patient").is_some());
            now += MINUTE;
        }
        pause.extend(now, MINUTE);
        assert!(matches!(pause.left(now, 5 * MINUTE), Err(FetchError::HostPaused)));
        assert_eq!(pause.left(now + MINUTE, 5 * MINUTE).expect("one is let in"), None);
    }

    #[tokio::test]
    async fn so_many_at_a_time_and_hosts_do_not_wait_for_each_other() {
        let turns = Turns::new(2, MINUTE);
        let (first, _second) = (turns.take("a.example").await, turns.take("a.example.").await);
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, turns.take("a.example")).await.is_err(), "a third waits");
        turns.take("b.example").await.expect("another host has its own turns");
        drop(first);
        turns.take("a.example").await.expect("the end of one lets the next in");
    }

    #[tokio::test]
    async fn idle_hosts_are_forgotten() {
        let turns = Turns::new(2, MINUTE);
        let held = turns.take("held.example").await.expect("a turn");
        for index in 0..3 * REMEMBERED {
            turns.take(&format!("{index}.example")).await.expect("a turn");
        }
        assert!(lock(&turns.hosts).len() <= REMEMBERED);
        assert!(Arc::ptr_eq(&held.host, &turns.host("held.example")));
    }
}
