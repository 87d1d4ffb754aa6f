//! Counts the batches that the watch has seen by their state, for the metrics: right after a restart too.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::batches::Batches;
use crate::api::condition::{SUCCEEDED, reason};
use crate::api::image_batch::ImageBatch;
use crate::metrics::controller::Census;

/// State of a batch that is being deleted, whatever its conditions say.
const DELETING: &str = "Deleting";
/// States of batches whose turn has not come, in the installation's own line or in Kueue's. Who was not looked at
/// yet waits too.
const WAITING: [&str; 2] = [reason::QUEUED, reason::QUEUE_NOT_AVAILABLE];

/// Returns a census of what the watch has shown.
pub(super) fn census_of(batches: &Batches) -> Census {
    let open = batches.open().state();
    let mut census = count(open.iter().map(AsRef::as_ref), Timestamp::now());
    for (state, settled) in batches.settled() {
        *census.states.entry(state).or_default() += settled;
    }
    census
}

fn count<'a>(batches: impl Iterator<Item = &'a ImageBatch>, now: Timestamp) -> Census {
    let mut census = Census::default();
    for batch in batches {
        let status = batch.status.as_ref();
        let (state, waits) = match status.and_then(|it| it.condition(SUCCEEDED)) {
            _ if batch.metadata.deletion_timestamp.is_some() => (DELETING, false),
            Some(condition) => (condition.reason.as_str(), WAITING.contains(&condition.reason.as_str())),
            None => (reason::PENDING, !batch.spec.suspend),
        };
        if waits {
            census.waiting += 1;
            census.oldest_waiting = census.oldest_waiting.max(age(batch, now));
        }
        match census.states.get_mut(state) {
            Some(count) => *count += 1,
            None => drop(census.states.insert(state.to_owned(), 1)),
        }
    }
    census
}

/// Returns the time since a batch was created; 0 where clocks differ.
pub(super) fn age(batch: &ImageBatch, now: Timestamp) -> Duration {
    let created = batch.metadata.creation_timestamp.as_ref().map_or(now, |it| it.0);
    Duration::try_from(now.duration_since(created)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    fn batch(age_seconds: i64, now: Timestamp, state: Option<(&str, bool)>) -> ImageBatch {
        let condition = |type_: &str, status: &str, reason: &str| json!({ "type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": now });
        let status = state.map(|(word, finished)| {
            let finished = if finished { "True" } else { "False" };
            json!({ "conditions": [condition("Succeeded", "Unknown", word), condition("Finished", finished, word)] })
        });
        let mut batch: ImageBatch = serde_json::from_value(json!({
            "apiVersion": "imagebatch.io/v1alpha1",
            "kind": "ImageBatch",
            "metadata": { "name": "any" },
            "spec": { "source": { "failedOf": { "name": "other" } } },
            "status": status,
        }))
        .expect("an ImageBatch");
        let created = Timestamp::from_second(now.as_second() - age_seconds).expect("a time");
        batch.metadata.creation_timestamp = Some(Time(created));
        batch
    }

    #[test]
    fn a_batch_waits_until_its_turn_comes() {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut deleted = batch(900, now, Some(("Pending", false)));
        deleted.metadata.deletion_timestamp = Some(Time(now));
        let batches = [
            batch(10, now, None),
            batch(70, now, Some(("Queued", false))),
            batch(60, now, Some(("QueueNotAvailable", false))),
            batch(700, now, Some(("Suspended", false))),
            batch(800, now, Some(("SourceNotFound", false))),
            batch(800, now, Some(("Pending", false))),
            batch(800, now, Some(("Running", false))),
            batch(900, now, Some(("DeadlineExceeded", true))),
            deleted,
        ];
        let census = count(batches.iter(), now);
        assert_eq!((census.waiting, census.oldest_waiting), (3, Duration::from_secs(70)));
        let states: Vec<(&str, i64)> = census.states.iter().map(|(state, count)| (state.as_str(), *count)).collect();
        let expected = [
            ("DeadlineExceeded", 1),
            ("Deleting", 1),
            ("Pending", 2),
            ("QueueNotAvailable", 1),
            ("Queued", 1),
            ("Running", 1),
            ("SourceNotFound", 1),
            ("Suspended", 1),
        ];
        assert_eq!(states, expected);
    }
}
