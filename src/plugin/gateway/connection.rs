//! Requests of the gateway, and its problem documents as errors.

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::forward::Forward;
use super::token::Token;
use crate::plugin::print::clean;

/// Longest time for an answer, and for the head of a download.
const ANSWER: Duration = Duration::from_secs(60);

/// A gateway that can be asked.
pub(crate) struct Connection {
    client: Client,
    url: Url,
    token: Option<SecretString>,
    /// Whose token it is.
    of: Option<String>,
    namespace: String,
    forward: Option<Forward>,
}

/// What of a problem document is shown.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Problem {
    detail: String,
    code: String,
    request_id: String,
}

impl Connection {
    pub(super) fn new(
        client: Client,
        url: Url,
        token: Option<Token>,
        namespace: &str,
        forward: Option<Forward>,
    ) -> Self {
        let (token, of) = token.map(|it| (it.token, it.of)).unzip();
        Self { client, url, token, of, namespace: namespace.to_owned(), forward }
    }

    /// Returns a request for a path of the batches' namespace.
    pub(super) fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url.query_pairs_mut().append_pair("namespace", &self.namespace).extend_pairs(query);
        self.sign(self.client.request(method, url))
    }

    /// Returns a request for a path with a query that names the namespace itself.
    pub(super) fn request_with_query(&self, method: Method, path: &str, query: &str) -> RequestBuilder {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url.set_query(Some(query));
        self.sign(self.client.request(method, url))
    }

    fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    /// Returns the JSON of a path.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<T> {
        let answer = self.send(self.request(Method::GET, path, query).timeout(ANSWER)).await?;
        answer.json().await.context("the gateway's answer cannot be read")
    }

    /// Returns an answer whose body has no bound of time.
    pub(crate) async fn download(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Response> {
        let sent = self.send(self.request(Method::GET, path, query));
        tokio::time::timeout(ANSWER, sent).await.context("the gateway did not answer in time")?
    }

    /// Sends a request; an answer that refuses is an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = request.send().await.map_err(|error| self.unreachable(error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer).await) }
    }

    pub(super) fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        let place = match &self.forward {
            Some(_) => "by a port-forward".to_owned(),
            None => format!("at {}", self.url),
        };
        let fault = self.forward.as_ref().and_then(Forward::fault).map(|it| format!(": {it}")).unwrap_or_default();
        let certificate = format!("{error:?}").contains("InvalidCertificate");
        let hint = if certificate {
            "; its certificate is not valid for this name: see --gateway-ca-file and --gateway-server-name"
        } else {
            ""
        };
        anyhow::Error::from(error.without_url()).context(format!("failed to reach the gateway {place}{fault}{hint}"))
    }

    /// Returns what a refusing answer says.
    pub(super) async fn refused(&self, answer: Response) -> anyhow::Error {
        let status = answer.status();
        let body = answer.text().await.unwrap_or_default();
        let Ok(problem) = serde_json::from_str::<Problem>(&body) else {
            return anyhow!("the gateway answered {status}, and not as an ImageBatch gateway does");
        };
        let Problem { detail, code, request_id } = problem;
        let hint = self.hint(status);
        anyhow!("{}{hint} [{}, request {}]", clean(&detail), clean(&code), clean(&request_id))
    }

    fn hint(&self, status: StatusCode) -> String {
        let of = self.of.as_deref().unwrap_or("a request without a token");
        match status {
            StatusCode::UNAUTHORIZED => format!(
                " (this is {of}: give another by --gateway-token-file, or --gateway-service-account for one that is \
                 made for the gateway)"
            ),
            StatusCode::FORBIDDEN => format!(
                " (this is {of}: bind a Role with the verb on imagebatches.imagebatch.io to it, or name another by \
                 --gateway-service-account)"
            ),
            _ => String::new(),
        }
    }
}
