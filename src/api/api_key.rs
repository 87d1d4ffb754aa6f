//! API keys, and the Secret that they are kept in: who makes or revokes one writes it, the gateway reads it.
//!
//! A key is `ib_<id>_<secret>`, of which only a keyed hash is kept, in the Secret's entry `<id>`. The entry
//! `pepper` is the hash's key: who reads the others alone can try no guesses.
//!
//! [`add`] and [`remove`] change a Secret as the API server gave it, or a new one. Put back with its
//! `resourceVersion`, or created, the change is refused where somebody else was faster.

use std::collections::BTreeMap;

use aws_lc_rs::{hmac, rand};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;
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
    /// There is an entry of that id.
    #[error("there is a key {0:?} already: revoke it, or take another id")]
    Taken(String),
    /// The key would be nobody's.
    #[error("a key needs a user, as role bindings name it")]
    User,
    /// The pepper is too short to keep guesses away.
    #[error("the entry {PEPPER:?} has fewer than {SECRET} bytes")]
    Pepper,
    /// The system has no random numbers.
    #[error("no random numbers")]
    Random,
    /// The entry cannot be written.
    #[error("failed to write the key's entry")]
    Write(#[source] serde_json::Error),
}

/// What the Secret says of a key, as JSON.
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
    fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() < SECRET {
            return Err(KeyError::Pepper);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Returns the pepper of a Secret, where it has one.
    pub fn of(secret: &Secret) -> Result<Option<Self>, KeyError> {
        let bytes = secret.data.as_ref().and_then(|it| it.get(PEPPER));
        bytes.map(|it| Self::new(it.0.trim_ascii())).transpose()
    }

    /// Returns whether a key is the one that was hashed; how long it takes says nothing.
    #[must_use]
    pub fn matches(&self, key: &str, hash: &str) -> bool {
        let hash = hex::decode(hash).unwrap_or_default();
        hmac::verify(&self.0, key.as_bytes(), &hash).is_ok()
    }
}

/// Returns the keys of a Secret by their ids; `None` is an entry that is none, and lets nobody in.
#[must_use]
pub fn list(secret: &Secret) -> BTreeMap<String, Option<Entry>> {
    let entries = secret.data.iter().flatten().filter(|(id, _)| *id != PEPPER);
    let read = |json: &[u8]| serde_json::from_slice::<Entry>(json).ok().filter(|it| !it.user.is_empty());
    entries.map(|(id, json)| (id.clone(), read(&json.0))).collect()
}

/// Adds a key to a Secret, and a pepper where there is none; returns the key, which is nowhere else.
pub fn add(secret: &mut Secret, id: &str, owner: Owner) -> Result<SecretString, KeyError> {
    if !is_id(id) {
        return Err(KeyError::Id(id.to_owned()));
    }
    if owner.user.is_empty() {
        return Err(KeyError::User);
    }
    if secret.data.as_ref().is_some_and(|it| it.contains_key(id)) {
        return Err(KeyError::Taken(id.to_owned()));
    }
    let mut written = BTreeMap::new();
    let pepper = if let Some(pepper) = Pepper::of(secret)? {
        pepper
    } else {
        let new = random()?;
        let pepper = Pepper::new(new.as_bytes())?;
        written.insert(PEPPER.to_owned(), new);
        pepper
    };
    let key = format!("{PREFIX}{id}_{}", random()?);
    let hash = hex::encode(hmac::sign(&pepper.0, key.as_bytes()));
    let Owner { user, groups, namespace, expires } = owner;
    let entry = Entry { hash, user, groups, namespace, expires };
    written.insert(id.to_owned(), serde_json::to_string(&entry).map_err(KeyError::Write)?);
    let data = secret.data.get_or_insert_default();
    data.extend(written.into_iter().map(|(name, value)| (name, ByteString(value.into_bytes()))));
    Ok(key.into())
}

