//! The kubectl plugin on a real cluster: what needs a node, above all its port-forwards and the pods' logs.

use std::process::{Command, Output};

use crate::cluster::{get, many, sample_csv, upload_accepted, url, variable, wait_finished};

fn plugin(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-imagebatch"));
    command.args(arguments).args(["--namespace", &variable("DEMO_NAMESPACE")]);
    command.output().expect("the plugin runs")
}

/// Runs a command that must end with this code, and returns what it printed.
fn printed(arguments: &[&str], code: i32) -> String {
    let output = plugin(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}\n{stderr}");
    stdout
}

fn file(name: &str, csv: &str) -> String {
    let path = std::env::temp_dir().join(format!("imagebatch-e2e-{}-{name}", std::process::id()));
    std::fs::write(&path, csv).expect("it can be written");
    path.to_str().expect("a path in UTF-8").to_owned()
}

#[tokio::test]
async fn both_ways_of_a_file_end_and_are_downloaded_by_a_port_forward() {
    let csv = file("sample.csv", &sample_csv());
    for way in ["config-map", "gateway"] {
        let done = printed(&["submit", &csv, "--via", way, "--wait", "-o", "name"], 2);
        let name = done.trim().strip_prefix("imagebatch.imagebatch.io/").expect("a name").to_owned();
        let batch = get("imagebatch", &name);
        assert_eq!((&batch["status"]["images"], &batch["status"]["failed"]), (&34.into(), &3.into()), "{way}");
        let output = printed(&["output", &name], 0);
        let by_url = reqwest::get(url(&format!("/v1/batches/{name}/output.csv"))).await.expect("an answer");
        assert_eq!(output, by_url.text().await.expect("text"), "{way}");
        assert_eq!(printed(&["failures", &name], 0).lines().count(), 4);
        let logs = printed(&["logs", &name], 0);
        assert!(logs.lines().any(|it| it.starts_with('{')), "{way}: {logs}");
    }
    std::fs::remove_file(csv).expect("it is there");
}

#[tokio::test]
async fn logs_are_followed_to_the_end() {
    let name = upload_accepted(many(80, 4), "").await;
    let logs = tokio::task::spawn_blocking({
        let name = name.clone();
        move || printed(&["logs", &name, "--follow"], 0)
    });
    let batch = wait_finished(&name);
    assert_eq!(batch["status"]["succeeded"], 320);
    let logs = logs.await.expect("it ends");
    for stage in ["ingest", "compress", "report"] {
        assert!(logs.contains(&format!("[{name}-{stage}-")), "{stage}: {logs}");
    }
}

#[test]
fn the_doctor_finds_nothing_wrong() {
    let report = printed(&["doctor"], 0);
    for check in ["definition", "rights", "namespace", "controller", "gateway", "storage", "mongodb", "dns", "access"] {
        assert!(report.lines().any(|it| it.starts_with("ok") && it.contains(check)), "{check}: {report}");
    }
}
