//! The web page in a real browser, before a gateway with everything behind it; `tests/browser` has the scenarios.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::process::Command;

use crate::harness::Harness;

/// Longest time for all scenarios.
const SCENARIOS: Duration = Duration::from_secs(300);

#[tokio::test]
#[ignore = "the page needs the session, the list of batches, their products and events"]
async fn a_shop_works_with_the_page() {
    let mut harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    harness.set("IMAGEBATCH_PUBLIC_BASE_URL", format!("{url}/images"));
    let _controller = harness.controller().await;

    let mut scenarios = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/run"));
    scenarios.env("GATEWAY_URL", &url).env("ORIGIN_URL", harness.origin.url("").trim_end_matches('/'));
    let mut scenarios = scenarios.kill_on_drop(true).spawn().expect("tests/browser/run starts");
    let ended = tokio::select! {
        ended = tokio::time::timeout(SCENARIOS, scenarios.wait()) => ended.expect("the scenarios end"),
        () = run_jobs(&harness) => panic!("the watch of Jobs ended"),
    };
    assert!(ended.expect("it can be waited for").success(), "a scenario failed; its output is above");
}

/// Runs each Job that comes to its end. After the first one the missing photograph is there.
async fn run_jobs(harness: &Harness) {
    let mut jobs = watcher(harness.jobs(), watcher::Config::default()).applied_objects().boxed();
    let mut seen = HashSet::new();
    while let Some(job) = jobs.next().await {
        let job = job.expect("the watch goes on");
        if !seen.insert(job.uid()) {
            continue;
        }
        let completions = job.spec.as_ref().and_then(|it| it.completions).unwrap_or(1);
        for index in 0..completions {
            let ended = harness.start_pod(&job, index).wait().await.expect("it can be waited for");
            assert!(ended.success(), "pod {index} of {} ended with {ended}", job.name_any());
        }
        harness.end_job(&job, "Complete", None).await;
        harness.origin.mend("wall-clock.jpg");
    }
}
