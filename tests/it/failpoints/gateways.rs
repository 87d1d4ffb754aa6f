//! Gateways, killed and failed at each of their points.

use std::time::Duration;

use kube::api::ListParams;

use super::{ACTIONS, RULES, SEEN, Seen, points};
use crate::harness::Harness;
use crate::harness::process::Gateway;
use crate::intake::{answer, post as upload};

#[tokio::test]
async fn an_upload_whose_gateway_dies_or_fails_at_any_point_is_one_batch() {
    let harness = Harness::start().await;
    let seen = Seen::new("gateway");
    let csv = "S. No.,Product Name,Input Image Urls\n1,Chair,https://shop.example/1.jpg\n";
    let faults: Vec<(String, &str)> = points("upload.put", "request.insert")
        .flat_map(|point| ACTIONS.map(|action| (point.clone(), action)))
        .collect();
    for (point, action) in &faults {
        let rules = format!("{point}={action}*1");
        let mut gateway = Gateway::start(&harness, &[(RULES, &rules), (SEEN, seen.path())]).await;
        let request = || upload(&gateway.url, "").header("idempotency-key", &rules).body(csv);
        let first = request().send().await;
        assert!(seen.count(point) > 0, "{point} is not reached");
        let survives = *action == "error" && !point.starts_with("upload.put");
        let status = first.ok().map(|it| it.status().as_u16());
        assert_eq!(status, if survives { Some(202) } else { (*action == "error").then_some(503) }, "{rules}");
        if *action == "kill" {
            gateway.kill();
            gateway = Gateway::start(&harness, &[]).await;
        }
        let (status, body) = answer(upload(&gateway.url, "").header("idempotency-key", &rules).body(csv)).await;
        assert_eq!(status, 202, "{body}");
    }
    let batches = harness.batches().list(&ListParams::default()).await.expect("a list").items;
    assert_eq!(batches.len(), faults.len());
    // Storage tells times in seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    harness.collect_uploads(Duration::ZERO).await;
    let mut claimed: Vec<String> =
        batches.iter().filter_map(|it| Some(it.spec.source.upload.as_ref()?.key.clone())).collect();
    claimed.sort();
    let objects = harness.objects().await;
    assert!(claimed.len() == objects.len() && claimed.iter().zip(&objects).all(|(key, it)| key.ends_with(it)));
}
