//! Whether a batch's turn has come: in the installation's own line, or in a queue of Kueue's.
//!
//! It comes after the plan, which knows of neither: what would be started waits here.

use std::time::Duration;

use super::context::Context;
use super::kueue::Workload;
use super::observe::{Observed, WorkingJob};
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
    let job = observed.working_job.as_ref().filter(|job| is_kueues(context, job, &plan));
    if queue.is_none() && job.is_none() {
        return take_place(context, batch, plan).await;
    }
    let starts = matches!(plan.step, Some(Step::Start { .. }));
    let waits = starts || job.is_some_and(|job| job.suspended);
    if queue.is_some()
        && waits
        && is_working(&plan.phase)
        && let Some(problem) = context.workloads.problem().await
    {
        return queued(reason::QUEUE_NOT_AVAILABLE, format!("spec.queueName is set, and {problem}"), None);
    }
    match job {
        Some(job) => follow(queue, job, context.workloads.of_job(&job.uid), plan),
        // The Job is created suspended.
        None if starts => {
            let message = format!("waiting {}: Kueue has not seen its Job yet", place(queue));
            Plan { step: plan.step, ..queued(reason::QUEUED, message, None) }
        }
        None => plan,
    }
}

/// Returns whether Kueue starts and stops the Job. It may also manage those that name no queue.
fn is_kueues(context: &Context, job: &WorkingJob, plan: &Plan) -> bool {
    let differs = job.suspended || matches!(plan.step, Some(Step::Adjust { .. }));
    job.queued || (differs && context.workloads.of_job(&job.uid).is_some())
}

/// In the installation's own line.
async fn take_place(context: &Context, batch: &ImageBatch, plan: Plan) -> Plan {
    let begins = match &plan.step {
        // What was stopped is settled at once.
        Some(Step::Start { stage, .. }) => *stage != Stage::Report,
        Some(Step::Adjust { suspend, .. }) => !suspend,
        _ => false,
    };
    match &plan.phase {
        Phase::Ended(_) | Phase::Suspended | Phase::WaitingForSource { .. } => {
            context.places.leave(batch.metadata.uid.as_deref().unwrap_or_default());
            plan
        }
        _ if begins => match context.places.ask(batch).await {
            None => plan,
            Some(position) => {
                let message = "as many batches as the installation allows are being worked on; \
                               status.queuePosition is the place in the line";
                queued(reason::QUEUED, message.to_owned(), Some(position))
            }
        },
        _ => plan,
    }
}

/// A Job that Kueue starts and stops: nothing of it is changed here, but its Workload may be switched.
fn follow(queue: Option<&str>, job: &WorkingJob, workload: Option<Workload>, plan: Plan) -> Plan {
    let is_held = plan.phase == Phase::Suspended;
    let step = match (plan.step, &workload) {
        (Some(Step::Adjust { .. }) | None, Some(Workload { name, active, is_ours, .. })) => {
            // What Kueue or somebody else switched off is theirs to switch on.
            let switches = if is_held { *active } else { *is_ours && is_working(&plan.phase) };
            switches.then(|| Step::Switch { workload: name.clone(), active: !is_held })
        }
        (Some(Step::Adjust { .. }) | None, None) => None,
        (step, _) => step,
    };
    if !job.suspended || !is_working(&plan.phase) {
        return Plan { step, phase: plan.phase };
    }
    let cause = match workload {
        Some(workload) => workload.message,
        None => format!("Kueue has not made a Workload of Job {} yet", job.name),
    };
    let message = format!("waiting {}: {cause}", place(queue));
    Plan { step, ..queued(reason::QUEUED, message, None) }
}

fn place(queue: Option<&str>) -> String {
    queue.map_or_else(|| "in a queue of Kueue's".to_owned(), |queue| format!("in the queue {queue:?}"))
}

fn is_working(phase: &Phase) -> bool {
    matches!(phase, Phase::Pending | Phase::Ingesting | Phase::Running | Phase::Reporting)
}

fn queued(reason: &'static str, message: String, position: Option<i32>) -> Plan {
    Plan { phase: Phase::Queued { reason, message, position }, step: None }
}

/// Returns when a batch that waits is looked at again: the further behind it is, the later.
pub(super) fn interval(reason: &str, position: Option<i32>) -> Duration {
    match position {
        _ if reason == reason::QUEUE_NOT_AVAILABLE => workloads::INTERVAL,
        Some(position) => {
            Duration::from_secs(position.unsigned_abs().into()).clamp(super::context::STATUS_INTERVAL, MAX_INTERVAL)
        }
        None => MAX_INTERVAL,
    }
}
