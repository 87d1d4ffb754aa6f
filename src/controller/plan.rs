//! What is to be done next. Pure: an ImageBatch and what was observed in, a plan out.
//!
//! A small batch has one Job `run`; others have `ingest`, `compress` and `report` one after the other.
//! Results in the records decide, Jobs only say whether somebody works on them: a Job that was deleted
//! by hand is made again as long as its result is not there. The `report` Job also follows a `run` or
//! `compress` that failed or was stopped, so that every accepted image gets an outcome.

use k8s_openapi::jiff::Timestamp;

use super::mode::{completions_of, is_fused, parallelism_of};
use super::observe::{ConfigMapState, JobEnd, JobState, Observed, Retried};
use super::stop::{self, Stop};
use crate::api::condition::reason;
use crate::api::image_batch::ImageBatchSpec;
use crate::api::source::MAX_INLINE_BYTES;
use crate::api::stage::{Stage, UnprocessedCause};
use crate::api::status::Retry;
use crate::records::result::ReportResult;

/// What a plan needs to know of the ImageBatch.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What was asked for.
    pub spec: &'a ImageBatchSpec,
    /// What it builds on, once that is decided; only a retry has it.
    pub retry: Option<&'a Retry>,
    /// Whether the installation works in the batch's namespace.
    pub enabled: bool,
    /// When the batch is to be stopped.
    pub deadline: Timestamp,
}

/// Where a batch stands, and what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where it stands.
    pub phase: Phase,
    /// What to do now; the next observation follows.
    pub step: Option<Step>,
}

/// Where a batch stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// The ConfigMap source, or the batch that is to be retried, is not there or not ready (yet).
    WaitingForSource {
        /// One of `condition::reason`'s words.
        reason: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// Its turn has not come.
    Queued {
        /// One of `condition::reason`'s words.
        reason: &'static str,
        /// A sentence for people.
        message: String,
        /// Its place in the installation's own line.
        position: Option<i32>,
    },
    /// `spec.suspend` holds it.
    Suspended,
    /// Its Jobs are being ended.
    Stopping(Stop),
    /// No pod runs yet.
    Pending,
    /// The source is read.
    Ingesting,
    /// Images are compressed.
    Running,
    /// Every image has an outcome, the reports are being written.
    Reporting,
    /// Nothing is left to do.
    Ended(End),
}

/// How a batch ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// The installation does not work in the batch's namespace.
    NamespaceNotEnabled,
    /// The source cannot be worked on; the problems are in ingest's result, or this message says it.
    Refused(Option<String>),
    /// The webhook's events could not be signed; holds the message.
    WebhookRefused(String),
    /// The batch that was to be retried cannot be; holds the message.
    NothingToRetry(String),
    /// The ingest pods failed too often.
    IngestFailed,
    /// Stopped before the source was accepted.
    StoppedBeforeIngest(Stop),
    /// The reports are written.
    Reported {
        /// The final figures.
        result: ReportResult,
        /// Why it was stopped before its end, if it was.
        stop: Option<Stop>,
    },
    /// The report pods failed too often.
    ReportFailed,
}

/// A change of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Create a stage's Job.
    Start {
        /// The stage.
        stage: Stage,
        /// How many indexes its Job has.
        completions: i32,
        /// How many of them run at the same time.
        parallelism: i32,
        /// Seconds until the Job is stopped.
        deadline_seconds: Option<i64>,
        /// Why images without an outcome have none; for the report.
        cause: UnprocessedCause,
    },
    /// Change a Job that exists.
    Adjust {
        /// The stage.
        stage: Stage,
        /// Whether its pods end and none is started.
        suspend: bool,
        /// How many of its indexes run at the same time.
        parallelism: i32,
        /// Seconds until the Job is stopped.
        deadline_seconds: Option<i64>,
    },
    /// Switch the Workload of a Job that Kueue starts and stops.
    Switch {
        /// The Workload's name.
        workload: String,
        /// Whether it may be admitted.
        active: bool,
    },
    /// Delete these stages' Jobs with their pods.
    End(Vec<Stage>),
}

