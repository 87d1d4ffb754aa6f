//! Which image is fetched next: fair between hosts, so that a slow one costs its own images and not the
//! time of the others.
//!
//! The host that is asked least at the moment comes first, and one that has all its turns taken waits
//! here, where it takes no place of those in flight. Within a host, images keep the order of their rows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use url::Url;

/// The URLs of a shard that nobody has fetched yet.
#[derive(Debug)]
pub(crate) struct Queue {
    hosts: Vec<Host>,
    per_host: usize,
    fetching: Arc<Fetching>,
}

#[derive(Debug)]
struct Host {
    /// Its place in [`Fetching`].
    index: usize,
    waiting: VecDeque<String>,
}

/// How many fetches of each host are under way.
#[derive(Debug)]
struct Fetching {
    counts: Mutex<Vec<usize>>,
    ended: Notify,
}

/// A fetch that is under way; dropped at its end.
#[derive(Debug)]
pub(crate) struct Fetch {
    host: usize,
    fetching: Arc<Fetching>,
}

impl Queue {
    /// Returns a queue that lets this many fetches of one host be under way.
    pub(crate) fn new(urls: Vec<String>, per_host: usize) -> Self {
        let mut hosts: Vec<Host> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for url in urls {
            let index = *places.entry(host(&url)).or_insert(hosts.len());
            if index == hosts.len() {
                hosts.push(Host { index, waiting: VecDeque::new() });
            }
            hosts[index].waiting.push_back(url);
        }
        let counts = Mutex::new(vec![0; hosts.len()]);
        Self { hosts, per_host, fetching: Arc::new(Fetching { counts, ended: Notify::new() }) }
    }

    /// Returns the URL to fetch next, or `None` where every host that has one has its turns taken.
    pub(crate) fn next(&mut self) -> Option<(String, Fetch)> {
        let mut counts = self.fetching.lock();
        let free = self.hosts.iter_mut().filter(|it| counts[it.index] < self.per_host);
        let host = free.min_by_key(|it| counts[it.index])?;
        let url = host.waiting.pop_front()?;
        counts[host.index] += 1;
        let fetch = Fetch { host: host.index, fetching: Arc::clone(&self.fetching) };
        drop(counts);
        self.hosts.retain(|it| !it.waiting.is_empty());
        Some((url, fetch))
    }

    /// Waits until a fetch has ended since the last call.
    pub(crate) async fn fetched(&self) {
        self.fetching.ended.notified().await;
    }
}

impl Fetching {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        // Whole after each statement.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.fetching.lock()[self.host] -= 1;
        self.fetching.ended.notify_one();
    }
}

/// Returns the host as the turns count it. What is no URL fails at once, whoever it belongs to.
fn host(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(Url::host_str).unwrap_or_default();
    host.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(hosts: &[(&str, usize)]) -> Vec<String> {
        hosts.iter().flat_map(|(host, count)| (0..*count).map(move |it| format!("http://{host}/{it}.jpg"))).collect()
    }

    #[test]
    fn hosts_share_what_is_free_and_keep_their_order() {
        let mut queue = Queue::new(urls(&[("slow.example", 100), ("quick.example.", 3)]), 4);
        let mut taken: Vec<(String, Fetch)> = std::iter::from_fn(|| queue.next()).collect();
        let order: Vec<&str> = taken.iter().map(|(url, _)| url.trim_start_matches("http://")).collect();
        assert_eq!(
            order,
            [
                "slow.example/0.jpg",
                "quick.example./0.jpg",
                "slow.example/1.jpg",
                "quick.example./1.jpg",
                "slow.example/2.jpg",
                "quick.example./2.jpg",
                "slow.example/3.jpg",
            ]
        );
        assert!(queue.next().is_none(), "four at a time");
        taken.remove(0);
        assert_eq!(queue.next().map(|(url, _)| url).as_deref(), Some("http://slow.example/4.jpg"));
    }

    #[tokio::test]
    async fn the_end_of_a_fetch_is_not_missed() {
        let mut queue = Queue::new(urls(&[("a.example", 2)]), 1);
        let (_, fetch) = queue.next().expect("the first");
        assert!(queue.next().is_none());
        drop(fetch);
        queue.fetched().await;
        assert!(queue.next().is_some());
    }
}
