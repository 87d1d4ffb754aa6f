//! Counts the batches that the watch has seen by their state, for the metrics: right after a restart too.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::Store;

use crate::api::condition::{SUCCEEDED, reason};
use crate::api::image_batch::ImageBatch;
use crate::api::status::ImageBatchStatus;
use crate::metrics::controller::Census;

/// State of a batch that is being deleted, whatever its conditions say.
const DELETING: &str = "Deleting";
/// States of batches that somebody works on, or has asked to pause. Who is in none of them and has not ended
/// waits, whatever for.
const NOT_WAITING: [&str; 5] = [reason::INGESTING, reason::RUNNING, reason::REPORTING, "Suspended", DELETING];

/// Returns a census of what is in the store whenever it is asked.
pub(super) fn census_of(store: Store<ImageBatch>) -> impl Fn() -> Census + Send + Sync {
    move || {
        let batches = store.state();
        count(batches.iter().map(AsRef::as_ref), Timestamp::now())
    }
}

fn count<'a>(batches: impl Iterator<Item = &'a ImageBatch>, now: Timestamp) -> Census {
    let mut census = Census::default();
    for batch in batches {
        let status = batch.status.as_ref();
        let state = match status.and_then(|it| it.condition(SUCCEEDED)) {
            _ if batch.metadata.deletion_timestamp.is_some() => DELETING,
            Some(condition) => &condition.reason,
            None => reason::PENDING,
        };
        let finished = status.is_some_and(ImageBatchStatus::is_finished);
        if !finished && !NOT_WAITING.contains(&state) {
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
    fn a_batch_waits_until_somebody_works_on_it_or_it_ends() {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut deleted = batch(900, now, Some(("Pending", false)));
        deleted.metadata.deletion_timestamp = Some(Time(now));
        let batches = [
            batch(10, now, None),
            batch(70, now, Some(("SourceNotFound", false))),
            batch(30, now, Some(("Pending", false))),
            batch(800, now, Some(("Running", false))),
            batch(900, now, Some(("DeadlineExceeded", true))),
            deleted,
        ];
        let census = count(batches.iter(), now);
        assert_eq!((census.waiting, census.oldest_waiting), (3, Duration::from_secs(70)));
        let states: Vec<(&str, i64)> = census.states.iter().map(|(state, count)| (state.as_str(), *count)).collect();
        let expected =
            [("DeadlineExceeded", 1), ("Deleting", 1), ("Pending", 2), ("Running", 1), ("SourceNotFound", 1)];
        assert_eq!(states, expected);
    }
}
