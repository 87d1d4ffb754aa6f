//! Processes of the project that are measured, and end with the benchmark.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;

/// How long a gateway may take to listen.
const START: Duration = Duration::from_secs(20);

/// A process.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    pub(crate) fn start(
        program: &str,
        arguments: &[&str],
        variables: &[(&str, String)],
        log: impl Into<Stdio>,
    ) -> Result<Self> {
        let defaults = [
            ("IMAGEBATCH_STORAGE_PREFIX", "bench"),
            ("IMAGEBATCH_MONGODB_DATABASE", "bench"),
            ("IMAGEBATCH_PUBLIC_BASE_URL", "https://cdn.example/images"),
        ];
        let mut command = Command::new(program);
        for (name, value) in defaults {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        let variables = variables.iter().map(|(name, value)| (*name, value.as_str()));
        let child = command.args(arguments).envs(variables).stdout(Stdio::null()).stderr(log).spawn()?;
        Ok(Self { child })
    }

    /// Starts a gateway of a namespace in plain HTTP, and returns it with its address once it listens.
    pub(crate) async fn gateway(
        namespace: &str,
        variables: &[(&str, String)],
        log: impl Into<Stdio>,
    ) -> Result<(Self, SocketAddr)> {
        let (listen, ops) = (free_address()?, free_address()?);
        let own = [
            ("IMAGEBATCH_LISTEN", listen.to_string()),
            ("IMAGEBATCH_OPS_LISTEN", ops.to_string()),
            ("IMAGEBATCH_NAMESPACE", namespace.to_owned()),
            ("IMAGEBATCH_PLAIN_HTTP", "true".to_owned()),
        ];
        let gateway = Self::start(env!("CARGO_BIN_EXE_gateway"), &["run"], &[&own, variables].concat(), log)?;
        gateway.until_it_listens(listen).await
    }

    /// Returns the process with its address once it listens there.
    pub(crate) async fn until_it_listens(mut self, address: SocketAddr) -> Result<(Self, SocketAddr)> {
        let start = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            ensure!(self.child.try_wait()?.is_none(), "what should listen on {address} has ended");
            ensure!(start.elapsed() < START, "nothing listens on {address}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok((self, address))
    }

    /// Returns a figure of the process in KiB.
    pub(crate) fn memory(&self, name: &str) -> Result<i64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(name)).context("no such figure")?;
        Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
    }

    pub(crate) fn reset_peak(&self) -> Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    pub(crate) fn end(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.end();
    }
}

/// Returns an address of the loopback on which nothing listens.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
