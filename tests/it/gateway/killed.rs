//! A gateway that is killed again and again while many upload.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use futures::future::join_all;
use kube::ResourceExt;
use kube::api::ListParams;
use reqwest::Method;
use tokio::sync::watch;

use super::client::Asker;
use crate::harness::Harness;
use crate::harness::process::Gateway;

const UPLOADS: usize = 100;
/// Uploads at the same time.
const CLIENTS: usize = 10;
/// Uploads that are accepted before the next gateway is killed: each makes progress.
const EACH: usize = 4;
/// Within this time after them it is killed: about what an upload takes.
const MOMENT: u64 = 60;

/// Of this many rows is the upload of a key.
fn rows(key: usize) -> usize {
    1 + key * 17
}

fn csv(key: usize) -> String {
    let rows = (1..=rows(key)).map(|row| format!("{row},Chair {row},https://shop.example/{key}/{row}.jpg\n"));
    format!("S. No.,Product Name,Input Image Urls\n{}", rows.collect::<String>())
}

/// Uploads under a key until that is accepted; returns the batch's id and how many tries it took.
async fn upload(key: usize, mut urls: watch::Receiver<String>) -> (String, usize) {
    let mut tries = 0;
    loop {
        let url = urls.borrow_and_update().clone();
        let request = Asker::new(&url).request(Method::POST, "/v1/batches");
        let request = request.header("content-type", "text/csv").header("idempotency-key", format!("order-{key}"));
        tries += 1;
        match request.body(csv(key)).send().await {
            Ok(response) => {
                // An answer may break off as well.
                let status = response.status();
                let Ok(body) = response.json::<serde_json::Value>().await else { continue };
                assert_eq!(status, 202, "{body}");
                assert_eq!(body["rows"], rows(key), "{body}");
                return (body["id"].as_str().expect("an id").to_owned(), tries);
            }
            Err(error) => {
                assert!(!error.is_timeout(), "{error}");
                urls.wait_for(|it| *it != url).await.expect("there will be another gateway");
            }
        }
    }
}

#[tokio::test]
async fn a_hundred_uploads_whose_gateways_are_killed_are_a_hundred_batches() {
    let seed = std::env::var("TEST_SEED").map_or_else(|_| fastrand::u64(..), |it| it.parse().expect("a number"));
    eprintln!("TEST_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let harness = Harness::start().await;
    let mut gateway = Gateway::start(&harness, &[]).await;
    let (url, urls) = watch::channel(gateway.url.clone());
    let (accepted, mut count) = watch::channel(0);
    let client = |first: usize| {
        let (urls, accepted) = (urls.clone(), &accepted);
        async move {
            let mut answers = Vec::new();
            for key in (first..UPLOADS).step_by(CLIENTS) {
                answers.push((key, upload(key, urls.clone()).await));
                accepted.send_modify(|it| *it += 1);
            }
            answers
        }
    };
    let kill = async {
        let mut kills = 0;
        loop {
            let enough = (*count.borrow() + EACH).min(UPLOADS);
            count.wait_for(|it| *it >= enough).await.expect("the clients go on");
            if enough == UPLOADS {
                return kills;
            }
            tokio::time::sleep(Duration::from_millis(random.u64(0..MOMENT))).await;
            gateway.kill();
            kills += 1;
            gateway = Gateway::start(&harness, &[]).await;
            url.send_replace(gateway.url.clone());
        }
    };
    let (answers, kills) = tokio::join!(join_all((0..CLIENTS).map(client)), kill);

    let answers: BTreeMap<usize, (String, usize)> = answers.into_iter().flatten().collect();
    let broken: usize = answers.values().map(|(_, tries)| tries - 1).sum();
    eprintln!("{kills} gateways were killed, {broken} uploads broke off");
    // How many there are is a matter of time; there shall be enough to tell.
    assert!(kills >= 4 && broken >= UPLOADS / 4, "{kills} gateways were killed, and {broken} uploads broke off");
    let batches = harness.batches().list(&ListParams::default()).await.expect("the API server answers").items;
    let rows_of: BTreeMap<String, usize> = batches
        .iter()
        .map(|it| (it.name_any(), it.spec.source.upload.as_ref().expect("an upload").rows as usize))
        .collect();
    let expected: BTreeMap<String, usize> = answers.iter().map(|(key, (id, _))| (id.clone(), rows(*key))).collect();
    assert_eq!(rows_of.len(), UPLOADS);
    assert_eq!(rows_of, expected);
    let uids: BTreeSet<String> = batches.iter().filter_map(ResourceExt::uid).collect();
    assert_eq!(harness.recorded_requests().await, uids, "one record a batch, and nothing else");
    // Storage tells times in seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    harness.collect_uploads(Duration::ZERO).await;
    assert_eq!(harness.objects().await.len(), UPLOADS, "one upload a batch, and nothing else");
}
