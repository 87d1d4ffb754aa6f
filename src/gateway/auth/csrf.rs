//! A cookie goes along with requests that another site makes. What changes something must therefore say a word
//! that only the page itself can read.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::seal::Session;
use crate::gateway::error::{ApiError, Code};

const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
/// What browsers say of where a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Checks the word of a request that changes something.
pub(super) fn check_token(headers: &HeaderMap, session: &Session) -> Result<(), ApiError> {
    let given = headers.get(CSRF_TOKEN).map_or(&[][..], |it| it.as_bytes());
    verify_slices_are_equal(given, session.csrf.as_bytes()).map_err(|_| {
        let detail =
            "a change by way of the session's cookie needs the header X-CSRF-Token, which GET /v1/session tells";
        ApiError::new(Code::CsrfRejected, detail)
    })
}

/// Checks that no other site signs its visitors in here.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(ApiError::new(Code::CsrfRejected, "only this gateway's own page may sign in")),
    }
}
