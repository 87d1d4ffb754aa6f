//! Splits a cell into image URLs and brings each into the form that is fetched.
//!
//! URLs may contain commas and spaces, so a cell is split only where a new `http://` or `https://`
//! begins after a separator.

use url::Url;

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
#[must_use]
pub fn split(cell: &str) -> Vec<&str> {
    let lower = cell.to_ascii_lowercase();
    let mut starts = vec![0];
    for scheme in ["http://", "https://"] {
        starts.extend(
            lower
                .match_indices(scheme)
                .map(|(index, _)| index)
                .filter(|&index| index > 0 && is_separator(lower.as_bytes()[index - 1])),
        );
    }
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().copied().skip(1).chain([cell.len()]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| cell[start..end].trim_matches(|it: char| it.is_ascii() && is_separator(it as u8)))
        .filter(|piece| !piece.is_empty())
        .collect()
}

/// Returns the URL as it is fetched: parsed, percent-encoded, without its fragment.
pub fn normalize(piece: &str, max_length: usize) -> Result<String, UrlError> {
    if piece.len() > max_length {
        return Err(UrlError::TooLong { length: piece.len(), limit: max_length });
    }
    // The parser would leave them out and make one URL of two lines.
    if piece.contains(['\r', '\n', '\t']) {
        return Err(UrlError::Invalid("the URL contains a line break or tab".to_owned()));
    }
    let mut url = Url::parse(piece).map_err(|error| UrlError::Invalid(format!("not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlError::Invalid(format!("the scheme is {:?}, not http or https", url.scheme())));
    }
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

fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b';' | b'|' | b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_split_only_where_a_url_begins() {
        let cases: [(&str, &[&str]); 6] = [
            ("https://a/1.jpg", &["https://a/1.jpg"]),
            ("https://a/1.jpg,https://a/2.jpg", &["https://a/1.jpg", "https://a/2.jpg"]),
            (" https://a/w_100,h_50/1.jpg ,\nhttp://b/2.jpg;", &["https://a/w_100,h_50/1.jpg", "http://b/2.jpg"]),
            ("HTTPS://a/1.jpg\r\nhttps://a/2.jpg", &["HTTPS://a/1.jpg", "https://a/2.jpg"]),
            ("https://a/?next=https://b/", &["https://a/?next=https://b/"]),
            (" , ", &[]),
        ];
        for (cell, expected) in cases {
            assert_eq!(split(cell), expected, "{cell:?}");
        }
    }

    #[test]
    fn urls_are_encoded_as_browsers_do() {
        assert_eq!(
            normalize("https://bücher.example/ä b.jpg#x", 2048).as_deref(),
            Ok("https://xn--bcher-kva.example/%C3%A4%20b.jpg")
        );
    }

    #[test]
    fn other_schemes_credentials_and_length_are_refused() {
        for piece in ["ftp://a/1.jpg", "picture.jpg", "https://", "https://user:pw@a/1.jpg"] {
            assert!(matches!(normalize(piece, 2048), Err(UrlError::Invalid(_))), "{piece:?}");
        }
        assert!(matches!(normalize("https://a/12345", 10), Err(UrlError::TooLong { .. })));
    }
}
