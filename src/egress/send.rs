//! One request with a body, to a webhook: the guard is the same as for what is fetched.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;

use super::{Egress, FetchError, retry};

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
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        let answer = tokio::time::timeout(timeout, inner.send(&url, request))
            .await
            .map_err(|_| FetchError::Timeout { what: "answer", limit: timeout })??;
        let retry_after = retry::retry_after(answer.headers(), Timestamp::now());
        Ok(Answer { status: answer.status(), retry_after })
    }
}
