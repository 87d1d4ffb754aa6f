//! A controller's executable as one of several, and what its log says of its leadership.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::harness::process::{Process, free_address};
use crate::harness::{Harness, PATIENCE};

pub(super) struct Replica {
    pub(super) name: String,
    pub(super) process: Process,
    ops_listen: SocketAddr,
    log: PathBuf,
}

/// The time in which a replica worked.
#[derive(Debug)]
#[expect(dead_code, reason = "a failed assertion prints the name")]
pub(super) struct Term {
    name: String,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Replica {
    /// Starts a controller for the test's namespace alone.
    pub(super) fn start(harness: &Harness, name: &str, kubeconfig: Option<&Path>) -> Self {
        let namespace = &harness.namespace;
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{namespace}-{name}.log"));
        let ops_listen = free_address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        command
            .args(["run", "--cluster-wide=false", "--worker-image=imagebatch:test"])
            .arg(format!("--namespaces={namespace}"))
            .arg(format!("--lease-namespace={namespace}"))
            .arg(format!("--ops-listen={ops_listen}"))
            .env("IMAGEBATCH_LOG", "imagebatch=info,warn")
            .env("HOSTNAME", name)
            .envs(harness.environment())
            .envs(kubeconfig.map(|it| ("KUBECONFIG", it)))
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("it can be made"));
        Self { name: name.to_owned(), process: Process::start(&mut command), ops_listen, log }
    }

    /// Waits until it is ready; returns while it stands by.
    pub(super) async fn until_ready(&self) {
        let url = format!("http://{}/readyz", self.ops_listen);
        self.until("ready", async || reqwest::get(&url).await.is_ok_and(|it| it.status().is_success()).then_some(()))
            .await;
        assert_eq!(self.said("leading: work starts"), None, "another one leads");
    }

    /// Waits until its work starts, and returns when it did.
    pub(super) async fn until_leading(&self) -> Timestamp {
        self.until("leader", async || self.said("leading: work starts")).await
    }

    /// Returns when its work stopped, if it says so.
    pub(super) fn stopped(&self) -> Option<Timestamp> {
        self.said("work has stopped")
    }

    /// Returns when it worked: until it says so, or else until it was dead.
    pub(super) fn term(&self, dead: Timestamp) -> Term {
        let from = self.said("leading: work starts").expect("it was leader");
        Term { name: self.name.clone(), from, until: self.stopped().unwrap_or(dead) }
    }

    /// Returns when it logged a message first.
    fn said(&self, message: &str) -> Option<Timestamp> {
        let log = std::fs::read_to_string(&self.log).expect("it can be read");
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.find(|line| line["message"] == message)?;
        Some(line["timestamp"].as_str().expect("a time").parse().expect("a time"))
    }

    async fn until<T>(&self, what: &str, met: impl AsyncFn() -> Option<T>) -> T {
        let asked = async {
            loop {
                if let Some(found) = met().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!("{} did not become {what}:\n{log}", self.name)
        })
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // That of a test that failed stays.
        if !std::thread::panicking() {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}
