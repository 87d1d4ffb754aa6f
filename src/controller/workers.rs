//! Whether a batch's pods start and end as they should, and what is done and said when they do not.
//!
//! Nothing watches the pods. A Job's status says how many of them wait, run and end; only when these numbers
//! have looked wrong for a while are the pods listed, and the Events about them, less and less often. So a
//! batch that is well costs no request.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::context::Context;
use super::observe::{JobEnd, JobState};
use super::pods::{self, Problem, StuckPod, Workers};
use super::stuck;
use crate::api::condition::{Statement, WORKER_STUCK, WORKERS_READY, reason};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::stage::Stage;
use crate::api::status::ImageBatchStatus;

/// Numbers that look wrong for less are how every pod starts and ends.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// Shortest.
const SOON: Duration = Duration::from_secs(1);
/// Longest time between two looks.
const LAST_LOOK: Duration = Duration::from_secs(60);
/// Pods of one look; more are found once these are gone.
const MAX_PODS: u32 = 500;

/// When each batch is looked at again, by its uid.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<HashMap<String, Look>>);

#[derive(Debug, Clone, Copy)]
struct Look {
    next: Instant,
    wait: Duration,
}

impl Looks {
    /// Returns whether it is time to look at a batch whose numbers look wrong.
    fn is_due(&self, uid: &str) -> bool {
        let mut looks = self.lock();
        let now = Instant::now();
        let first = Look { next: now + FIRST_LOOK, wait: FIRST_LOOK };
        let look = looks.entry(uid.to_owned()).or_insert(first);
        if now < look.next {
            return false;
        }
        look.wait = (look.wait * 2).min(LAST_LOOK);
        look.next = now + look.wait;
        true
    }

    /// Has the next look be no later than this.
    fn hasten(&self, uid: &str, after: SignedDuration) {
        if let Some(look) = self.lock().get_mut(uid) {
            look.next = look.next.min(Instant::now() + after.unsigned_abs());
        }
    }

    /// Returns the time until the next look.
    pub(super) fn next(&self, uid: &str) -> Duration {
        let wait = self.lock().get(uid).map_or(FIRST_LOOK, |look| look.next.saturating_duration_since(Instant::now()));
        wait.max(SOON)
    }

