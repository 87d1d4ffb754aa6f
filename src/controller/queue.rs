//! Whether a batch's turn has come: in the installation's own line, or in a queue of Kueue's.
//!
//! It comes after the plan, which knows of neither: what would be started waits here.

use std::time::Duration;

use super::context::Context;
use super::kueue::Workload;
use super::observe::{Observed, QueuedJob};
use super::plan::{Phase, Plan, Step};
use super::workloads;
use crate::api::condition::reason;
use crate::api::image_batch::ImageBatch;
use crate::api::stage::Stage;

/// Longest time until a batch that waits is looked at again. Its turn comes by itself; this is for its position.
const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// Returns what is left of the plan when the batch has to wait.
pub(super) async fn take_turn(context: &Context, batch: &ImageBatch, observed: &Observed, plan: Plan) -> Plan {
    let queue = batch.spec.queue_name.as_deref();
    if queue.is_none() && observed.queued_job.is_none() {
        return take_place(context, batch, plan).await;
    }
    let starts = matches!(plan.step, Some(Step::Start { .. }));
    let waits = starts || observed.queued_job.as_ref().is_some_and(|job| job.suspended);
    if queue.is_some()
        && waits
        && !matches!(plan.phase, Phase::Ended(_))
        && let Some(problem) = context.workloads.problem().await
    {
        return queued(reason::QUEUE_NOT_AVAILABLE, format!("spec.queueName is set, and {problem}"), None);
    }
    match &observed.queued_job {
        Some(job) => follow(queue, job, context.workloads.of_job(&job.uid).as_ref(), plan),
        None => plan,
    }
}

/// In the installation's own line.
async fn take_place(context: &Context, batch: &ImageBatch, plan: Plan) -> Plan {
    match (&plan.phase, &plan.step) {
        (Phase::Ended(_) | Phase::WaitingForSource { .. }, _) => {
            context.places.leave(batch.metadata.uid.as_deref().unwrap_or_default());
            plan
        }
        // What was stopped is settled at once.
        (_, Some(Step::Start { stage: Stage::Run | Stage::Ingest | Stage::Compress, .. })) => {
            match context.places.ask(batch).await {
                None => plan,
                Some(position) => {
                    let message = "as many batches as the installation allows are being worked on; \
                                   status.queuePosition is the place in the line";
                    queued(reason::QUEUED, message.to_owned(), Some(position))
                }
            }
        }
        _ => plan,
    }
}

/// A Job that Kueue starts and stops: nothing of it is changed here.
fn follow(queue: Option<&str>, job: &QueuedJob, workload: Option<&Workload>, plan: Plan) -> Plan {
    let step = plan.step.filter(|step| !matches!(step, Step::Scale(_)));
    let is_working = matches!(plan.phase, Phase::Pending | Phase::Ingesting | Phase::Running | Phase::Reporting);
    if !job.suspended || !is_working {
        return Plan { step, ..plan };
    }
    let place = queue.map_or_else(|| "in a queue of Kueue's".to_owned(), |queue| format!("in the queue {queue:?}"));
    let message = match workload {
        Some(workload) => format!("waiting {place}: {}", workload.message),
        None => format!("waiting {place}: Kueue has not made a Workload of Job {} yet", job.name),
    };
    Plan { step, ..queued(reason::QUEUED, message, None) }
}

fn queued(reason: &'static str, message: String, position: Option<i32>) -> Plan {
    Plan { phase: Phase::Queued { reason, message, position }, step: None }
}

/// Returns when a batch that waits is looked at again: the further behind it is, the later.
pub(super) fn interval(reason: &str, position: Option<i32>) -> Duration {
    match position {
        _ if reason == reason::QUEUE_NOT_AVAILABLE => workloads::INTERVAL,
        Some(position) => Duration::from_secs(position.unsigned_abs().into()).clamp(super::context::STATUS_INTERVAL, MAX_INTERVAL),
        None => MAX_INTERVAL,
    }
}
