//! One request with a body, to a webhook: the guard is the same as for what is fetched.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::Full;
use jiff::Timestamp;
use tower_service::Service;

use super::{Egress, FetchError, error, retry};

/// What a receiver answered, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; redirects are answers like others and are not followed.
    pub status: StatusCode,
    /// What `Retry-After` asked for.
    pub retry_after: Option<Duration>,
}

impl Egress {
    /// Posts a body and waits for the head of the answer; one try. The answer's body is not read.
    pub async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, FetchError> {
        let inner = &*self.0;
        let url = inner.rules.target(url)?;
        let uri: Uri = url.as_str().parse().map_err(|error| FetchError::InvalidUrl(format!("{error}")))?;
        let mut request =
            Request::post(uri).body(Full::new(body)).map_err(|error| FetchError::InvalidUrl(error.to_string()))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::USER_AGENT, inner.user_agent.clone());
        let answer = tokio::time::timeout(timeout, inner.client.clone().call(request))
            .await
            .map_err(|_| FetchError::Timeout { what: "answer", limit: timeout })?
            .map_err(|error| error::of_request(&error))?;
        let retry_after = retry::retry_after(answer.headers(), Timestamp::now());
        Ok(Answer { status: answer.status(), retry_after })
    }
}
