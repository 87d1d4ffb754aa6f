//! Gateway and controller in processes of their own, which can be killed.

use std::process::{Child, Command, Stdio};

use imagebatch::failpoint;
use kube::{Api, Client};
use tokio::net::TcpStream;

use super::{Harness, PATIENCE, controller_context, run_controller};

/// A gateway.
pub(crate) struct Gateway {
    pub(crate) url: String,
    process: Process,
}

impl Gateway {
    /// Starts a gateway with further variables and waits until it listens.
    pub(crate) async fn start(harness: &Harness, variables: &[(&str, &str)]) -> Self {
        let (listen, ops_listen) = (free_address(), free_address());
        let process = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["run", "--authentication=none"])
            .arg(format!("--namespace={}", harness.namespace))
            .arg(format!("--listen={listen}"))
            .arg(format!("--ops-listen={ops_listen}"))
            .env("IMAGEBATCH_LOG", "warn")
            .envs(harness.environment())
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .expect("the gateway starts");
        let process = Process(process);
        let answers = async {
            while TcpStream::connect(listen).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.expect("the gateway listens");
        Self { url: format!("http://{listen}"), process }
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
        let process = Command::new(std::env::current_exe().expect("this executable"))
            .args(["--ignored", "--exact", CONTROLLER])
            .env(NAMESPACE, &harness.namespace)
            .envs(harness.environment())
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(process.expect("the controller starts"))
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

/// The process of [`Process::controller`]. The controller's executable would work on the batches of every
/// test at the API server, and end those of other namespaces.
#[tokio::test]
#[ignore = "other tests start it"]
async fn controller() {
    let namespace = std::env::var(NAMESPACE).expect("other tests start it, with a namespace");
    failpoint::set_up().expect("rules");
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = std::env::vars().filter(|(name, _)| name.starts_with("IMAGEBATCH_") && !name.contains("FAILPOINTS"));
    let client = Client::try_default().await.expect("a kubeconfig");
    let context = controller_context(client.clone(), &namespace, &settings.collect()).await;
    run_controller(Api::namespaced(client, &namespace), context).await;
}

fn free_address() -> std::net::SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    free.expect("a free port")
}
