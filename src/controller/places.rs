//! Places for batches that are worked on at the same time, given to the oldest first.
//!
//! Only where the installation caps their number. Who holds a place is remembered here and nowhere else; at
//! the start it is read from the batches' statuses, in the watch's store. Nothing is asked of the API server.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use futures::Stream;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::{OnceCell, broadcast};

use crate::api::condition::{SUCCEEDED, reason};
use crate::api::image_batch::ImageBatch;

/// Reasons of `Succeeded` under which a batch neither holds a place nor waits for one.
const ELSEWHERE: [&str; 3] = [reason::SUSPENDED, reason::SOURCE_NOT_FOUND, reason::SOURCE_NOT_FINISHED];
/// Batches whose turn has come and that are not looked at yet; what exceeds it is found a little later.
const MAX_CALLED: usize = 1_024;

/// The places of an installation.
pub struct Places {
    cap: usize,
    store: OnceLock<Store<ImageBatch>>,
    seeded: OnceCell<()>,
    ledger: Mutex<Ledger>,
    called: broadcast::Sender<ObjectRef<ImageBatch>>,
}

#[derive(Default)]
struct Ledger {
    /// By uid.
    held: HashMap<String, ObjectRef<ImageBatch>>,
    waiting: BTreeSet<Ticket>,
}

/// A place in the line: the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    created: Timestamp,
    namespace: String,
    name: String,
    uid: String,
}

impl Ticket {
    fn of(batch: &ImageBatch) -> Self {
        Self {
            created: batch.creation_timestamp().map_or(Timestamp::MIN, |it| it.0),
            namespace: batch.namespace().unwrap_or_default(),
            name: batch.name_any(),
            uid: batch.uid().unwrap_or_default(),
        }
    }

    fn object(&self) -> ObjectRef<ImageBatch> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl Places {
    /// Makes places; 0 means as many as there are batches.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self {
            cap,
            store: OnceLock::new(),
            seeded: OnceCell::new(),
            ledger: Mutex::default(),
            called: broadcast::channel(MAX_CALLED).0,
        }
    }

    /// Learns of batches from this store from now on; the first one counts. Returns those whose turn has come.
    pub fn open(&self, store: Store<ImageBatch>) -> impl Stream<Item = ObjectRef<ImageBatch>> + Send + 'static {
        self.store.get_or_init(|| store);
        listen(self.called.subscribe())
    }

    /// Returns `None` when the batch holds a place, which it keeps until it leaves; otherwise how many are
    /// before it, itself included.
    pub async fn ask(&self, batch: &ImageBatch) -> Option<i32> {
        if self.cap == 0 {
            return None;
        }
        self.seeded.get_or_init(|| self.seed()).await;
        let ticket = Ticket::of(batch);
        let mut ledger = self.ledger();
        if ledger.held.contains_key(&ticket.uid) {
            return None;
        }
        ledger.waiting.insert(ticket.clone());
        ledger.ahead(&ticket, self.cap)?;
        // Before somebody is sent away: who vanished without a word holds nothing up.
        let exists = |object: &ObjectRef<ImageBatch>, uid: &str| {
            let found = self.store.get().and_then(|store| store.get(object));
            found.is_some_and(|it| it.metadata.uid.as_deref() == Some(uid))
        };
        let Ledger { held, waiting } = &mut *ledger;
        held.retain(|uid, object| exists(object, uid));
        waiting.retain(|other| other.uid == ticket.uid || exists(&other.object(), &other.uid));
        ledger.ahead(&ticket, self.cap)
    }

    /// Gives up the batch's place, or its place in the line, and calls who comes next.
    pub fn leave(&self, uid: &str) {
        if self.cap == 0 {
            return;
        }
        let mut ledger = self.ledger();
        let held = ledger.held.remove(uid).is_some();
        ledger.waiting.retain(|ticket| ticket.uid != uid);
        if held {
            let free = self.cap.saturating_sub(ledger.held.len());
            for ticket in ledger.waiting.iter().take(free) {
                // Without a listener there is nobody to call.
                let _ = self.called.send(ticket.object());
            }
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads who holds a place and who waits from the store.
    async fn seed(&self) {
        let Some(store) = self.store.get() else { return };
        if store.wait_until_ready().await.is_err() {
            // Its watch has ended, and with it the controller.
            return;
        }
        let mut ledger = self.ledger();
        for batch in store.state() {
            let ticket = Ticket::of(&batch);
            match standing(&batch) {
                Standing::Held => {
                    ledger.held.insert(ticket.uid.clone(), ticket.object());
                }
                Standing::Waiting => {
                    ledger.waiting.insert(ticket);
                }
                Standing::Elsewhere => {}
            }
        }
    }
}

impl Ledger {
    /// Gives the ticket a place when one is left for it, or returns its place in the line.
    fn ahead(&mut self, ticket: &Ticket, cap: usize) -> Option<i32> {
        let position = self.waiting.range(..=ticket).count();
        let free = cap.saturating_sub(self.held.len());
        if position <= free {
            self.waiting.remove(ticket);
            self.held.insert(ticket.uid.clone(), ticket.object());
            return None;
        }
        Some(i32::try_from(position - free).unwrap_or(i32::MAX))
    }
}

enum Standing {
    Held,
    Waiting,
    Elsewhere,
}

/// Returns what a batch's status says of its place.
fn standing(batch: &ImageBatch) -> Standing {
    let status = batch.status.as_ref();
    let is_finished = status.is_some_and(crate::api::status::ImageBatchStatus::is_finished);
    if is_finished || batch.spec.queue_name.is_some() || batch.metadata.deletion_timestamp.is_some() {
        return Standing::Elsewhere;
    }
    match status.and_then(|it| it.condition(SUCCEEDED)).map(|it| it.reason.as_str()) {
        // Nobody looked at it yet.
        None | Some(reason::QUEUED) => Standing::Waiting,
        Some(word) if ELSEWHERE.contains(&word) => Standing::Elsewhere,
        Some(_) => Standing::Held,
    }
}

/// Makes a stream of what is sent. Who is too slow misses the oldest, and finds its turn by itself.
pub(super) fn listen<T: Clone + Send + 'static>(
    receiver: broadcast::Receiver<T>,
) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(item) => return Some((item, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}