/// Plans the next step of a batch.
#[must_use]
pub fn plan(subject: Subject<'_>, observed: &Observed, now: Timestamp) -> Plan {
    if !subject.enabled {
        return ended(End::NamespaceNotEnabled);
    }
    if let Some(message) = oversized_products(subject.spec) {
        return ended(End::Refused(Some(message)));
    }
    if let Some(message) = &observed.webhook_problem {
        return ended(End::WebhookRefused(message.clone()));
    }
    let working = observed.jobs.values().any(|job| job.ended.is_none());
    if let Some(result) = observed.report.clone().filter(|_| !working) {
        let deadline = observed.jobs.values().any(|job| job.ended == Some(JobEnd::DeadlineExceeded));
        let stop = stop::stopped(subject.spec, &result, deadline);
        return ended(End::Reported { result, stop });
    }
    let refused = observed.ingest.as_ref().is_some_and(|it| !it.accepted);
    if refused && !working {
        return ended(End::Refused(None));
    }
    if !observed.jobs.contains_key(&Stage::Report)
        && let Some(stop) = stop::stop(subject.spec, observed)
    {
        return stopping(stop, observed);
    }
    let plan = if stop::is_held(subject.spec) {
        waiting(Phase::Suspended)
    } else if refused {
        // Its pod ends after its result is recorded.
        waiting(Phase::Ingesting)
    } else {
        go_on(subject, observed, now)
    };
    Plan { step: plan.step.or_else(|| adjust(subject, observed, now)), ..plan }
}

/// Ends the Jobs that work, then has the report settle what they left, if there is anything.
fn stopping(stop: Stop, observed: &Observed) -> Plan {
    let working = || observed.jobs.iter().filter(|(_, job)| job.ended.is_none());
    if working().next().is_some() {
        let left: Vec<Stage> = working().filter(|(_, job)| !job.deleting).map(|(stage, _)| *stage).collect();
        return Plan { phase: Phase::Stopping(stop), step: (!left.is_empty()).then_some(Step::End(left)) };
    }
    if observed.ingest.is_some() { start_report(stop.cause()) } else { ended(End::StoppedBeforeIngest(stop)) }
}

/// Returns what is to be changed in a Job that works.
fn adjust(subject: Subject<'_>, observed: &Observed, now: Timestamp) -> Option<Step> {
    let suspend = stop::is_held(subject.spec);
    observed.jobs.iter().filter(|(_, job)| job.ended.is_none() && !job.deleting).find_map(|(&stage, job)| {
        let parallelism = parallelism_of(stage, subject.spec, job.completions);
        if (job.suspended, job.parallelism) == (suspend, parallelism) {
            return None;
        }
        // Kubernetes counts a Job's deadline anew when it is resumed.
        let resumed = job.suspended && !suspend;
        let left = || (subject.deadline.as_second() - now.as_second()).max(1);
        let deadline_seconds = job.deadline_seconds.map(|seconds| if resumed { left() } else { seconds });
        Some(Step::Adjust { stage, suspend, parallelism, deadline_seconds })
    })
}

