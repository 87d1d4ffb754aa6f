//! The gateway, for what it alone can do: large uploads, reports, and batches that only the records remember.
//!
//! ```text
//! --gateway-url            that address
//! else  find     its pods, by the chart's labels, and from them how it serves and whom it knows
//!       forward  a port-forward to one of them, behind a socket that is this user's alone
//!       token    the kubeconfig's, or one of a ServiceAccount, for the gateway's audience
//! then  connection   HTTP, with the gateway's problem documents as errors
//! ```

pub(super) mod connection;
pub(super) mod find;
pub(super) mod forward;
pub(super) mod upload;

mod token;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use reqwest::Certificate;
use url::Url;

use super::cluster::Cluster;
use connection::Connection;
use find::Found;
use forward::Forward;

/// Where the gateway is, and as whom it is spoken to.
#[derive(Args, Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "the flags stand beside those of the commands")]
#[command(next_help_heading = "Gateway")]
pub(super) struct GatewayArgs {
    /// URL of the gateway; by default it is reached by a port-forward to one of its pods.
    #[arg(long, global = true, env = "IMAGEBATCH_GATEWAY_URL", value_name = "URL")]
    pub(super) gateway_url: Option<Url>,
    /// Namespace of the gateway; by default that of the batches, else it is looked for in all.
    #[arg(long, global = true, env = "IMAGEBATCH_GATEWAY_NAMESPACE", value_name = "NAMESPACE")]
    pub(super) gateway_namespace: Option<String>,
    /// File with the token or API key that is sent; by default the kubeconfig's token.
    #[arg(long, global = true, env = "IMAGEBATCH_GATEWAY_TOKEN_FILE", value_name = "FILE")]
    pub(super) gateway_token_file: Option<PathBuf>,
    /// ServiceAccount of the batches' namespace that the gateway is spoken to as, by a token made for it. By
    /// default, where the kubeconfig has no token, it is `default`.
    #[arg(
        long,
        global = true,
        env = "IMAGEBATCH_GATEWAY_SERVICE_ACCOUNT",
        value_name = "NAME",
        conflicts_with = "gateway_token_file"
    )]
    pub(super) gateway_service_account: Option<String>,
    /// Audience of such a token, with --gateway-url; by a port-forward it is known.
    #[arg(long, global = true, default_value = "imagebatch", value_name = "AUDIENCE")]
    pub(super) gateway_audience: String,
    /// PEM file of the authority that the gateway's certificate is of, besides the system's.
    #[arg(long, global = true, env = "IMAGEBATCH_GATEWAY_CA_FILE", value_name = "FILE")]
    pub(super) gateway_ca_file: Option<PathBuf>,
    /// Name that the gateway's certificate must have; by default that of its Service, or of the URL.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "gateway_url")]
    pub(super) gateway_server_name: Option<String>,
    /// Take any certificate of the gateway. By a port-forward the API server and the node answer for it.
    #[arg(long, global = true, conflicts_with = "gateway_ca_file")]
    pub(super) gateway_any_certificate: bool,
}

/// A gateway that is reached when it is needed.
pub(super) struct Gateway<'a> {
    cluster: &'a Cluster,
    args: GatewayArgs,
}

impl<'a> Gateway<'a> {
    pub(super) fn new(cluster: &'a Cluster, args: GatewayArgs) -> Self {
        Self { cluster, args }
    }

    /// Returns the gateway's pods, without a word to them.
    pub(super) async fn find(&self) -> anyhow::Result<Found> {
        find::find(self.cluster, self.args.gateway_namespace.as_deref()).await
    }

    /// Returns all of the gateway's pods, ready or not.
    pub(super) async fn find_all(&self) -> anyhow::Result<Vec<Found>> {
        find::all(self.cluster, self.args.gateway_namespace.as_deref()).await
    }

    /// Returns whether it is reached at an address that was given.
    pub(super) fn has_url(&self) -> bool {
        self.args.gateway_url.is_some()
    }

    /// Returns a connection to the gateway.
    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        let mut client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        client = client.tls_danger_accept_invalid_certs(self.args.gateway_any_certificate);
        if let Some(path) = &self.args.gateway_ca_file {
            let failed = || format!("--gateway-ca-file: failed to read {}", path.display());
            let pem = std::fs::read(path).with_context(failed)?;
            client = client.tls_certs_merge(Certificate::from_pem_bundle(&pem).with_context(failed)?);
        }
        if let Some(url) = &self.args.gateway_url {
            let token = token::for_url(self.cluster, &self.args, url).await?;
            let client = client.build().context("failed to set up the HTTP client")?;
            return Ok(Connection::new(client, url.clone(), token, &self.cluster.namespace, None));
        }
        let found = self.find().await?;
        let token = token::for_pods(self.cluster, &self.args, &found).await?;
        let forward = Forward::start(&self.cluster.client, &found.namespace, &found.pod, found.port)?;
        let name = self.args.gateway_server_name.clone().unwrap_or_else(|| found.server_name());
        let url = Url::parse(&format!("{}://{name}", if found.tls { "https" } else { "http" }))
            .with_context(|| format!("--gateway-server-name: {name:?} is no host name"))?;
        let client = client.unix_socket(forward.socket()).build().context("failed to set up the HTTP client")?;
        Ok(Connection::new(client, url, token, &self.cluster.namespace, Some(forward)))
    }
}
