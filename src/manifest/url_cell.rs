//! Splits a cell into image URLs and brings each into the form that is fetched.
//!
//! URLs may contain commas and spaces, so a cell is split only where a new `http://` or `https://`
//! begins after a separator. Nearly all URLs have their fetched form already; those are recognized by
//! one look at each byte and handed on as they are, the others go through the `url` crate.

use std::borrow::Cow;

use memchr::memchr_iter;
use url::Url;

use super::bytes::any_pair;

/// Why a piece of a cell is not an image URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not parseable, or a scheme other than http(s).
    #[error("{0}")]
    Invalid(String),
    /// Longer than the limit.
    #[error("the URL has {length} bytes, more than the limit of {limit}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
}

/// Splits a cell into the URLs it holds, each without the separators around it.
pub fn split(cell: &str) -> impl Iterator<Item = &str> {
    let mut rest = cell;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(next_url(rest));
            rest = behind;
            let piece = trim(piece);
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    })
}

/// Brings URLs into the form that is fetched, and remembers a host that needs no second look: nearly
/// all URLs of a source have the same.
#[derive(Debug, Default)]
pub struct UrlReader {
    /// Scheme, host and slash of a canonical URL.
    known: String,
}

impl UrlReader {
    /// Returns the URL as it is fetched: parsed, percent-encoded, without its fragment. `is_plain` says
    /// what [`is_plain`] says of the piece, or of the cell around it.
    pub fn normalize<'p>(
        &mut self,
        piece: &'p str,
        is_plain: bool,
        max_length: usize,
    ) -> Result<Cow<'p, str>, UrlError> {
        if piece.len() > max_length {
            return Err(UrlError::TooLong { length: piece.len(), limit: max_length });
        }
        if is_plain && self.is_host_plain(piece) {
            return Ok(Cow::Borrowed(piece));
        }
        parse(piece, max_length).map(Cow::Owned)
    }

    fn is_host_plain(&mut self, piece: &str) -> bool {
        if !self.known.is_empty() && piece.starts_with(&self.known) {
            return true;
        }
        let Some(prefix) = plain_prefix(piece) else { return false };
        self.known.clear();
        self.known.push_str(prefix);
        true
    }
}

/// Returns the URL as it is fetched.
pub fn normalize(piece: &str, max_length: usize) -> Result<Cow<'_, str>, UrlError> {
    UrlReader::default().normalize(piece, is_plain(piece), max_length)
}

