//! MongoDB goes away and comes back: no batch says that it is finished before its record says so.

use std::net::SocketAddr;
use std::sync::Arc;

use imagebatch::api::stage::Stage;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::controller::{PRODUCTS, set_ingest, set_report, uid};
use crate::harness::{Harness, PATIENCE, Running};

/// A way to a server that can be cut.
struct Cable {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
    /// How often somebody met it cut.
    refused: Arc<watch::Sender<u32>>,
    _task: Running,
}

impl Cable {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (is_cut, cut) = watch::channel(false);
        let refused = Arc::new(watch::Sender::new(0));
        let counted = Arc::clone(&refused);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, mut cut, counted) = (server.clone(), cut.clone(), Arc::clone(&counted));
                connections.spawn(async move {
                    if *cut.borrow() {
                        counted.send_modify(|it| *it += 1);
                        return;
                    }
                    let mut server = TcpStream::connect(server).await.expect("the server listens");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.wait_for(|it| *it) => {}
                    }
                });
            }
        });
        Self { address, is_cut, refused, _task: Running(task) }
    }

    /// Cuts it and waits until somebody has met that.
    async fn cut(&self) {
        let mut refused = self.refused.subscribe();
        self.is_cut.send_replace(true);
        let met = refused.wait_for(|it| *it > 0);
        tokio::time::timeout(PATIENCE, met).await.expect("somebody needs it").expect("the cable is there");
    }

    fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

#[tokio::test]
async fn a_batch_that_ends_while_mongodb_is_away_is_finished_in_both_or_in_none() {
    let harness = Harness::start().await;
    let uri = &harness.environment()["IMAGEBATCH_MONGODB_URI"];
    let server = url::Url::parse(uri).expect("a URI");
    let server = format!("{}:{}", server.host_str().expect("a host"), server.port().expect("a port"));
    let cable = Cable::to(server.clone()).await;
    let by_cable = uri.replace(&server, &cable.address.to_string());
    let _controller = harness.controller_with(&[("IMAGEBATCH_MONGODB_URI", &by_cable)]).await;
    let batch = harness.create("outage", PRODUCTS).await;
    let job = harness.wait_job("outage", Stage::Run).await;
    set_ingest(&harness, &batch, 2, 1).await;
    harness.wait("outage", "counted", |it| it.status.as_ref().is_some_and(|it| it.images == Some(2))).await;

    cable.cut().await;
    set_report(&harness, &batch, 2, 0).await;
    harness.end_job(&job, "Complete", None).await;
    let mirrored = || async {
        let record = harness.records.request(&uid(&batch)).await.expect("MongoDB answers").expect("a record");
        record.read_status().expect("a status")
    };
    let away = harness.batches().get("outage").await.expect("the batch exists").status.expect("a status");
    assert!(!away.is_finished() && !mirrored().await.is_finished(), "{away:?}");
    cable.mend();
    let finished = harness.wait_finished("outage").await.status.expect("a status");
    assert_eq!(mirrored().await, finished);
}
