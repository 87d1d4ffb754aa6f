//! A batch from `submit` to `retry`, by the API server alone but for what only the gateway has.

use imagebatch::api::stage::Stage;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{Folder, ended, run, start};
use crate::harness::{Harness, PATIENCE};

fn csv(harness: &Harness) -> String {
    let good = harness.origin.url("wall-clock.jpg");
    let bad = harness.origin.url("page.jpg");
    format!("S. No.,Product Name,Input Image Urls\n1,Clock,{good}\n2,Page,{bad}\n")
}

#[tokio::test]
async fn a_small_file_goes_by_config_map_to_its_end() {
    let (mut harness, folder) = (Harness::start().await, Folder::new());
    let file = folder.write("products.csv", csv(&harness));
    // Where the kubelet would mount the ConfigMap, under its key.
    let mount = folder.path().to_str().expect("UTF-8").to_owned();
    harness.pod_variables.push(("IMAGEBATCH_SOURCE_DIR".to_owned(), mount));
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;

    let submit = start(&harness, &["submit", &file, "--name", "spring", "--display-name", "Spring", "--wait"]);
    harness.run_job("spring", Stage::Run).await;
    let printed = ended(submit).await.expect(2);
    assert!(printed.stdout.starts_with("imagebatch.imagebatch.io/spring created\nName:"), "{}", printed.stdout);
    for part in ["State:      ImagesFailed", "2 of 2 (100%): 1 stored, 1 failed", "2     1       NotAnImage   http://"]
    {
        assert!(printed.stdout.contains(part), "{part}: {}", printed.stdout);
    }
    for part in ["warning[InsecureUrl]", "spring: ", "kubectl imagebatch retry spring -n it-"] {
        assert!(printed.stderr.contains(part), "{part}: {}", printed.stderr);
    }
    // The ConfigMap goes with its batch.
    let batch = harness.batches().get("spring").await.expect("it exists");
    let config_maps: Api<ConfigMap> = Api::namespaced(harness.client.clone(), &harness.namespace);
    let owner = config_maps.get("spring").await.expect("it exists").owner_references()[0].clone();
    assert_eq!((owner.kind.as_str(), Some(owner.uid)), ("ImageBatch", batch.uid()));

    let listed = run(&harness, &["list"]).await.expect(0);
    assert_eq!(listed.rows()[0], ["NAME", "STATE", "IMAGES", "DONE", "FAILED", "SAVED", "AGE"]);
    assert_eq!(listed.rows()[1][..5], ["spring", "ImagesFailed", "2", "1", "1"]);
    assert_eq!(run(&harness, &["list", "-o", "name"]).await.expect(0).stdout, "imagebatch.imagebatch.io/spring\n");
    assert_eq!(run(&harness, &["list", "--state", "Running"]).await.expect(0).stdout, "");
    assert_eq!(run(&harness, &["status", "spring", "-o", "json"]).await.expect(0).json()["status"]["failed"], 1);
    let failures = run(&harness, &["failures", "spring"]).await.expect(0);
    assert_eq!(failures.rows()[1][..3], ["2", "1", "NotAnImage"]);

    let at_gateway = |arguments: &[&'static str]| [arguments, &["--gateway-url", url.clone().leak()]].concat();
    let output = run(&harness, &at_gateway(&["output", "spring"])).await.expect(0).stdout;
    assert!(output.lines().nth(1).is_some_and(|it| it.contains("https://cdn.example/images/")), "{output}");
    let into = folder.path().join("failed.csv");
    let arguments = ["output", "spring", "--failed", "--file", into.to_str().expect("UTF-8"), "--gateway-url", &url];
    run(&harness, &arguments).await.expect(0);
    assert_eq!(std::fs::read_to_string(&into).expect("it is written").lines().count(), 2);
    let printed = run(&harness, &at_gateway(&["output", "summer"])).await.expect(1);
    assert!(printed.stderr.contains("[BatchNotFound, request "), "{}", printed.stderr);

    let retry = start(&harness, &["retry", "spring", "--wait", "-o", "name"]);
    let again = harness.wait("spring", "retried", |it| it.status.as_ref().is_some_and(|it| !it.retried_by.is_empty()));
    let again = again.await.status.expect("a status").retried_by[0].clone();
    harness.run_job(&again, Stage::Run).await;
    assert_eq!(ended(retry).await.expect(2).stdout, format!("imagebatch.imagebatch.io/{again}\n"));
    let printed = run(&harness, &["retry", "spring"]).await.expect(1);
    assert!(
        printed.stderr.contains(&format!("retry that one, by \"kubectl imagebatch retry {again}")),
        "{}",
        printed.stderr
    );

    // What is deleted is remembered.
    let _collector = harness.collect_jobs();
    harness.delete(&batch).await;
    let printed = run(&harness, &["output", "spring"]).await.expect(1);
    assert!(printed.stderr.contains("gateway"), "{}", printed.stderr);
    let listed = run(&harness, &at_gateway(&["list", "--all"])).await.expect(0);
    assert!(listed.rows().iter().any(|it| it[..2] == ["spring", "ImagesFailed"]), "{}", listed.stdout);
    let shown = run(&harness, &at_gateway(&["status", "spring"])).await.expect(0);
    assert!(shown.stdout.contains("(its ImageBatch is deleted)"), "{}", shown.stdout);
    let failures = run(&harness, &at_gateway(&["failures", "spring"])).await.expect(0);
    assert_eq!(failures.rows()[1][..3], ["2", "1", "NotAnImage"]);
}

#[tokio::test]
async fn ctrl_c_leaves_the_batch_running() {
    let (harness, folder) = (Harness::start().await, Folder::new());
    let _controller = harness.controller().await;
    let file = folder.write("spring.csv", csv(&harness));
    let mut submit = start(&harness, &["submit", &file, "--name", "spring", "--wait"]);
    let stderr = submit.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(stderr).lines();
    let waits = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.starts_with("spring: ") {
                return;
            }
        }
        panic!("it ended without a word");
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("it says how far the batch is");
    kill_process(Pid::from_raw(submit.id().expect("it runs") as i32).expect("an id"), Signal::INT).expect("it runs");
    let rest = async {
        let mut rest = String::new();
        while let Some(line) = lines.next_line().await.expect("text") {
            rest += &line;
        }
        rest
    };
    let rest = tokio::time::timeout(PATIENCE, rest).await.expect("it ends");
    ended(submit).await.expect(130);
    assert!(rest.contains("goes on without you") && rest.contains("kubectl imagebatch watch spring -n it-"), "{rest}");
    let batch = harness.batches().get("spring").await.expect("it is there");
    assert!(batch.spec.cancel.is_none() && batch.metadata.deletion_timestamp.is_none());

    let cancelled = run(&harness, &["cancel", "spring", "--reason", "wrong file"]).await.expect(0);
    assert_eq!(cancelled.stdout, "imagebatch.imagebatch.io/spring cancelled\n");
    let batch = harness.batches().get("spring").await.expect("it is there");
    assert_eq!(batch.spec.cancel.expect("it is cancelled").reason, "wrong file");
    let printed = run(&harness, &["retry", "spring"]).await.expect(1);
    assert!(printed.stderr.contains("what failed is known at its end"), "{}", printed.stderr);
    assert!(run(&harness, &["logs", "spring"]).await.expect(0).stderr.contains("there are no pods"));
}

