//! Debian's nginx with a configuration of this project.

use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::surroundings::until;
use crate::harness::process::free_address;

/// A running nginx and its folder.
pub(super) struct Nginx {
    pub(super) url: String,
    _process: Child,
    _folder: Folder,
}

/// A folder that goes with its nginx.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Nginx {
    /// Starts nginx with the configuration for a folder and an address, and waits until it listens.
    pub(super) async fn start(config: impl FnOnce(&str, &str) -> String) -> Self {
        let folder = std::env::temp_dir().join(format!("imagebatch-nginx-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&folder).expect("a new folder");
        let address = free_address();
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config(folder.to_str().expect("text"), &address.to_string())).expect("a file");
        let process = Command::new("/usr/sbin/nginx")
            .args(["-g", "daemon off; master_process off;", "-e", "stderr", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("nginx cannot be started ({error}): tests/run it installs nginx-light"));
        until("nginx listens", async || TcpStream::connect(address).await.is_ok()).await;
        Self { url: format!("http://{address}"), _process: process, _folder: Folder(folder) }
    }
}
