//! The codec's sandbox in a stage: hostile files among good ones, memory, and what is left at the end.
//! `tests/sandbox` has children that misbehave.

use std::collections::BTreeMap;
use std::time::Duration;

use imagebatch::api::stage::{PERMANENT_EXIT_CODE, STAGE_INPUT_ENV};
use imagebatch::manifest::outcome::FailureReason;

use crate::compressor::Batch;
use crate::harness::{Harness, PATIENCE, bombs};

/// What a stage and its codec children may take together, in KiB.
const MOST_MEMORY: u64 = 400 << 10;

#[tokio::test]
async fn bombs_and_broken_files_cost_only_themselves() {
    let harness = Harness::start().await;
    let bombs = bombs::all();
    let paths: Vec<String> = bombs.iter().map(|bomb| format!("bomb/{}", bomb.name)).collect();
    // A good neighbour before and behind each.
    let mut images = vec!["mountain-thumb.jpg?first".to_owned()];
    for path in &paths {
        images.extend([path.clone(), format!("mountain-thumb.jpg?behind={path}")]);
    }
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let batch = Batch::of_products(&harness, &[&images]);
    // Seconds of the codec are more of the clock where other tests run beside it.
    let patient = ("IMAGEBATCH_IMAGE_TIMEOUT_SECONDS", PATIENCE.as_secs().to_string());
    let mut stage = start(&harness, &batch, &[patient]);
    let process = stage.id().expect("it runs");
    let mut most = 0;
    let status = loop {
        most = most.max(family(process).into_iter().map(peak).sum());
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(5), stage.wait()).await {
            break ended.expect("it can be waited for");
        }
    };
    assert!(status.success(), "{status}");
    let outcomes = batch.outcomes(0).await;
    let codes: Vec<_> = outcomes[&1].images.iter().map(|it| it.reason.map(FailureReason::as_str)).collect();
    let found: Vec<_> = images.iter().zip(&codes).skip(1).step_by(2).map(|(path, code)| (*path, *code)).collect();
    let expected: Vec<_> = paths.iter().zip(bombs).map(|(path, bomb)| (path.as_str(), bomb.code)).collect();
    assert_eq!(found, expected);
    assert!(codes.iter().step_by(2).all(Option::is_none), "neighbours: {codes:?}");
    assert!(most > 0 && most < MOST_MEMORY, "the stage and its children took {most} KiB");
}

#[tokio::test]
async fn codec_children_end_with_their_stage() {
    let harness = Harness::start().await;
    let images: Vec<String> = (0..20).map(|index| format!("dandelion-16mp.jpg?{index}")).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let batch = Batch::of_products(&harness, &[&images]);
    for kill in [true, false] {
        let mut stage = start(&harness, &batch, &[]);
        let process = stage.id().expect("it runs");
        let mut children = Vec::new();
        until("the stage has codec children", || {
            children = family(process);
            children.retain(|child| *child != process);
            !children.is_empty()
        })
        .await;
        if kill {
            stage.kill().await.expect("it can be killed");
        } else {
            let ended = tokio::time::timeout(PATIENCE, stage.wait()).await.expect("the stage ends");
            assert!(ended.expect("it can be waited for").success());
        }
        until("the children are gone", || !children.iter().any(|child| is_alive(*child))).await;
    }
}

#[tokio::test]
async fn a_stage_that_may_need_more_memory_than_it_has_does_not_start() {
    let harness = Harness::start().await;
    let batch = Batch::of_products(&harness, &[&["mountain-thumb.jpg"]]);
    let mebibytes = |count: u64| ("IMAGEBATCH_MEMORY_LIMIT_BYTES", (count << 20).to_string());
    let two = ("IMAGEBATCH_CODEC_THREADS", "2".to_owned());
    for (variables, expected) in [
        (vec![mebibytes(1_000)], Some(PERMANENT_EXIT_CODE.into())),
        (vec![mebibytes(1_100), two.clone()], Some(PERMANENT_EXIT_CODE.into())),
        (vec![mebibytes(1_100)], Some(0)),
        (vec![mebibytes(2_048), two], Some(0)),
    ] {
        let ended = start(&harness, &batch, &variables).wait().await.expect("it can be waited for");
        assert_eq!(ended.code(), expected, "{variables:?}");
    }
}

fn start(harness: &Harness, batch: &Batch<'_>, variables: &[(&str, String)]) -> tokio::process::Child {
    let input = (STAGE_INPUT_ENV, serde_json::to_string(&batch.input).expect("JSON"));
    let variables = variables.iter().cloned().chain([input]).map(|(name, value)| (name.to_owned(), value));
    harness.compressor(&["run"], variables)
}

/// Returns a process and its children.
pub(crate) fn family(process: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let parent = status(id).remove("PPid")?;
        (id == process || parent == process.to_string()).then_some(id)
    });
    processes.collect()
}

/// Returns whether system calls of a process are filtered, as a codec child's are once it has started.
pub(crate) fn is_confined(process: u32) -> bool {
    status(process).get("Seccomp").is_some_and(|mode| mode == "2")
}

/// Returns the most memory that a process has had, in KiB.
fn peak(process: u32) -> u64 {
    let status = status(process);
    let peak = status.get("VmHWM").and_then(|it| it.strip_suffix(" kB")).and_then(|it| it.parse().ok());
    peak.unwrap_or_default()
}

fn is_alive(process: u32) -> bool {
    status(process).get("State").is_some_and(|state| !state.starts_with('Z'))
}

/// Returns what Linux says of a process; nothing when there is none.
fn status(process: u32) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !met() {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "within {PATIENCE:?}: {what}");
}
