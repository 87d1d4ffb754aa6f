//! Receivers that take a request and never answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use imagebatch::records::delivery::Delivery;

use super::{OLD, create_secret, pending, receiver, spec};
use crate::harness::{Harness, PATIENCE, Running};

#[tokio::test]
async fn receivers_that_hang_hold_up_no_others() {
    let harness = Harness::start().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (hanging, most, _hanging) = hanging_receiver().await;
    let mut batch = harness.create("any", &spec("{url: \"https://shop.example/hook\"}")).await;
    // Events of a batch that is still there wait for its end.
    batch.metadata.uid = Some("gone".to_owned());
    for index in 0..100 {
        let url = format!("{hanging}?batch={index}");
        let event = Delivery { id: format!("hangs-{index}"), ..pending(&harness, &batch, &url) };
        harness.records.insert_delivery(&event).await.expect("MongoDB answers");
    }
    let (url, received, _receiver) = receiver(&[204]).await;
    let event = Delivery { id: "last".to_owned(), ..pending(&harness, &batch, &url) };
    harness.records.insert_delivery(&event).await.expect("MongoDB answers");
    let _controller = harness.controller().await;
    let heard = async {
        while received.lock().expect("not poisoned").is_empty() || most.load(Ordering::Relaxed) < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the last of all is sent");
    assert_eq!(most.load(Ordering::Relaxed), 4, "as many as one endpoint may have");
}

/// A receiver that never answers, and the most requests that it had at the same time.
async fn hanging_receiver() -> (String, Arc<AtomicUsize>, Running) {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&most);
    let never = async move || -> StatusCode {
        let now = held.fetch_add(1, Ordering::Relaxed) + 1;
        highest.fetch_max(now, Ordering::Relaxed);
        let _held = Held(Arc::clone(&held));
        std::future::pending().await
    };
    let router = Router::new().route("/hook", post(never));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let serve = async move { axum::serve(listener, router).await.expect("the receiver serves") };
    (url, most, Running(tokio::spawn(serve)))
}
