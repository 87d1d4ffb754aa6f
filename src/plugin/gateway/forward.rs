//! A port-forward to a pod, behind a Unix socket in a folder that only this user may enter: unlike a port of the
//! loopback, nobody else on this machine can use it.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Longest time for the API server and the node to open a forward.
const OPEN: Duration = Duration::from_secs(20);

/// A port-forward that lasts as long as this value.
pub(crate) struct Forward {
    folder: PathBuf,
    accept: JoinHandle<()>,
    fault: Arc<Mutex<Option<String>>>,
}

impl Forward {
    /// Begins to listen; each connection is forwarded on its own.
    pub(crate) fn start(client: &Client, namespace: &str, pod: &str, port: u16) -> anyhow::Result<Self> {
        let unique = format!("kubectl-imagebatch-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let folder = std::env::temp_dir().join(unique);
        let failed =
            || format!("failed to make the folder {}; set TMPDIR to one that can be written", folder.display());
        std::fs::DirBuilder::new().mode(0o700).create(&folder).with_context(failed)?;
        let fault = Arc::new(Mutex::new(None));
        let listener = UnixListener::bind(folder.join("gateway")).with_context(failed)?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let accept = tokio::spawn(accept(listener, pods, pod.to_owned(), port, Arc::clone(&fault)));
        Ok(Self { folder, accept, fault })
    }

    /// Returns where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("gateway")
    }

    /// Returns why the last connection failed.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accept.abort();
        // The system clears its folder of temporary files some day.
        let _ = std::fs::remove_file(self.socket());
        let _ = std::fs::remove_dir(Path::new(&self.folder));
    }
}

async fn accept(listener: UnixListener, pods: Api<Pod>, pod: String, port: u16, fault: Arc<Mutex<Option<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (pods, pod, fault) = (pods.clone(), pod.clone(), Arc::clone(&fault));
        tokio::spawn(async move {
            if let Err(error) = forward(stream, &pods, &pod, port).await {
                *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{error:#}"));
            }
        });
    }
}

async fn forward(mut stream: UnixStream, pods: &Api<Pod>, pod: &str, port: u16) -> anyhow::Result<()> {
    let failed =
        || format!("failed to forward port {port} of pod {pod:?} (you need the right to create pods/portforward)");
    let opened = tokio::time::timeout(OPEN, pods.portforward(pod, &[port])).await.with_context(failed)?;
    let mut forwarder = opened.with_context(failed)?;
    let error = forwarder.take_error(port);
    let mut remote = forwarder.take_stream(port).ok_or_else(|| anyhow!("the port-forward has no stream"))?;
    // A connection that was broken off has told its user.
    let _ = copy_bidirectional(&mut stream, &mut remote).await;
    let _ = remote.shutdown().await;
    drop(remote);
    // The node says what is wrong with the pod on a channel of its own, if anything is.
    if let Some(error) = error
        && let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(200), error).await
    {
        return Err(anyhow!("{message}").context(failed()));
    }
    Ok(())
}