    /// The batch is well, or gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at a batch's pods when its Jobs' numbers ask for it. Returns `None` when there is nothing new to know.
pub(super) async fn observe(
    context: &Context,
    batch: &ImageBatch,
    jobs: &BTreeMap<Stage, JobState>,
) -> Option<Workers> {
    let uid = batch.uid().unwrap_or_default();
    let Some((stage, job)) = jobs.iter().find(|(_, job)| looks_wrong(job)) else {
        context.looks.forget(&uid);
        let has_started =
            |job: &JobState| job.ended == Some(JobEnd::Complete) || (job.ended.is_none() && job.ready > 0);
        return Some(Workers { started: jobs.values().any(has_started), ..Workers::default() });
    };
    let job_without_pods = (job.active == 0).then(|| stage.job_name(&batch.name_any()));
    look(context, batch, job_without_pods).await
}

/// Looks at the pods of a deleted batch whose Jobs are not gone yet.
pub(super) async fn observe_ending(context: &Context, batch: &ImageBatch) -> Option<Workers> {
    look(context, batch, None).await
}

/// Whether a Job has pods that do not run, pods that end, or none although it should have some. All of these
/// pass, when the batch is well.
pub(super) fn looks_wrong(job: &JobState) -> bool {
    let waits = !job.suspended && (job.active > job.ready || job.active == 0);
    job.ended.is_none() && (waits || job.terminating > 0 || job.deleting)
}

async fn look(context: &Context, batch: &ImageBatch, job_without_pods: Option<String>) -> Option<Workers> {
    if !context.looks.is_due(&batch.uid().unwrap_or_default()) {
        return None;
    }
    match find(context, batch, job_without_pods).await {
        Ok(workers) => Some(workers),
        Err(error) => {
            // The batch goes on without it.
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to look at pods");
            None
        }
    }
}

async fn find(context: &Context, batch: &ImageBatch, job_without_pods: Option<String>) -> Result<Workers, kube::Error> {
    let (uid, namespace) = (batch.uid().unwrap_or_default(), batch.namespace().unwrap_or_default());
    let now = Timestamp::now();
    let api = Api::<Pod>::namespaced(context.client.clone(), &namespace);
    let alive = ListParams::default()
        .labels(&format!("{}={uid}", labels::BATCH_UID))
        .fields("status.phase!=Succeeded,status.phase!=Failed")
        .limit(MAX_PODS);
    let found = api.list(&alive).await?.items;
    let mut stuck = pods::stuck(&found, now);
    let mut soonest = pods::next_late(&found, now);
    if let Some(limit) = context.stuck_after {
        stuck::delete_late(&api, &mut stuck, limit, now).await?;
        let left = stuck.iter().filter(|it| !it.forced).map(|it| it.due.duration_since(now) + limit);
        soonest = soonest.into_iter().chain(left).min();
    }
    if let Some(after) = soonest {
        context.looks.hasten(&uid, after);
    }
    let problem = match (pods::problem(&found, now), job_without_pods, pods::silent(&found, now)) {
        (Some(problem), ..) => Some(problem),
        (None, Some(job), _) if found.is_empty() => {
            let selector = format!("involvedObject.kind=Job,involvedObject.name={job},reason=FailedCreate");
            let since = batch.creation_timestamp().map_or(now, |it| it.0);
            warning(context, &namespace, &selector, since).await?.map(|it| pods::no_pods(&job, &it))
        }
        (None, _, Some(pod)) => {
            // That it had no node is over.
            let uid = pod.uid().unwrap_or_default();
            let selector = format!("involvedObject.uid={uid},type=Warning,reason!=FailedScheduling");
            let warning = warning(context, &namespace, &selector, Timestamp::UNIX_EPOCH).await?;
            warning.map(|it| pods::not_started(&pod.name_any(), &it))
        }
        _ => None,
    };
    Ok(Workers { problem, started: false, stuck })
}

async fn warning(
    context: &Context,
    namespace: &str,
    selector: &str,
    since: Timestamp,
) -> Result<Option<String>, kube::Error> {
    let api = Api::<Event>::namespaced(context.client.clone(), namespace);
    let events = api.list(&ListParams::default().fields(selector).limit(MAX_PODS)).await?;
    Ok(pods::newest(&events.items, since))
}

/// Returns what is to be said of a batch's pods: nothing as long as nothing was ever wrong with them.
pub(super) fn statements(
    before: &ImageBatchStatus,
    workers: &Workers,
    limit: Option<SignedDuration>,
) -> impl Iterator<Item = Statement> {
    let (type_, is_said) = (WORKERS_READY, before.condition(WORKERS_READY).is_some());
    let ready = match &workers.problem {
        Some(Problem { reason, message }) => {
            Some(Statement { type_, status: Some(false), reason, message: message.clone() })
        }
        None => (workers.started && is_said).then(|| {
            let message = "the pods that were waited for have started".to_owned();
            Statement { type_, status: Some(true), reason: reason::WORKERS_STARTED, message }
        }),
    };
    ready.into_iter().chain(stuck_statement(before, &workers.stuck, limit))
}

/// Returns what is to be said of pods that do not end.
pub(super) fn stuck_statement(
    before: &ImageBatchStatus,
    stuck: &[StuckPod],
    limit: Option<SignedDuration>,
) -> Option<Statement> {
    let say = |status, reason, message| Some(Statement { type_: WORKER_STUCK, status: Some(status), reason, message });
    let waiting = stuck.iter().filter(|it| !it.forced).count();
    if let Some(pod) = stuck.iter().find(|it| !it.forced) {
        let StuckPod { name, node, due, .. } = pod;
        let more = if waiting > 1 { format!(" (and {} more pods)", waiting - 1) } else { String::new() };
        let then = match limit.and_then(|limit| due.checked_add(limit).ok()) {
            Some(at) => format!("it is deleted by force at {at:.0}"),
            None => "it is not deleted by force, as controller.stuckPodSeconds is 0".to_owned(),
        };
        let message = format!("pod {name} on node {node} should have ended at {due:.0}, {then}{more}");
        return say(true, reason::POD_TERMINATING, message);
    }
    if let Some(StuckPod { name, node, .. }) = stuck.first() {
        let more = if stuck.len() > 1 { format!(" (and {} more pods)", stuck.len() - 1) } else { String::new() };
        let message = format!("pod {name} did not end on node {node} and was deleted by force{more}");
        return say(false, reason::POD_DELETED, message);
    }
    before.condition(WORKER_STUCK).filter(|it| it.status == "True")?;
    say(false, reason::PODS_ENDED, "the pods have ended".to_owned())
}
