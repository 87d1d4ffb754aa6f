//! What may change in a batch that exists, and what may not: the CRD's rules, judged by the API server.

use serde_json::{Value, json};

use super::change;
use crate::harness::Harness;

/// Everything that is immutable, with another value and the message that refuses it.
fn immutable() -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "source": { "upload": { "rows": 9 } } }), "spec.source is immutable"),
        (json!({ "validation": { "onInvalidRow": "Skip" } }), "spec.validation is immutable"),
        (json!({ "compression": { "quality": 60 } }), "spec.compression is immutable"),
        (json!({ "compression": { "maxWidth": 100 } }), "spec.compression is immutable"),
        (json!({ "report": { "sizes": true } }), "spec.report is immutable"),
        (json!({ "activeDeadlineSeconds": 60 }), "spec.activeDeadlineSeconds is immutable"),
        (json!({ "maxFailedPercent": 20 }), "spec.maxFailedPercent is immutable"),
        (json!({ "webhook": { "url": "https://shop.example/other" } }), "spec.webhook is immutable"),
    ]
}

#[tokio::test]
async fn what_was_asked_for_does_not_change() {
    let harness = Harness::start().await;
    let upload = crate::controller::UPLOAD;
    // Optional fields may neither be set, nor changed, nor unset.
    harness.create("bare", upload).await;
    harness
        .create("full", &format!("{upload}maxFailedPercent: 10\nwebhook: {{url: 'https://shop.example/hook'}}\n"))
        .await;
    let unset = [
        (json!({ "maxFailedPercent": null }), "spec.maxFailedPercent is immutable"),
        (json!({ "webhook": null }), "spec.webhook is immutable"),
    ];
    for (name, changes) in [("bare", immutable()), ("full", immutable()), ("full", unset.into())] {
        for (spec, expected) in changes {
            let error = change(&harness, name, spec.clone()).await.expect_err(&format!("{name}: {spec}"));
            assert!(error.to_string().contains(expected), "{name}: {spec}: {error}");
        }
    }
}

#[tokio::test]
async fn these_may_change_at_any_time() {
    let harness = Harness::start().await;
    harness.create("open", crate::controller::UPLOAD).await;
    for spec in [
        json!({ "suspend": true }),
        json!({ "suspend": false }),
        json!({ "parallelism": 7 }),
        json!({ "ttlSecondsAfterFinished": 0 }),
        json!({ "ttlSecondsAfterFinished": 60 }),
        json!({ "ttlSecondsAfterFinished": null }),
        json!({ "deletionPolicy": "Delete" }),
    ] {
        change(&harness, "open", spec.clone()).await.unwrap_or_else(|error| panic!("{spec}: {error}"));
    }
}

#[tokio::test]
async fn a_batch_is_cancelled_once_and_for_good() {
    let harness = Harness::start().await;
    harness.create("done", crate::controller::UPLOAD).await;
    for (spec, expected) in [
        (json!({ "cancel": {} }), "spec.cancel.reason"),
        (json!({ "cancel": { "reason": "" } }), "spec.cancel.reason"),
        (json!({ "cancel": { "reason": "x".repeat(257) } }), "spec.cancel.reason"),
    ] {
        let error = change(&harness, "done", spec.clone()).await.expect_err(&spec.to_string());
        assert!(error.to_string().contains(expected), "{spec}: {error}");
    }
    change(&harness, "done", json!({ "cancel": { "reason": "x".repeat(256) } })).await.expect("it may be set");
    for spec in [json!({ "cancel": null }), json!({ "cancel": { "reason": "another" } })] {
        let error = change(&harness, "done", spec.clone()).await.expect_err(&spec.to_string());
        assert!(error.to_string().contains("may be set once"), "{spec}: {error}");
    }
    // Other fields are not locked by it.
    change(&harness, "done", json!({ "suspend": true, "parallelism": 3 })).await.expect("these may still change");
}

#[tokio::test]
async fn expiry_never_deletes_images() {
    let harness = Harness::start().await;
    harness.create("kept", &format!("{}ttlSecondsAfterFinished: 60\n", crate::controller::UPLOAD)).await;
    harness.create("gone", &format!("{}deletionPolicy: Delete\n", crate::controller::UPLOAD)).await;
    for (name, spec) in
        [("kept", json!({ "deletionPolicy": "Delete" })), ("gone", json!({ "ttlSecondsAfterFinished": 60 }))]
    {
        let error = change(&harness, name, spec.clone()).await.expect_err(&format!("{name}: {spec}"));
        assert!(error.to_string().contains("expiry would delete images that are in use"), "{spec}: {error}");
    }
    for (spec, expected) in [
        (json!({ "ttlSecondsAfterFinished": -1 }), "spec.ttlSecondsAfterFinished"),
        (json!({ "ttlSecondsAfterFinished": 315_360_001 }), "spec.ttlSecondsAfterFinished"),
    ] {
        let error = change(&harness, "kept", spec.clone()).await.expect_err(&spec.to_string());
        assert!(error.to_string().contains(expected), "{spec}: {error}");
    }
}
