//! The web page in a real browser, before the gateway's executable with everything behind it; `tests/browser` has
//! the scenarios.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use imagebatch::api::labels;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::process::Command;

use crate::gateway::auth::surroundings::World;
use crate::harness::Harness;
use crate::harness::process::{Gateway, append};

/// Longest time for all scenarios.
const SCENARIOS: Duration = Duration::from_secs(300);
/// What the names of batches begin with whose Jobs do not run.
const HELD: &str = "Held";

#[tokio::test]
async fn a_shop_signs_in_and_works_with_the_page() {
    let mut world = World::start().await;
    let key = world.api_keys().await.authorized;
    let [certificate, private, log] = files(&world.harness);
    let gateway = Gateway::start_https(
        &world.harness,
        &[
            ("IMAGEBATCH_AUTHENTICATION", "api-key"),
            ("IMAGEBATCH_API_KEYS_SECRET", "keys"),
            ("IMAGEBATCH_PRIVATE_IMAGES", "true"),
            ("IMAGEBATCH_TLS_CERTIFICATE", certificate.to_str().expect("text")),
            ("IMAGEBATCH_TLS_KEY", private.to_str().expect("text")),
        ],
        append(&log),
    )
    .await;
    run(&mut world.harness, &gateway, "page", &[("API_KEY", &key)]).await;
    let log = std::fs::read_to_string(log).expect("a log");
    let is_trouble = |line: &&str| ["WARN", "ERROR"].iter().any(|it| line.contains(&format!("\"level\":\"{it}\"")));
    let troubles: Vec<&str> = log.lines().filter(is_trouble).collect();
    assert!(troubles.is_empty(), "the gateway had to complain: {troubles:#?}");
    assert!(log.contains("\"action\":\"upload\""), "{log}");
}

#[tokio::test]
async fn nobody_signs_in_where_nobody_is_authenticated() {
    let mut harness = Harness::start().await;
    let gateway = Gateway::start(&harness, &[]).await;
    run(&mut harness, &gateway, "visit", &[]).await;
}

/// Runs the scenarios of that name before a gateway, with a controller and workers behind it.
async fn run(harness: &mut Harness, gateway: &Gateway, scenarios: &str, variables: &[(&str, &str)]) {
    harness.set("IMAGEBATCH_PUBLIC_BASE_URL", format!("{}/images", gateway.url));
    let _controller = harness.controller().await;
    let _collector = harness.collect_jobs();
    let mut browser = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/run"));
    browser.arg(scenarios).env("HELD", HELD).env("GATEWAY_URL", &gateway.url).envs(variables.iter().copied());
    browser.env("ORIGIN_URL", harness.origin.url("").trim_end_matches('/'));
    let mut browser = browser.kill_on_drop(true).spawn().expect("tests/browser/run starts");
    let ended = tokio::select! {
        ended = tokio::time::timeout(SCENARIOS, browser.wait()) => ended.expect("the scenarios end"),
        () = run_jobs(harness) => panic!("the watch of Jobs ended"),
    };
    assert!(ended.expect("it can be waited for").success(), "a scenario failed; its output is above");
}

/// Runs each Job that comes to its end, but none of the batches that are held. Once the missing photograph was missed
/// it is there.
async fn run_jobs(harness: &Harness) {
    let mut jobs = watcher(harness.jobs(), watcher::Config::default()).applied_objects().boxed();
    let mut seen = HashSet::new();
    while let Some(job) = jobs.next().await {
        let job = job.expect("the watch goes on");
        let batch = harness.batches().get_opt(&job.labels()[labels::BATCH_NAME]).await.expect("the API server answers");
        let name = batch.and_then(|it| it.annotations().get(labels::DISPLAY_NAME).cloned()).unwrap_or_default();
        if name.starts_with(HELD) || !seen.insert(job.uid()) {
            continue;
        }
        let completions = job.spec.as_ref().and_then(|it| it.completions).unwrap_or(1);
        for index in 0..completions {
            let ended = harness.start_pod(&job, index).wait().await.expect("it can be waited for");
            assert!(ended.success(), "pod {index} of {} ended with {ended}", job.name_any());
        }
        harness.end_job(&job, "Complete", None).await;
        if harness.origin.requests("later/wall-clock.jpg") > 0 {
            harness.origin.mend("wall-clock.jpg");
        }
    }
}

/// Returns the files of a certificate for the loopback, which no authority knows, and of its key; and one for a log.
fn files(harness: &Harness) -> [PathBuf; 3] {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-page", harness.namespace));
    std::fs::create_dir_all(&folder).expect("it can be made");
    let write = |name: &str, pem: String| {
        std::fs::write(folder.join(name), pem).expect("it can be written");
        folder.join(name)
    };
    [
        write("server.crt", made.cert.pem()),
        write("server.key", made.signing_key.serialize_pem()),
        folder.join("gateway.log"),
    ]
}