#[tokio::test]
async fn a_batch_that_is_refused_or_missing_says_so() {
    let (harness, folder) = (Harness::start().await, Folder::new());
    let bad = folder.write("bad.csv", "No,Name,Url\n1,Bowl,x.jpg\n");
    let printed = run(&harness, &["submit", &bad]).await.expect(3);
    assert!(
        printed.stderr.contains("error[InvalidUrl]") && printed.stderr.contains("no batch was made"),
        "{printed:?}"
    );
    assert_eq!(printed.stdout, "");
    for command in ["status", "cancel", "retry", "watch", "logs"] {
        let printed = run(&harness, &[command, "summer"]).await.expect(1);
        assert!(printed.stderr.starts_with("error: "), "{command}: {}", printed.stderr);
    }
    let good = folder.write("good.csv", csv(&harness));
    run(&harness, &["submit", &good, "--name", "twice"]).await.expect(0);
    let printed = run(&harness, &["submit", &good, "--name", "twice"]).await.expect(1);
    assert!(printed.stderr.contains("already exists"), "{}", printed.stderr);
    // The API server's word, and no ConfigMap is left of it.
    let printed = run(&harness, &["submit", &good, "--name", "hooked", "--webhook", "nonsense"]).await.expect(1);
    assert!(printed.stderr.contains("spec.webhook.url"), "{}", printed.stderr);
    let config_maps: Api<ConfigMap> = Api::namespaced(harness.client.clone(), &harness.namespace);
    assert!(config_maps.get_opt("hooked").await.expect("the API server answers").is_none());
}
