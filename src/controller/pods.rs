//! What pods and the Events about them say is wrong. Pure; `workers` asks for both.

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::condition::reason;
use crate::manifest::problem::shorten;

/// A pod may be late by this much before somebody is told: kubelets are slow on busy nodes.
const LATE: SignedDuration = SignedDuration::from_secs(10);
/// A pod that has no node for this long is worth a word: clusters scale up in less.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// Bytes of a message: quoted texts of others may be long.
const MAX_MESSAGE: usize = 500;

/// What is known of a batch's pods.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Workers {
    /// Why pods do not start.
    pub problem: Option<Problem>,
    /// Whether all that were to start have.
    pub started: bool,
    /// Pods that should have ended.
    pub stuck: Vec<StuckPod>,
}

/// Why pods do not start.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// One of `condition::reason`'s words.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// A pod that should have ended, and its node does not say that it has.
#[derive(Debug, Clone, PartialEq)]
pub struct StuckPod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The node that it was on.
    pub node: String,
    /// When its grace period was over.
    pub due: Timestamp,
    /// Whether it has been deleted by force.
    pub forced: bool,
}

/// Returns the pods whose grace period has been over for a while. The API server writes the end of the grace
/// period, not its start, into `deletionTimestamp`.
pub(super) fn stuck(pods: &[Pod], now: Timestamp) -> Vec<StuckPod> {
    let due = |pod: &Pod| pod.metadata.deletion_timestamp.as_ref().map(|it| it.0);
    let late = pods.iter().filter_map(|pod| Some((pod, due(pod).filter(|due| now.duration_since(*due) >= LATE)?)));
    late.map(|(pod, due)| StuckPod {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|it| it.node_name.clone()).unwrap_or_default(),
        due,
        forced: false,
    })
    .collect()
}

/// Returns when the next pod will be late that now has time left to end.
pub(super) fn next_late(pods: &[Pod], now: Timestamp) -> Option<SignedDuration> {
    let due = pods.iter().filter_map(|pod| pod.metadata.deletion_timestamp.as_ref());
    due.map(|due| due.0.duration_since(now) + LATE).filter(SignedDuration::is_positive).min()
}

/// Returns why pods do not start, as far as they say it themselves: the first one's reason, and how many more
/// have it.
pub(super) fn problem(pods: &[Pod], now: Timestamp) -> Option<Problem> {
    let mut found = pods.iter().filter(|it| it.metadata.deletion_timestamp.is_none()).filter_map(|pod| {
        let (reason, message) = complaint(pod, now)?;
        Some((reason, format!("pod {}: {message}", pod.name_any())))
    });
    let (reason, first) = found.next()?;
    let more = found.filter(|(other, _)| *other == reason).count();
    let and_more = if more > 0 { format!(" (and {more} more pods)") } else { String::new() };
    Some(Problem { reason, message: format!("{}{and_more}", shorten(&first, MAX_MESSAGE)) })
}

/// Returns a pod that should have started and does not say why it has not.
pub(super) fn silent(pods: &[Pod], now: Timestamp) -> Option<&Pod> {
    pods.iter().find(|pod| {
        let since = pod.metadata.creation_timestamp.as_ref().map_or(now, |it| it.0);
        let is_scheduled = pod.spec.as_ref().is_some_and(|it| it.node_name.is_some());
        pod.metadata.deletion_timestamp.is_none()
            && phase(pod) == "Pending"
            && is_scheduled
            && now.duration_since(since) >= LATE
    })
}

/// Returns what the newest of these Events says, if it is not older than `since`.
pub(super) fn newest(events: &[Event], since: Timestamp) -> Option<String> {
    let time = |event: &Event| {
        let last = event.last_timestamp.as_ref().map(|it| it.0);
        last.or(event.event_time.as_ref().map(|it| it.0)).or(event.creation_timestamp().map(|it| it.0))
    };
    let dated = events.iter().filter_map(|event| Some((time(event).filter(|it| *it >= since)?, event)));
    let (_, newest) = dated.max_by_key(|(time, _)| *time)?;
    let reason = newest.reason.as_deref().unwrap_or("Warning");
    Some(shorten(&format!("{reason}: {}", newest.message.as_deref().unwrap_or_default()), MAX_MESSAGE))
}

/// Returns why a Job has no pods, from what the newest Event about it says.
pub(super) fn no_pods(job: &str, event: &str) -> Problem {
    let reason = if event.contains("exceeded quota") { reason::QUOTA_EXCEEDED } else { reason::PODS_NOT_CREATED };
    Problem { reason, message: format!("Job {job} has no pods: {event}") }
}

/// Returns what a silent pod's newest Event says.
pub(super) fn not_started(pod: &str, event: &str) -> Problem {
    Problem { reason: reason::POD_NOT_STARTED, message: format!("pod {pod}: {event}") }
}

fn complaint(pod: &Pod, now: Timestamp) -> Option<(&'static str, String)> {
    let status = pod.status.as_ref()?;
    let not = |type_: &str, for_so_long: SignedDuration| {
        let condition = status.conditions.iter().flatten().find(|it| it.type_ == type_)?;
        let since = condition.last_transition_time.as_ref().map_or(now, |it| it.0);
        (condition.status != "True" && now.duration_since(since) >= for_so_long).then_some(condition)
    };
    if let Some(scheduled) = not("PodScheduled", PATIENCE) {
        let why = scheduled.message.as_deref().unwrap_or("no node takes it");
        return Some((reason::UNSCHEDULABLE, format!("it has no node: {why}")));
    }
    let container = status.container_statuses.iter().flatten().next()?.state.as_ref()?;
    if let Some(waiting) = &container.waiting {
        let word = waiting.reason.as_deref().unwrap_or_default();
        let reason = match word {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => reason::IMAGE_PULL_FAILED,
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
            | "PreCreateHookError"
            | "PreStartHookError" => reason::CONTAINER_NOT_CREATED,
            _ => return None,
        };
        return Some((reason, format!("{word}: {}", waiting.message.as_deref().unwrap_or("no further word"))));
    }
    // The pods have no probes: one that runs is ready, unless its node is not heard of any more.
    let is_lost = container.running.is_some() && not("Ready", LATE).is_some();
    let node = pod.spec.as_ref()?.node_name.as_deref().unwrap_or_default();
    is_lost
        .then(|| (reason::NODE_NOT_READY, format!("node {node} is not heard of, nobody knows whether it still runs")))
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|it| it.phase.as_deref()).unwrap_or("Pending")
}
