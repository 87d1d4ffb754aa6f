//! `Idempotency-Key`: a repeated upload or retry finds the batch that the first one made.
//!
//! The batch's name is derived from namespace, principal and key, so the API server is the lock: of
//! concurrent repeats one create wins, the others find the winner's batch. A key lives as long as its
//! ImageBatch. What was asked for is kept as a fingerprint in an annotation, so that another body or
//! other options under the same key are refused and not mistaken for a repeat.

use axum::http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use super::error::{ApiError, Code};
use super::options::SubmitOptions;
use crate::api::image_batch::ImageBatch;
use crate::api::labels;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key.
const MAX_LENGTH: usize = 255;
/// Hexadecimal digits of a name: 128 bits, which nobody finds a second key for.
const DIGITS: usize = 32;

/// Returns the name of the batch that belongs to the request's key, if it has one.
pub(crate) fn batch_name(headers: &HeaderMap, namespace: &str, principal: &str) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(&HEADER).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    // A structured field's string stands in quotes; most clients send the bare key.
    let key = value.to_str().unwrap_or_default().trim();
    let key = key.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(key);
    if values.next().is_some()
        || key.is_empty()
        || key.len() > MAX_LENGTH
        || !key.bytes().all(|it| it.is_ascii_graphic())
    {
        let detail =
            format!("Idempotency-Key may be one key of 1 to {MAX_LENGTH} visible ASCII characters, such as a UUID");
        return Err(ApiError::new(Code::InvalidParameter, detail));
    }
    Ok(Some(derived_name("ik", &[namespace, principal, key])))
}

/// Returns the name of the one retry of a batch that is asked for without a key.
#[must_use]
pub fn retry_name(uid: &str) -> String {
    derived_name("retry", &[uid])
}

fn derived_name(prefix: &str, pieces: &[&str]) -> String {
    format!("{prefix}-{}", &hex::encode(digest(pieces))[..DIGITS])
}

/// Returns what tells a retry from another request under the same key.
#[must_use]
pub fn retry_fingerprint(uid: &str) -> String {
    hex::encode(digest(&["retry", uid]))
}

/// Returns what tells a repeat from another request under the same key: the CSV and every option as it
/// was given.
pub(crate) fn fingerprint(sha256: &str, options: &SubmitOptions) -> String {
    let mut pieces = vec![sha256];
    pieces.extend(options.given().flat_map(|(name, value)| [name, value]));
    hex::encode(digest(&pieces))
}

/// Checks that a batch found under the key's name was made by the same request.
pub(crate) fn check(found: &ImageBatch, fingerprint: &str) -> Result<(), ApiError> {
    let name = found.metadata.name.as_deref().unwrap_or_default();
    if found.metadata.deletion_timestamp.is_some() {
        let detail = format!("batch {name:?} of this Idempotency-Key is being deleted; try again, or use another key");
        return Err(ApiError::new(Code::BatchDeleting, detail));
    }
    let annotations = found.metadata.annotations.as_ref();
    if annotations.and_then(|it| it.get(labels::FINGERPRINT)).is_some_and(|it| it == fingerprint) {
        return Ok(());
    }
    let detail = format!("batch {name:?} was made under this Idempotency-Key by another request");
    Err(ApiError::new(Code::IdempotencyKeyReused, detail).with("id", name))
}

/// Hashes pieces with their lengths, so that no two lists of pieces look the same.
fn digest(pieces: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update((piece.len() as u64).to_be_bytes());
        hash.update(piece);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> Option<String> {
        let value = key.parse().expect("a header's value");
        batch_name(&HeaderMap::from_iter([(HEADER, value)]), "shop", "anonymous").expect("a valid key")
    }

    #[test]
    fn a_key_is_a_name_of_its_own() {
        let first = name("8e03978e-40d5-43dd-bc93-6894a57f9324").expect("a name");
        assert!(
            first.len() <= 40 && first.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
        );
        assert_eq!(name("\"8e03978e-40d5-43dd-bc93-6894a57f9324\""), Some(first.clone()));
        assert_ne!(name("8e03978e-40d5-43dd-bc93-6894a57f9325"), Some(first.clone()));
        let other = HeaderMap::from_iter([(HEADER, "8e03978e-40d5-43dd-bc93-6894a57f9324".parse().expect("a value"))]);
        assert_ne!(batch_name(&other, "shop", "somebody").expect("a valid key"), Some(first));
        assert_eq!(batch_name(&HeaderMap::new(), "shop", "anonymous").expect("no key"), None);
    }

    #[test]
    fn other_keys_are_refused() {
        for key in ["", "\"\"", "two words", &"x".repeat(256)] {
            let headers = HeaderMap::from_iter([(HEADER, key.parse().expect("a header's value"))]);
            assert!(batch_name(&headers, "shop", "anonymous").is_err(), "{key:?}");
        }
    }
}
