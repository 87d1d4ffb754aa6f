//! Who held the Lease, one after the other, by a watch of it.

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;

use crate::harness::{Harness, PATIENCE, Running};

pub(super) struct Holders {
    seen: watch::Receiver<Vec<Option<String>>>,
    _watch: Running,
}

impl Holders {
    pub(super) fn watch(harness: &Harness) -> Self {
        let leases = Api::<Lease>::namespaced(harness.client.clone(), &harness.namespace);
        let (sender, seen) = watch::channel(Vec::new());
        let watch = async move {
            let mut changes = watcher(leases, watcher::Config::default()).applied_objects().boxed();
            while let Some(lease) = changes.next().await {
                let holder = lease.expect("the watch goes on").spec.and_then(|it| it.holder_identity);
                // What follows the host's name is the process' own.
                let holder = holder.map(|it| it.split('_').next().unwrap_or_default().to_owned());
                sender.send_if_modified(|seen: &mut Vec<_>| {
                    let is_new = seen.last() != Some(&holder);
                    if is_new {
                        seen.push(holder);
                    }
                    is_new
                });
            }
        };
        Self { seen, _watch: Running(tokio::spawn(watch)) }
    }

    /// Waits until these were the holders, and nobody else.
    pub(super) async fn until(mut self, expected: &[Option<String>]) {
        let met = tokio::time::timeout(PATIENCE, self.seen.wait_for(|it| it.as_slice() == expected)).await.is_ok();
        assert!(met, "{:?} and not {expected:?}", *self.seen.borrow());
    }
}