/// Takes a key out of a Secret; returns whether it was there.
pub fn remove(secret: &mut Secret, id: &str) -> bool {
    is_id(id) && secret.data.as_mut().is_some_and(|it| it.remove(id).is_some())
}

/// Returns whether a token is meant to be a key.
#[must_use]
pub fn is_api_key(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// Returns the id of a key.
#[must_use]
pub fn id_of(key: &str) -> Option<&str> {
    let (id, _) = key.strip_prefix(PREFIX)?.split_once('_')?;
    is_id(id).then_some(id)
}

fn is_id(id: &str) -> bool {
    let inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(inner) && id != PEPPER
}

/// Returns hexadecimal digits of random bytes.
fn random() -> Result<String, KeyError> {
    let mut bytes = [0; SECRET];
    rand::fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn owner() -> Owner {
        Owner { user: "shop".to_owned(), groups: Vec::new(), namespace: None, expires: Timestamp::MAX }
    }

    fn entry(secret: &Secret, id: &str) -> Entry {
        list(secret).remove(id).flatten().expect("an entry")
    }

    #[test]
    fn a_key_matches_its_own_hash_alone() {
        let (mut secret, mut foreign) = (Secret::default(), Secret::default());
        let key = add(&mut secret, "shop-1", owner()).expect("a key");
        let other = add(&mut secret, "shop-2", owner()).expect("a key");
        add(&mut foreign, "shop-1", owner()).expect("a key");
        let (pepper, hash) = (Pepper::of(&secret).expect("a pepper").expect("one"), entry(&secret, "shop-1").hash);
        assert_eq!(id_of(key.expose_secret()), Some("shop-1"));
        assert!(pepper.matches(key.expose_secret(), &hash));
        assert!(!pepper.matches(other.expose_secret(), &hash));
        assert!(!pepper.matches(key.expose_secret(), ""));
        assert!(!Pepper::of(&foreign).expect("a pepper").expect("one").matches(key.expose_secret(), &hash));
        assert!(!serde_json::to_string(&secret).expect("JSON").contains(&key.expose_secret()[10..]));
    }

    #[test]
    fn keys_come_and_go_and_the_pepper_stays() {
        let mut secret = Secret::default();
        add(&mut secret, "first", owner()).expect("a key");
        let pepper = secret.data.clone().expect("entries")[PEPPER].clone();
        assert!(matches!(add(&mut secret, "first", owner()), Err(KeyError::Taken(_))));
        add(&mut secret, "second", owner()).expect("a key");
        assert!(remove(&mut secret, "first") && !remove(&mut secret, "first") && !remove(&mut secret, PEPPER));
        assert_eq!(list(&secret).into_keys().collect::<Vec<_>>(), ["second"]);
        let data = secret.data.as_mut().expect("entries");
        assert_eq!(data[PEPPER], pepper);
        data.insert("by-hand".to_owned(), ByteString(b"{}".to_vec()));
        assert_eq!(list(&secret)["by-hand"], None);
    }

    #[test]
    fn ids_users_and_peppers_are_checked() {
        for id in ["", "pepper", "Shop", "a_b", "a.b", &"x".repeat(41)] {
            assert!(matches!(add(&mut Secret::default(), id, owner()), Err(KeyError::Id(_))), "{id:?}");
        }
        let nobody = Owner { user: String::new(), ..owner() };
        assert!(matches!(add(&mut Secret::default(), "shop", nobody), Err(KeyError::User)));
        let data = BTreeMap::from([(PEPPER.to_owned(), ByteString(vec![b'x'; 31]))]);
        let mut short = Secret { data: Some(data), ..Secret::default() };
        assert!(matches!(add(&mut short, "shop", owner()), Err(KeyError::Pepper)));
        for key in ["ib_", "ib_shop", "ib__secret", "ib_pepper_secret", "shop_secret"] {
            assert_eq!(id_of(key), None, "{key}");
        }
    }
}
