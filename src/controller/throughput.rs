//! How fast a batch is, and when it will be done. Pure.
//!
//! While it runs this is the speed of the last half minute or minute, so that it follows a change of
//! `parallelism`: the status keeps two marks, the older of which the speed is counted from. Time in which
//! nothing may run does not count. In the end it is the speed of the whole run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;

use super::plan::{End, Phase};
use crate::api::status::{ImageBatchStatus, ProgressMark};

/// Seconds between two marks.
const WINDOW: i64 = 30;

/// Sets throughput and estimated end from the counts that the status has already.
pub(super) fn set_throughput(status: &mut ImageBatchStatus, before: &ImageBatchStatus, phase: &Phase, now: &Time) {
    match phase {
        Phase::Running => set_recent(status, before, now),
        Phase::Ended(End::Reported { result, .. }) => {
            let unprocessed = result.unprocessed.map_or(0, |it| it.images);
            forget(status);
            status.images_per_minute = whole_run(status).map(|seconds| (worked(status) - unprocessed) * 60 / seconds);
        }
        _ => forget(status),
    }
}

fn forget(status: &mut ImageBatchStatus) {
    status.progress_marks.clear();
    status.images_per_minute = None;
    status.estimated_completion_time = None;
}

fn set_recent(status: &mut ImageBatchStatus, before: &ImageBatchStatus, now: &Time) {
    let done = worked(status);
    let marks = &mut status.progress_marks;
    let due = marks.last().is_none_or(|it| now.0.as_second() - it.time.0.as_second() >= WINDOW);
    if due {
        marks.push(ProgressMark { time: now.clone(), done });
        let surplus = marks.len().saturating_sub(2);
        marks.drain(..surplus);
    }
    // Nothing new is worth no write.
    if !due && done == worked(before) {
        return;
    }
    let Some(from) = status.progress_marks.first() else { return };
    let (seconds, images) = (now.0.as_second() - from.time.0.as_second(), done - from.done);
    if seconds <= 0 {
        return;
    }
    status.images_per_minute = Some(images * 60 / seconds);
    let left = status.images.unwrap_or_default() - status.succeeded - status.failed;
    status.estimated_completion_time = (images > 0)
        .then(|| now.0.checked_add(SignedDuration::from_secs(left.max(0) * seconds / images)).ok())
        .flatten()
        .map(Time);
}

/// Images that this batch has worked on; those that a retry took over cost no time.
fn worked(status: &ImageBatchStatus) -> i64 {
    (status.succeeded + status.failed - status.reused.unwrap_or_default()).max(0)
}

fn whole_run(status: &ImageBatchStatus) -> Option<i64> {
    let (start, end) = (status.start_time.as_ref()?, status.completion_time.as_ref()?);
    let seconds = end.0.as_second() - start.0.as_second() - status.suspended_seconds.unwrap_or_default();
    Some(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::records::result::ReportResult;

    fn at(seconds: i64) -> Time {
        Time(Timestamp::from_second(1_800_000_000 + seconds).expect("a time"))
    }

    /// Brings a status from one moment to the next.
    fn step(status: &mut ImageBatchStatus, phase: &Phase, now: i64, succeeded: i64) {
        let before = status.clone();
        status.succeeded = succeeded;
        set_throughput(status, &before, phase, &at(now));
    }

    #[test]
    fn the_speed_is_that_of_the_last_minute() {
        let mut status = ImageBatchStatus { images: Some(10_000), ..ImageBatchStatus::default() };
        step(&mut status, &Phase::Running, 0, 0);
        assert_eq!((status.images_per_minute, &status.estimated_completion_time), (None, &None), "nothing is known");
        step(&mut status, &Phase::Running, 10, 100);
        assert_eq!(status.images_per_minute, Some(600));
        assert_eq!(status.estimated_completion_time, Some(at(10 + 990)));
        let same = status.clone();
        step(&mut status, &Phase::Running, 20, 100);
        assert_eq!(status, same, "without progress there is nothing to write");
        // Ten times as many pods.
        for second in 3..=12 {
            step(&mut status, &Phase::Running, 10 * second, 100 * second * 10);
        }
        assert_eq!(status.images_per_minute, Some(6_000));
        assert!(status.progress_marks.len() <= 2);
        for second in [130, 160, 190, 220] {
            step(&mut status, &Phase::Running, second, 12_000);
        }
        assert_eq!((status.images_per_minute, &status.estimated_completion_time), (Some(0), &None), "it stalls");
    }

    #[test]
    fn a_suspended_batch_has_no_speed() {
        let mut status = ImageBatchStatus { images: Some(100), ..ImageBatchStatus::default() };
        step(&mut status, &Phase::Running, 0, 0);
        step(&mut status, &Phase::Running, 10, 10);
        step(&mut status, &Phase::Suspended, 12, 10);
        assert_eq!((status.images_per_minute, status.progress_marks.len()), (None, 0));
        step(&mut status, &Phase::Running, 5_000, 10);
        step(&mut status, &Phase::Running, 5_010, 20);
        assert_eq!(status.images_per_minute, Some(60), "time suspended does not count");
    }

    #[test]
    fn in_the_end_it_is_the_speed_of_the_whole_run() {
        let mut status = ImageBatchStatus {
            start_time: Some(at(0)),
            completion_time: Some(at(100)),
            suspended_seconds: Some(40),
            reused: Some(30),
            ..ImageBatchStatus::default()
        };
        let ended = Phase::Ended(End::Reported { result: ReportResult::default(), stop: None });
        step(&mut status, &ended, 100, 90);
        assert_eq!(status.images_per_minute, Some(60));
    }
}
