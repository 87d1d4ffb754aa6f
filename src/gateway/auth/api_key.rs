//! API keys: `ib_<id>_<secret>`, of which only a keyed hash is kept. The pepper is the hash's key: who reads the
//! entries alone can try no guesses.

use aws_lc_rs::{hmac, rand};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// What every key begins with.
const PREFIX: &str = "ib_";
/// Bytes of a key's secret part, and of a pepper.
const SECRET: usize = 32;
/// Longest id.
const MAX_ID: usize = 40;
/// Entry of the Secret that is no key.
pub const PEPPER: &str = "pepper";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The id could not be an entry of the Secret.
    #[error("{0:?} is no id of a key: 1 to {MAX_ID} of a-z, 0-9 and -, and not {PEPPER:?}")]
    Id(String),
    /// The pepper is too short to keep guesses away.
    #[error("the pepper has fewer than {SECRET} bytes")]
    Pepper,
    /// The system has no random numbers.
    #[error("no random numbers")]
    Random,
}

/// What the Secret says of a key.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// HMAC-SHA-256 of the whole key under the pepper, in hexadecimal digits.
    pub hash: String,
    /// The user that Kubernetes' RBAC knows.
    pub user: String,
    /// The user's groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Where requests go that name no namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// From when on the key is refused.
    pub expires: Timestamp,
}

/// Who a new key is for.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The user that Kubernetes' RBAC knows.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// Where requests go that name no namespace.
    pub namespace: Option<String>,
    /// From when on the key is refused.
    pub expires: Timestamp,
}

/// What keys are hashed with.
pub struct Pepper(hmac::Key);

impl Pepper {
    /// Returns the pepper of these bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() < SECRET {
            return Err(KeyError::Pepper);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Returns whether a key is the one that was hashed; how long it takes says nothing.
    pub(super) fn matches(&self, key: &str, hash: &str) -> bool {
        let hash = hex::decode(hash).unwrap_or_default();
        hmac::verify(&self.0, key.as_bytes(), &hash).is_ok()
    }
}

/// Returns hexadecimal digits of a new pepper.
pub fn new_pepper() -> Result<SecretString, KeyError> {
    random()
}

/// Makes a key: what its owner gets, and what the Secret's entry of that id says of it.
pub fn create(id: &str, owner: Owner, pepper: &Pepper) -> Result<(SecretString, Entry), KeyError> {
    if !is_id(id) {
        return Err(KeyError::Id(id.to_owned()));
    }
    let key = format!("{PREFIX}{id}_{}", random()?.expose_secret());
    let hash = hex::encode(hmac::sign(&pepper.0, key.as_bytes()));
    let Owner { user, groups, namespace, expires } = owner;
    Ok((key.into(), Entry { hash, user, groups, namespace, expires }))
}

/// Returns whether a token is meant to be a key.
pub(super) fn is_api_key(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// Returns the id of a key.
pub(super) fn id_of(key: &str) -> Option<&str> {
    let (id, _) = key.strip_prefix(PREFIX)?.split_once('_')?;
    is_id(id).then_some(id)
}

fn is_id(id: &str) -> bool {
    let inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(inner) && id != PEPPER
}

fn random() -> Result<SecretString, KeyError> {
    let mut bytes = [0; SECRET];
    rand::fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(hex::encode(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { user: "shop".to_owned(), groups: Vec::new(), namespace: None, expires: Timestamp::MAX }
    }

    #[test]
    fn a_key_matches_its_own_hash_alone() {
        let pepper = Pepper::new(&[1; 32]).expect("a pepper");
        let (key, entry) = create("shop-1", owner(), &pepper).expect("a key");
        let (other, _) = create("shop-1", owner(), &pepper).expect("a key");
        assert_eq!(id_of(key.expose_secret()), Some("shop-1"));
        assert!(pepper.matches(key.expose_secret(), &entry.hash));
        assert!(!pepper.matches(other.expose_secret(), &entry.hash));
        assert!(!pepper.matches(key.expose_secret(), ""));
        assert!(!Pepper::new(&[2; 32]).expect("a pepper").matches(key.expose_secret(), &entry.hash));
        assert!(!serde_json::to_string(&entry).expect("JSON").contains(&key.expose_secret()[10..]));
    }

    #[test]
    fn ids_and_peppers_are_checked() {
        let pepper = Pepper::new(&[1; 32]).expect("a pepper");
        for id in ["", "pepper", "Shop", "a_b", "a.b", &"x".repeat(41)] {
            assert!(create(id, owner(), &pepper).is_err(), "{id:?}");
        }
        assert!(Pepper::new(&[1; 31]).is_err());
        for key in ["ib_", "ib_shop", "ib__secret", "ib_pepper_secret", "shop_secret"] {
            assert_eq!(id_of(key), None, "{key}");
        }
    }
}
