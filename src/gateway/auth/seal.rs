//! The web page's session: the token that somebody signed in with, sealed into a cookie. Nothing is kept here,
//! so every replica knows every session, and the token is checked at each request: who is revoked is out.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hmac, rand};
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest session.
const SESSION: SignedDuration = SignedDuration::from_hours(8);
/// The cookie over HTTPS: browsers let no other host or path set it.
const SECURE: &str = "__Host-imagebatch-session";
/// The cookie over plain HTTP.
const INSECURE: &str = "imagebatch-session";
/// Longest value of a cookie that all browsers keep.
const MAX_VALUE: usize = 4_000;

/// Who is signed in.
#[derive(Serialize, Deserialize)]
pub(super) struct Session {
    /// What was signed in with.
    pub(super) token: String,
    /// What a request that changes something must say besides.
    pub(super) csrf: String,
    /// When it ends.
    pub(super) expires: Timestamp,
}

/// Why a session is not sealed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error("the token is too long for a cookie")]
    TooLong,
    #[error("the cipher failed")]
    Cipher,
}

/// Seals sessions, and opens them.
pub(super) struct Seal {
    key: Option<RandomizedNonceKey>,
    insecure: bool,
}

impl Seal {
    /// Returns the seal of a key, which may have any length.
    pub(super) fn new(key: &[u8], insecure: bool) -> Result<Self, SealError> {
        // The label keeps what is sealed here apart from other uses of the same key.
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"imagebatch session v1");
        let key = RandomizedNonceKey::new(&AES_256_GCM, derived.as_ref()).map_err(|_| SealError::Cipher)?;
        Ok(Self { key: Some(key), insecure })
    }

    /// Returns a seal whose sessions end with this process.
    pub(super) fn of_this_process(insecure: bool) -> Self {
        let mut bytes = [0; 32];
        let seal = rand::fill(&mut bytes).map_err(|_| SealError::Cipher).and_then(|()| Self::new(&bytes, insecure));
        // Without a key nobody can sign in, and nobody is.
        seal.unwrap_or(Self { key: None, insecure })
    }

    /// Returns a new session of a token.
    pub(super) fn start(token: String) -> Result<Session, SealError> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| SealError::Cipher)?;
        Ok(Session { token, csrf: hex::encode(bytes), expires: Timestamp::now() + SESSION })
    }

    /// Returns the header that makes a browser keep a session.
    pub(super) fn set_cookie(&self, session: &Session) -> Result<HeaderValue, SealError> {
        let key = self.key.as_ref().ok_or(SealError::Cipher)?;
        let mut sealed = serde_json::to_vec(session).map_err(|_| SealError::Cipher)?;
        let aad = Aad::from(self.name());
        let nonce = key.seal_in_place_append_tag(aad, &mut sealed).map_err(|_| SealError::Cipher)?;
        let value = URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &sealed].concat());
        if value.len() > MAX_VALUE {
            return Err(SealError::TooLong);
        }
        self.header(&value, SESSION.as_secs())
    }

    /// Returns the header that makes a browser forget its session.
    pub(super) fn clear_cookie(&self) -> Result<HeaderValue, SealError> {
        self.header("", 0)
    }

    /// Returns whether a request has a session's cookie, valid or not.
    pub(super) fn has_cookie(&self, headers: &HeaderMap) -> bool {
        self.cookie(headers).is_some()
    }

    /// Returns the session of a request's cookie, if it has not ended.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let mut sealed = URL_SAFE_NO_PAD.decode(self.cookie(headers)?).ok()?;
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.as_ref()?.open_in_place(nonce, Aad::from(self.name()), sealed).ok()?;
        let session: Session = serde_json::from_slice(opened).ok()?;
        (session.expires > Timestamp::now()).then_some(session)
    }

    fn cookie<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let cookies = headers.get_all(COOKIE).into_iter().filter_map(|it| it.to_str().ok());
        let mut cookies = cookies.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
        cookies.find(|(name, _)| *name == self.name()).map(|(_, value)| value)
    }

    fn name(&self) -> &'static str {
        if self.insecure { INSECURE } else { SECURE }
    }

    fn header(&self, value: &str, seconds: i64) -> Result<HeaderValue, SealError> {
        let secure = if self.insecure { "" } else { "; Secure" };
        let text = format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", self.name());
        HeaderValue::try_from(text).map_err(|_| SealError::Cipher)
    }
}
