//! Turns at a host: how many requests are open, who waits for a pause, and how few connections it takes.

use std::time::Duration;

use futures::future::join_all;

use crate::net::{client, word};
use crate::origin::{Answer, Origin, head, ok};

#[tokio::test]
async fn a_host_never_has_more_requests_open_than_allowed() {
    let origin = Origin::start(|_, _| Answer::Later(Duration::from_millis(20), ok(b"image"))).await;
    let (egress, _) = client(origin.address, &["--fetch-per-host=3"]).await;
    let urls: Vec<String> = (0..40).map(|index| format!("http://a.test/{index}.jpg")).collect();
    for (result, _) in join_all(urls.iter().map(|url| egress.fetch(url))).await {
        result.expect("an image");
    }
    assert_eq!((origin.most_open(), origin.requests().len()), (3, 40));
    assert!(origin.connections() <= 3, "connections are used again: {}", origin.connections());
}

#[tokio::test]
async fn each_host_has_its_own_turns() {
    let origin = Origin::start(|_, _| Answer::Later(Duration::from_millis(50), ok(b"image"))).await;
    let (egress, _) = client(origin.address, &["--fetch-per-host=2"]).await;
    let hosts = ["a.test", "b.test", "public.test"];
    let urls: Vec<String> = (0..30).map(|index| format!("http://{}/{index}.jpg", hosts[index % 3])).collect();
    for (result, _) in join_all(urls.iter().map(|url| egress.fetch(url))).await {
        result.expect("an image");
    }
    assert_eq!(origin.most_open(), 6, "two at each of three");
}

#[tokio::test]
async fn a_turn_lasts_until_the_body_has_come_and_waiting_for_one_is_no_part_of_a_try() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec();
    let half = Duration::from_millis(500);
    let origin = Origin::start(move |_, _| Answer::Halves(head.clone(), half, b"image".to_vec())).await;
    let (egress, _) = client(origin.address, &["--fetch-per-host=1", "--fetch-timeout-seconds=2"]).await;
    let urls: Vec<String> = (0..5).map(|index| format!("http://a.test/{index}.jpg")).collect();
    for (result, _) in join_all(urls.iter().map(|url| egress.fetch(url))).await {
        assert_eq!(result.expect("an image"), "image");
    }
    assert_eq!(origin.most_open(), 1);
}

#[tokio::test]
async fn all_requests_to_a_host_wait_for_its_retry_after() {
    let origin = Origin::start(|request, before| match before {
        0 => Answer::Bytes(head("429 Too Many Requests\r\nRetry-After: 1")),
        _ if request.contains("host: b.test") => Answer::Bytes(ok(b"other")),
        _ => Answer::Bytes(ok(b"image")),
    })
    .await;
    let (egress, _) = client(origin.address, &["--fetch-per-host=8"]).await;
    let (first, _) = egress.fetch("http://a.test/0.jpg").await;
    assert_eq!(word(&first.expect_err("it asks for a pause")), "Status");
    let urls: Vec<String> = (1..6).map(|index| format!("http://a.test/{index}.jpg")).collect();
    let others = join_all(urls.iter().map(|url| egress.fetch(url)));
    let (results, other) = tokio::join!(others, egress.fetch("http://b.test/x.jpg"));
    assert_eq!(other.0.expect("an image"), "other");
    for (result, attempts) in results {
        assert_eq!((result.expect("an image").as_ref(), attempts), (b"image".as_slice(), 1), "waiting is no try");
    }
    let (requests, times) = (origin.requests(), origin.times());
    assert!(requests[1].contains("host: b.test"), "another host is not concerned");
    assert_eq!(requests.len(), 7);
    assert!(times[2..].iter().all(|it| *it - times[0] >= Duration::from_secs(1)), "{times:?}");
}

#[tokio::test]
async fn a_host_that_only_asks_for_pauses_does_not_hold_the_batch() {
    let origin = Origin::start(|_, _| Answer::Bytes(head("503 Busy\r\nRetry-After: 1"))).await;
    let given = ["--fetch-attempts=4", "--fetch-per-host=4", "--fetch-max-retry-after-seconds=1"];
    let (egress, _) = client(origin.address, &given).await;
    let urls: Vec<String> = (0..200).map(|index| format!("http://a.test/{index}.jpg")).collect();
    let all = join_all(urls.iter().map(|url| egress.fetch(url)));
    let results = tokio::time::timeout(Duration::from_secs(60), all).await.expect("it ends long before");
    let words: Vec<String> = results.into_iter().map(|(result, _)| word(&result.expect_err("no image"))).collect();
    assert!(words.iter().any(|it| it == "HostPaused") && words.iter().any(|it| it == "Status"), "{words:?}");
    assert!(origin.requests().len() < 200, "most are not even asked for: {}", origin.requests().len());
}
