//! Which web pages of other origins may call the API in a browser. None may unless they are named.

use std::str::FromStr;
use std::time::Duration;

use axum::http::header::{
    AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, RANGE, RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember what is allowed.
const MAX_AGE: Duration = Duration::from_secs(600);
/// The headers that pages may set.
const REQUEST: [HeaderName; 9] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    IF_NONE_MATCH,
    RANGE,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("prefer"),
    HeaderName::from_static("x-csrf-token"),
    HeaderName::from_static("x-request-id"),
];
/// The headers of answers that pages may read.
const RESPONSE: [HeaderName; 6] = [
    CONTENT_DISPOSITION,
    ETAG,
    LOCATION,
    RETRY_AFTER,
    HeaderName::from_static("preference-applied"),
    HeaderName::from_static("x-request-id"),
];

/// An origin such as `https://shop.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no origin: write it as a browser does, for example https://shop.example");
        let url: url::Url = text.parse().map_err(|_| wrong())?;
        // Browsers compare text, so a path, a default port or a capital letter would never match.
        if !matches!(url.scheme(), "http" | "https") || url.origin().ascii_serialization() != text {
            return Err(wrong());
        }
        HeaderValue::try_from(text).map(Self).map_err(|_| wrong())
    }
}

/// Returns the layer that lets pages of these origins call the API.
pub(crate) fn layer(origins: &[Origin]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().map(|it| it.0.clone())))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers(REQUEST)
        .expose_headers(RESPONSE)
        .max_age(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in ["https://shop.example", "http://localhost:5173"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in
            ["*", "null", "shop.example", "https://shop.example/", "https://Shop.example", "https://shop.example:443"]
        {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