fn parse(piece: &str, max_length: usize) -> Result<String, UrlError> {
    if !scheme_is_http(piece) {
        let other = piece.split_once("://").map(|(scheme, _)| scheme).filter(|it| it.bytes().all(is_of_scheme));
        return Err(UrlError::Invalid(match other {
            Some(scheme) => format!("the scheme is {scheme:?}, not http or https"),
            None => "the URL does not begin with http:// or https://".to_owned(),
        }));
    }
    // The parser would leave them out and make one URL of two lines.
    if piece.contains(['\r', '\n', '\t']) {
        return Err(UrlError::Invalid("the URL contains a line break or tab".to_owned()));
    }
    let mut url = Url::parse(piece).map_err(|error| UrlError::Invalid(format!("not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Invalid("the URL contains a user name or password".to_owned()));
    }
    url.set_fragment(None);
    let normalized = String::from(url);
    if normalized.len() > max_length {
        return Err(UrlError::TooLong { length: normalized.len(), limit: max_length });
    }
    Ok(normalized)
}

/// Returns where the cell's second URL begins, or its end where there is none.
fn next_url(cell: &str) -> usize {
    let bytes = cell.as_bytes();
    // A first URL's own scheme needs no look.
    let skipped = if bytes.starts_with(b"https://") { 8 } else { 0 };
    memchr_iter(b':', &bytes[skipped..])
        .map(|colon| colon + skipped)
        .filter(|&colon| bytes[colon..].starts_with(b"://"))
        .find_map(|colon| {
            let start = [4, 5].into_iter().filter_map(|length| colon.checked_sub(length)).find(|&start| {
                let scheme = &bytes[start..colon];
                scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")
            })?;
            (start > 0 && is_separator(bytes[start - 1])).then_some(start)
        })
        .unwrap_or(bytes.len())
}

fn trim(piece: &str) -> &str {
    let piece = piece.strip_suffix(',').unwrap_or(piece);
    let bytes = piece.as_bytes();
    if let [b'a'..=b'z', .., b'a'..=b'z'] = bytes {
        return piece;
    }
    let Some(start) = bytes.iter().position(|&byte| !is_separator(byte)) else { return "" };
    let end = bytes.iter().rposition(|&byte| !is_separator(byte)).unwrap_or(start);
    // Separators are ASCII, so both ends are between characters.
    &piece[start..=end]
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b';' | b'|' | b' ' | b'\t' | b'\r' | b'\n')
}

fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

fn scheme_is_http(piece: &str) -> bool {
    let scheme = piece.split(':').next().unwrap_or_default();
    scheme.len() < piece.len() && (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
}

/// Returns scheme, host and slash of a URL whose host is written as it is dialled.
fn plain_prefix(piece: &str) -> Option<&str> {
    let behind = piece.strip_prefix("https://").or_else(|| piece.strip_prefix("http://"))?;
    let host = behind.find('/')?;
    is_plain_host(&behind.as_bytes()[..host]).then(|| &piece[..=piece.len() - behind.len() + host])
}

/// Lower-case labels, of which the last begins with a letter (else it might be an IPv4 address) and
/// none is Punycode.
fn is_plain_host(host: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let last = host.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    last.first().is_some_and(u8::is_ascii_lowercase)
        && host.len() <= 253
        && host.split(|&byte| byte == b'.').all(|label| {
            label.first().is_some_and(plain)
                && label.last().is_some_and(plain)
                && label.iter().all(|byte| plain(byte) || *byte == b'-')
                && !label.starts_with(b"xn--")
        })
}

/// Returns whether a text has only bytes that stand in paths and queries as they are, and no `/.` and
/// `/%`, which may begin a segment `.` or `..`. With a plain host in front, a URL of such a text is
/// what the `url` crate would make of it. The rule is narrower than the standard's, so that it costs
/// few instructions; a property test holds it against the crate.
#[must_use]
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep the loop from becoming vector instructions")]
pub fn is_plain(text: &str) -> bool {
    let may_be_dot = |byte, next| (byte == b'/') & ((next == b'.') | (next == b'%'));
    let bytes = text.as_bytes();
    bytes.last().is_none_or(|&last| is_byte_plain(last))
        && !any_pair(bytes, |byte, next| !is_byte_plain(byte) | may_be_dot(byte, next))
}

/// What is visible in ASCII but ``!"#'<>@[\]^`{|}~``.
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep the loop from becoming vector instructions")]
fn is_byte_plain(byte: u8) -> bool {
    // Capital and small letters differ by one bit, as do `<` and `>`, and `@` and the backtick.
    let (angle, caseless) = (byte & 0xfd, byte & 0xdf);
    let outside = byte.wrapping_sub(b'$') > b'~' - b'$';
    let bracket = caseless.wrapping_sub(b'[') <= b'^' - b'[';
    !(outside | (byte == b'\'') | (angle == b'<') | bracket | (caseless == b'@'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cell_is_split_only_where_a_url_begins() {
        let cases: [(&str, &[&str]); 9] = [
            ("https://a/1.jpg", &["https://a/1.jpg"]),
            ("https://a/1.jpg,https://a/2.jpg", &["https://a/1.jpg", "https://a/2.jpg"]),
            (" https://a/w_100,h_50/1.jpg ,\nhttp://b/2.jpg;", &["https://a/w_100,h_50/1.jpg", "http://b/2.jpg"]),
            ("HTTPS://a/1.jpg\r\nhttps://a/2.jpg", &["HTTPS://a/1.jpg", "https://a/2.jpg"]),
            ("https://a/?next=https://b/", &["https://a/?next=https://b/"]),
            ("https://a/?next=xhttps://b/,HTTP://c/", &["https://a/?next=xhttps://b/", "HTTP://c/"]),
            ("picture.jpg, https://a/1.jpg", &["picture.jpg", "https://a/1.jpg"]),
            ("://,http://", &["://", "http://"]),
            (" , ", &[]),
        ];
        for (cell, expected) in cases {
            assert_eq!(split(cell).collect::<Vec<_>>(), expected, "{cell:?}");
        }
    }

    #[test]
    fn urls_are_encoded_as_browsers_do() {
        let cases = [
            ("https://bücher.example/ä b.jpg#x", "https://xn--bcher-kva.example/%C3%A4%20b.jpg"),
            ("HTTPS://Shop.Example", "https://shop.example/"),
            ("https://shop.example:443/a/../1.jpg", "https://shop.example/1.jpg"),
            ("https://0x7f.1/1.jpg", "https://127.0.0.1/1.jpg"),
        ];
        for (piece, expected) in cases {
            assert_eq!(normalize(piece, 2048).as_deref(), Ok(expected), "{piece:?}");
        }
    }

    #[test]
    fn other_schemes_credentials_and_length_are_refused() {
        for piece in ["ftp://a/1.jpg", "picture.jpg", "https://", "https://user:pw@a/1.jpg", "https://a/1.jpg\n2.jpg"] {
            assert!(matches!(normalize(piece, 2048), Err(UrlError::Invalid(_))), "{piece:?}");
        }
        assert!(matches!(normalize("https://a/12345", 10), Err(UrlError::TooLong { .. })));
    }

    /// Text that is nearly a URL: what the fast way may take for one that it is not.
    fn nearly_url() -> impl Strategy<Value = String> {
        let host = "[a-z0-9.-]{1,12}|xn--[a-z0-9-]{1,6}|[0-9.x]{1,8}|[a-c]\\.[0-9]{1,3}|[\\PC]{1,6}";
        let path = "([a-zA-Z0-9/?.%,;=&+~!$()*:@_-]|%2[eE]|/\\.|\\./|//|[\\x00-\\xff]){0,20}";
        ("https?://", host, "[/:?#]?", path)
            .prop_map(|(scheme, host, mark, path)| format!("{scheme}{host}{mark}{path}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn what_is_taken_as_it_is_has_the_form_of_the_url_crate(piece in nearly_url()) {
            if is_plain(&piece) && UrlReader::default().is_host_plain(&piece) {
                let url = Url::parse(&piece);
                prop_assert_eq!(url.map(String::from), Ok(piece));
            }
        }
    }

    proptest! {
        #[test]
        fn joined_urls_are_split_again(urls in prop::collection::vec("https?://[a-z]{1,5}\\.example/[a-z0-9/,_-]{0,10}[a-z]", 1..8), separator in "[,;|] ?|\r?\n| ") {
            let cell = urls.join(&separator);
            prop_assert_eq!(split(&cell).collect::<Vec<_>>(), urls);
        }

        #[test]
        fn nothing_but_separators_is_lost_by_splitting(cell in "(https?://|HTTP://|[a-z:/]{0,4}|[,;| \t\r\n]{1,2}|ü){0,12}") {
            let kept = |text: &str| text.chars().filter(|it| !(it.is_ascii() && is_separator(*it as u8))).collect::<String>();
            prop_assert_eq!(split(&cell).map(kept).collect::<String>(), kept(&cell));
            for piece in split(&cell) {
                prop_assert_eq!(split(piece).collect::<Vec<_>>(), [piece]);
            }
        }
    }
}
