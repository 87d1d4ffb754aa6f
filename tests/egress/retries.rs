//! What is tried again, how often, and not before the host wants it.

use std::time::Duration;

use http::StatusCode;
use jiff::{Timestamp, fmt::rfc2822};

use crate::net::{client, word};
use crate::origin::{Answer, Origin, head, ok};

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_stays_is_not() {
    for (status, tries) in [
        (400, 1),
        (401, 1),
        (403, 1),
        (404, 1),
        (405, 1),
        (410, 1),
        (418, 1),
        (451, 1),
        (204, 1),
        (408, 4),
        (425, 4),
        (429, 4),
        (500, 4),
        (502, 4),
        (503, 4),
        (504, 4),
    ] {
        let origin = Origin::start(move |_, _| Answer::Bytes(head(&format!("{status} Whatever")))).await;
        let (egress, _) = client(origin.address, &["--fetch-attempts=4"]).await;
        let (result, attempts) = egress.fetch("http://public.test/x.jpg").await;
        let error = result.expect_err("no image");
        assert_eq!(error.status(), StatusCode::from_u16(status).ok(), "the status is kept");
        assert_eq!((attempts, origin.requests().len()), (tries, tries.into()), "{status}");
        assert_eq!(error.is_transient(), tries > 1, "{status}");
    }
}

#[tokio::test]
async fn a_fault_that_passes_costs_a_try() {
    let origin = Origin::start(|_, before| match before {
        0 => Answer::Reset,
        1 => Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nimage".to_vec()),
        2 => Answer::Bytes(head("502 Bad Gateway")),
        _ => Answer::Bytes(ok(b"image")),
    })
    .await;
    let (egress, _) = client(origin.address, &["--fetch-attempts=4"]).await;
    let (result, attempts) = egress.fetch("http://public.test/x.jpg").await;
    assert_eq!((result.expect("an image").as_ref(), attempts), (b"image".as_slice(), 4));
}

#[tokio::test]
async fn a_host_is_not_asked_again_before_its_retry_after() {
    let in_two_seconds = || {
        let date = Timestamp::now() + Duration::from_secs(2);
        rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).expect("a date")
    };
    for as_date in [false, true] {
        let origin = Origin::start(move |_, before| match (before, as_date) {
            (0, false) => Answer::Bytes(head("429 Too Many Requests\r\nRetry-After: 1")),
            (0, true) => Answer::Bytes(head(&format!("503 Busy\r\nRetry-After: {}", in_two_seconds()))),
            _ => Answer::Bytes(ok(b"image")),
        })
        .await;
        let (egress, _) = client(origin.address, &["--fetch-attempts=2"]).await;
        let (result, attempts) = egress.fetch("http://public.test/x.jpg").await;
        assert_eq!((result.expect("an image").as_ref(), attempts), (b"image".as_slice(), 2));
        let times = origin.times();
        // A date has whole seconds, so that two seconds from now is more than one.
        assert!(times[1] - times[0] >= Duration::from_secs(1), "{:?}", times[1] - times[0]);
    }
}

#[tokio::test]
async fn a_host_that_wants_to_be_left_alone_for_longer_is_left_alone() {
    let origin = Origin::start(|_, _| Answer::Bytes(head("503 Busy\r\nRetry-After: 3600"))).await;
    let given = ["--fetch-attempts=4", "--fetch-max-retry-after-seconds=60"];
    let (egress, _) = client(origin.address, &given).await;
    let (result, attempts) = egress.fetch("http://public.test/x.jpg").await;
    let error = result.expect_err("no image");
    assert_eq!((word(&error).as_str(), attempts, origin.requests().len()), ("Status", 1, 1));
}
