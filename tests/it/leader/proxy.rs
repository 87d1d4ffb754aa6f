//! A way to the API server that can be cut: connections stay open, and nothing comes through any more.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::{Harness, Running};

pub(super) struct Proxy {
    /// Leads through it.
    pub(super) kubeconfig: PathBuf,
    is_cut: watch::Sender<bool>,
    _task: Running,
}

impl Proxy {
    pub(super) async fn start(harness: &Harness) -> Self {
        let path = std::env::var("KUBECONFIG").expect("KUBECONFIG is set");
        let kubeconfig = std::fs::read_to_string(path).expect("a kubeconfig");
        let server = kubeconfig.split("server: https://").nth(1).and_then(|it| it.lines().next()).expect("a server");
        let upstream: SocketAddr = server.trim().parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (is_cut, cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(forward(connection, upstream, cut.clone()));
            }
        });
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.kubeconfig", harness.namespace));
        std::fs::write(&place, kubeconfig.replace(server, &address.to_string())).expect("it can be written");
        Self { kubeconfig: place, is_cut, _task: Running(task) }
    }

    pub(super) fn cut(&self) {
        self.is_cut.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

async fn forward(mut here: TcpStream, upstream: SocketAddr, mut cut: watch::Receiver<bool>) {
    let Ok(mut there) = TcpStream::connect(upstream).await else { return };
    let is_over = tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut here, &mut there) => true,
        ended = cut.wait_for(|it| *it) => ended.is_err(),
    };
    if !is_over {
        // Both ends stay open until the test ends.
        let _ = cut.wait_for(|it| !*it).await;
    }
}
