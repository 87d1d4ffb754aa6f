//! Gateway and controller in processes of their own, which can be killed.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use imagebatch::controller::health;
use imagebatch::telemetry::{self, LogArgs};
use kube::{Api, Client};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Harness, PATIENCE, controller_context, run_controller};

/// A gateway.
pub(crate) struct Gateway {
    pub(crate) url: String,
    /// Where /metrics is.
    pub(crate) ops_url: String,
    pub(crate) process: Process,
}

impl Gateway {
    /// Starts a gateway with further variables and waits until it listens.
    pub(crate) async fn start(harness: &Harness, variables: &[(&str, &str)]) -> Self {
        Self::start_with(harness, variables, Stdio::inherit()).await
    }

    /// Starts a gateway that writes its log there.
    pub(crate) async fn start_with(harness: &Harness, variables: &[(&str, &str)], log: Stdio) -> Self {
        let plain = [("IMAGEBATCH_PLAIN_HTTP", "true")];
        Self::launch(harness, "http", &[&plain, variables].concat(), log).await
    }

    /// Starts a gateway that is given a certificate and writes its log there.
    pub(crate) async fn start_https(harness: &Harness, variables: &[(&str, &str)], log: Stdio) -> Self {
        Self::launch(harness, "https", variables, log).await
    }

    async fn launch(harness: &Harness, scheme: &str, variables: &[(&str, &str)], log: Stdio) -> Self {
        let (listen, ops_listen) = (free_address(), free_address());
        let process = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .arg("run")
            .arg(format!("--namespace={}", harness.namespace))
            .arg(format!("--listen={listen}"))
            .arg(format!("--ops-listen={ops_listen}"))
            .env_remove("IMAGEBATCH_S3_ENDPOINT")
            .env_remove("IMAGEBATCH_S3_ACCESS_KEY_ID")
            .env_remove("IMAGEBATCH_S3_SECRET_ACCESS_KEY")
            .env("IMAGEBATCH_AUTHENTICATION", "none")
            .env("IMAGEBATCH_LOG", "warn")
            .envs(harness.environment())
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the gateway starts");
        let process = Process(process);
        let answers = async {
            while TcpStream::connect(listen).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.expect("the gateway listens");
        Self { url: format!("{scheme}://{listen}"), ops_url: format!("http://{ops_listen}"), process }
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").map_or(&self.url, |it| it.1)
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}

/// A process that ends with the test.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a controller with further variables.
    pub(crate) fn controller(harness: &Harness, variables: &[(&str, &str)]) -> Self {
        Self::controller_with(harness, variables, Stdio::null())
    }

    /// Starts a controller that writes its log there, and serves /metrics where [`OPS_LISTEN`] says.
    pub(crate) fn controller_with(harness: &Harness, variables: &[(&str, &str)], log: Stdio) -> Self {
        let process = Command::new(std::env::current_exe().expect("this executable"))
            .args(["--ignored", "--exact", CONTROLLER])
            .env(NAMESPACE, &harness.namespace)
            .envs(harness.environment())
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(process.expect("the controller starts"))
    }

    /// Starts any other.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the process starts"))
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.0.try_wait().expect("it can be waited for") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it ends")
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it can be waited for").is_some()
    }

    /// Ends it, if it has not ended already.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        self.0.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

const CONTROLLER: &str = "harness::process::controller";
const NAMESPACE: &str = "TEST_NAMESPACE";
const LOG: &str = "IMAGEBATCH_LOG";
/// Variable of the address of /metrics.
pub(crate) const OPS_LISTEN: &str = "IMAGEBATCH_OPS_LISTEN";

/// The process of [`Process::controller`]. The controller's executable would work on the batches of every
/// test at the API server, and end those of other namespaces.
#[tokio::test]
#[ignore = "other tests start it"]
async fn controller() {
    let namespace = std::env::var(NAMESPACE).expect("other tests start it, with a namespace");
    let filter = std::env::var(LOG).unwrap_or_else(|_| "info".to_owned());
    telemetry::start(&LogArgs { filter, format: "json".to_owned() }, "controller").expect("a filter and rules");
    // Others are the tests' own, such as the place of the services' state.
    let others = [LOG, "IMAGEBATCH_SERVICES_STATE", "IMAGEBATCH_CACHE"];
    let is_setting =
        |name: &str| name.starts_with("IMAGEBATCH_") && !name.contains("FAILPOINTS") && !others.contains(&name);
    let settings = std::env::vars().filter(|(name, _)| is_setting(name));
    let client = Client::try_default().await.expect("a kubeconfig");
    let context = controller_context(client.clone(), &namespace, &settings.collect()).await;
    if let Ok(listen) = std::env::var(OPS_LISTEN) {
        let (listen, ready) = (listen.parse().expect("an address"), watch::channel(true).1);
        let metrics = std::sync::Arc::clone(&context.metrics);
        tokio::spawn(health::serve(listen, ready, metrics, std::future::pending()));
    }
    run_controller(Api::namespaced(client, &namespace), context).await;
}

/// Returns a file that a process writes to behind what is there.
pub(crate) fn append(path: impl AsRef<std::path::Path>) -> Stdio {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.expect("it can be written").into()
}

pub(crate) fn free_address() -> std::net::SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    free.expect("a free port")
}
