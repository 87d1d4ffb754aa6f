//! The kubectl plugin, as a process against the real API server; port-forwards need a node: `tests/e2e/plugin.rs`.

mod batches;
mod doctor;
mod gateway;
mod reference;
mod validate;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::harness::{Harness, PATIENCE};

/// What a command printed, and its exit code.
#[derive(Debug)]
struct Printed {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Returns a command of the plugin.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-imagebatch"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts a command in the test's namespace.
fn start(harness: &Harness, arguments: &[&str]) -> Child {
    let started = command(arguments).args(["--namespace", &harness.namespace]).spawn();
    started.expect("the plugin starts")
}

async fn ended(child: Child) -> Printed {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("the plugin ends").expect("it can be waited for");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    Printed {
        code: output.status.code().expect("an exit code"),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Runs a command in the test's namespace to its end.
async fn run(harness: &Harness, arguments: &[&str]) -> Printed {
    ended(start(harness, arguments)).await
}

impl Printed {
    /// Returns what was printed by a command that must end with this code.
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Returns the words of each line of the result.
    fn rows(&self) -> Vec<Vec<&str>> {
        self.stdout.lines().map(|line| line.split_whitespace().collect()).collect()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("plugin-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&folder).expect("a new folder");
        Self(folder)
    }

    /// Writes a file and returns its path.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("it can be written");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("it can be removed");
    }
}