/// Plans the next step of a batch that is neither held nor stopped.
fn go_on(subject: Subject<'_>, observed: &Observed, now: Timestamp) -> Plan {
    if let Some(report) = observed.jobs.get(&Stage::Report) {
        return match report.ended {
            None | Some(JobEnd::Complete) => waiting(Phase::Reporting),
            Some(JobEnd::Failed | JobEnd::DeadlineExceeded) => ended(End::ReportFailed),
        };
    }
    let wait = |reason, message: &String| {
        if now < subject.deadline {
            waiting(Phase::WaitingForSource { reason, message: message.clone() })
        } else {
            ended(End::StoppedBeforeIngest(Stop::DeadlineExceeded))
        }
    };
    if let Some(ConfigMapState::Missing(message)) = &observed.config_map {
        return wait(reason::SOURCE_NOT_FOUND, message);
    }
    match &observed.retried {
        Some(Retried::Missing(message)) => return wait(reason::SOURCE_NOT_FOUND, message),
        Some(Retried::Unfinished(message)) => return wait(reason::SOURCE_NOT_FINISHED, message),
        Some(Retried::Impossible(message)) => return ended(End::NothingToRetry(message.clone())),
        // Before the first pod the status says what the retry builds on: the earlier batch may go.
        Some(Retried::Ready(_)) => return waiting(Phase::Pending),
        None => {}
    }
    let stage = if is_fused(subject.spec, subject.retry, observed) {
        Stage::Run
    } else if observed.ingest.is_some() {
        Stage::Compress
    } else {
        Stage::Ingest
    };
    match observed.jobs.get(&stage) {
        None => start(stage, subject, observed, now),
        Some(JobState { ended: None, .. }) => waiting(phase_of(stage, observed)),
        Some(JobState { ended: Some(end), .. }) => after(*end, observed),
    }
}

/// The Job of the processing stage ended without a report: settle what it left, if there is anything.
fn after(end: JobEnd, observed: &Observed) -> Plan {
    if observed.ingest.is_none() {
        return match end {
            // Its result was recorded before it completed, so it shows up with the next observation.
            JobEnd::Complete => waiting(Phase::Ingesting),
            JobEnd::Failed => ended(End::IngestFailed),
            JobEnd::DeadlineExceeded => ended(End::StoppedBeforeIngest(Stop::DeadlineExceeded)),
        };
    }
    let cause = match end {
        JobEnd::DeadlineExceeded => UnprocessedCause::DeadlineExceeded,
        JobEnd::Complete | JobEnd::Failed => UnprocessedCause::ShardFailed,
    };
    start_report(cause)
}

fn start(stage: Stage, subject: Subject<'_>, observed: &Observed, now: Timestamp) -> Plan {
    let left = subject.deadline.as_second() - now.as_second();
    if left <= 0 {
        return if observed.ingest.is_some() {
            start_report(UnprocessedCause::DeadlineExceeded)
        } else {
            ended(End::StoppedBeforeIngest(Stop::DeadlineExceeded))
        };
    }
    let completions = completions_of(stage, observed);
    let step = Step::Start {
        stage,
        completions,
        parallelism: parallelism_of(stage, subject.spec, completions),
        deadline_seconds: Some(left),
        cause: UnprocessedCause::ShardFailed,
    };
    Plan { phase: phase_of(stage, observed), step: Some(step) }
}

fn start_report(cause: UnprocessedCause) -> Plan {
    let step = Step::Start { stage: Stage::Report, completions: 1, parallelism: 1, deadline_seconds: None, cause };
    Plan { phase: Phase::Reporting, step: Some(step) }
}

fn phase_of(stage: Stage, observed: &Observed) -> Phase {
    if observed.jobs.get(&stage).is_none_or(|job| job.ready == 0) && observed.progress.done() == 0 {
        return if observed.ingest.is_some() { Phase::Running } else { Phase::Pending };
    }
    match &observed.ingest {
        None => Phase::Ingesting,
        Some(ingest) if stage == Stage::Run && observed.progress.done() >= ingest.images => Phase::Reporting,
        Some(_) => Phase::Running,
    }
}

fn oversized_products(spec: &ImageBatchSpec) -> Option<String> {
    let products = spec.source.products.as_ref()?;
    let size = serde_json::to_vec(products).map_or(0, |json| json.len());
    (size > MAX_INLINE_BYTES).then(|| {
        format!("spec.source.products has {size} bytes as JSON, more than {MAX_INLINE_BYTES}: use a ConfigMap or upload a CSV")
    })
}

fn waiting(phase: Phase) -> Plan {
    Plan { phase, step: None }
}

fn ended(end: End) -> Plan {
    waiting(Phase::Ended(end))
}
