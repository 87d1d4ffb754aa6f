//! What the three roles tell of themselves: metrics, logs and traces, each by its real process.

mod collector;
mod exported;
mod logs;
mod metrics;
mod traces;

use std::path::PathBuf;

use crate::harness::{Harness, PATIENCE};

/// Returns a CSV with one product whose images are these paths at the origin.
fn csv(harness: &Harness, paths: &[&str]) -> String {
    let urls: Vec<String> = paths.iter().map(|path| harness.origin.url(path)).collect();
    format!("S. No.,Product Name,Input Image Urls\n1,Clock,\"{}\"\n", urls.join(","))
}

/// Returns a file for a role's log, of this test alone.
fn log_file(harness: &Harness, role: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{role}-{}.log", harness.namespace))
}

/// Asks again and again until there is an answer.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("within {PATIENCE:?}: {what}"))
}
