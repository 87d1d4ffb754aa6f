//! When a failed fetch is tried again: what may pass, after a random wait, or after as long as the
//! host asked for.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::{Timestamp, fmt::rfc2822};

use super::args::EgressArgs;
use super::error::FetchError;

/// Longest wait between two tries that no host asked for.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// How often, and after which waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryPolicy {
    attempts: u16,
    base: Duration,
    max_retry_after: Duration,
}

impl RetryPolicy {
    /// Returns the policy as the arguments describe it.
    pub(super) fn new(args: &EgressArgs) -> Self {
        Self {
            attempts: args.fetch_attempts,
            base: Duration::from_millis(args.fetch_backoff_milliseconds),
            max_retry_after: Duration::from_secs(args.fetch_max_retry_after_seconds),
        }
    }

    /// Returns how long to wait after this many failed attempts, or `None` where no further one is made.
    ///
    /// The wait is anything from nothing to the doubled base ("full jitter"), so that requests that
    /// failed together do not come back together; or what the host asked for, and nothing is tried
    /// again that would have to come back earlier.
    pub(super) fn wait(&self, error: &FetchError, attempts: u16) -> Option<Duration> {
        if !error.is_transient() || attempts >= self.attempts {
            return None;
        }
        match error.retry_after() {
            Some(asked) if asked > self.max_retry_after => None,
            Some(asked) => Some(asked),
            None => Some(self.jitter(attempts)),
        }
    }

    /// Returns for how long a host is left alone that answers 429 without `Retry-After`.
    pub(super) fn short_pause(&self) -> Duration {
        self.base
    }

    fn jitter(&self, attempts: u16) -> Duration {
        let doubled = self.base.saturating_mul(1 << (attempts - 1).min(16)).min(MAX_BACKOFF);
        Duration::from_micros(fastrand::u64(0..=doubled.as_micros() as u64))
    }
}

/// Returns what `Retry-After` asks for (RFC 9110 10.2.3): seconds, or a date, which is measured from
/// the host's own `Date` where it sends one, as clocks differ.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| rfc2822::parse(text).ok().map(|it| it.timestamp());
    let now = text(DATE).and_then(date).unwrap_or(now);
    let wait = date(asked)?.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().expect("a time");
        for (asked, date, expected) in [
            ("120", None, Some(120)),
            (" 0 ", None, Some(0)),
            ("Sun, 01 Mar 2026 10:00:30 GMT", None, Some(30)),
            ("Sun, 01 Mar 2026 10:00:30 GMT", Some("Sun, 01 Mar 2026 10:00:10 GMT"), Some(20)),
            ("Sun, 01 Mar 2026 09:00:00 GMT", None, Some(0)),
            ("-5", None, None),
            ("1.5", None, None),
            ("soon", None, None),
            ("99999999999999999999999", None, None),
        ] {
            let mut pairs = vec![(RETRY_AFTER, asked)];
            pairs.extend(date.map(|it| (DATE, it)));
            assert_eq!(retry_after(&headers(&pairs), now), expected.map(Duration::from_secs), "{asked}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again_and_not_before_the_host_wants() {
        let policy =
            RetryPolicy { attempts: 3, base: Duration::from_secs(1), max_retry_after: Duration::from_secs(60) };
        let status = |status, retry_after: Option<u64>| FetchError::Status {
            status: StatusCode::from_u16(status).expect("a status"),
            retry_after: retry_after.map(Duration::from_secs),
        };
        for code in [400, 401, 403, 404, 410, 418, 204, 304] {
            assert_eq!(policy.wait(&status(code, None), 1), None, "{code}");
        }
        for code in [408, 425, 429, 500, 502, 503, 504] {
            let wait = policy.wait(&status(code, None), 1).expect("another try");
            assert!(wait <= Duration::from_secs(1), "{wait:?}");
            assert!(policy.wait(&status(code, None), 2).expect("another try") <= Duration::from_secs(2));
            assert_eq!(policy.wait(&status(code, None), 3), None, "the attempts are used up");
            assert_eq!(policy.wait(&status(code, Some(60)), 1), Some(Duration::from_secs(60)));
            assert_eq!(policy.wait(&status(code, Some(61)), 1), None, "it asks for more than anybody waits");
        }
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        let policy = RetryPolicy { attempts: 4, base: Duration::from_secs(1), max_retry_after: Duration::ZERO };
        let waits: Vec<u128> = (0..1_000).map(|_| policy.jitter(2).as_millis()).collect();
        for quarter in 0..4 {
            let within = waits.iter().filter(|it| (quarter * 500..(quarter + 1) * 500).contains(*it)).count();
            assert!(within > 100, "{within} of 1,000 waits in quarter {quarter}");
        }
        assert!(policy.jitter(u16::MAX) <= MAX_BACKOFF);
    }
}
