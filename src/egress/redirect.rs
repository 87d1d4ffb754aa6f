//! Where an answer sends the request on, and whether it goes there. Pure.
//!
//! The HTTP client follows nothing by itself: each hop is a new request without headers of the one
//! before, and its URL passes the same rules, as does each address it leads to.

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use url::Url;

use super::error::FetchError;
use super::target::{Rules, refuse_ambiguous};

/// Longest `Location`. Longer than a user's URL may be: signed links of storage services are long.
const MAX_LOCATION: usize = 8 * 1024;

/// Returns the next hop of an answer that is a redirect.
pub(super) fn next(
    from: &Url,
    status: StatusCode,
    headers: &HeaderMap,
    rules: &Rules,
) -> Result<Option<Url>, FetchError> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = headers.get(LOCATION) else { return Ok(None) };
    let refused = |detail: String| FetchError::RedirectRefused(detail);
    if location.len() > MAX_LOCATION {
        return Err(refused(format!("to a URL of {} bytes, more than the limit of {MAX_LOCATION}", location.len())));
    }
    // Hosts write other bytes than ASCII as they are; browsers take them as UTF-8.
    let location = String::from_utf8_lossy(location.as_bytes());
    refuse_ambiguous(&location).map_err(|error| refused(error.to_string()))?;
    let to = from.join(&location).map_err(|error| refused(format!("its URL cannot be parsed: {error}")))?;
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(refused("from https to http".to_owned()));
    }
    match rules.check(to) {
        Ok(to) => Ok(Some(to)),
        Err(error @ FetchError::AddressForbidden(_)) => Err(error),
        Err(error) => Err(refused(error.to_string())),
    }
}
