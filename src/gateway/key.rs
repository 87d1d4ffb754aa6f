//! Makes an API key: prints the key, and what the Secret of API keys must hold for it. It talks to nobody.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::api::api_key::{self, Owner, PEPPER};

/// Who a key is for.
#[derive(Args, Debug)]
pub struct KeyArgs {
    /// Name of the key, by which it is revoked.
    #[arg(long)]
    id: String,
    /// User whose rights the key has, as role bindings name it.
    #[arg(long)]
    user: String,
    /// Group of that user; may be given more than once.
    #[arg(long = "group")]
    groups: Vec<String>,
    /// Namespace of requests that name none.
    #[arg(long)]
    namespace: Option<String>,
    /// Days until it expires.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
    /// The Secret's entry pepper; without it a new one is made, which fits a new Secret alone.
    #[arg(long, env = "IMAGEBATCH_KEY_PEPPER", hide_env_values = true)]
    pepper: Option<SecretString>,
}

/// Makes a key and prints it.
pub fn create(args: &KeyArgs) -> anyhow::Result<()> {
    let pepper = args.pepper.as_ref().map(|it| it.expose_secret().trim().to_owned());
    let known: BTreeMap<_, _> = pepper.map(|it| (PEPPER.to_owned(), ByteString(it.into_bytes()))).into_iter().collect();
    let mut secret = Secret { data: Some(known.clone()), ..Secret::default() };
    let owner = Owner {
        user: args.user.clone(),
        groups: args.groups.clone(),
        namespace: args.namespace.clone(),
        expires: Timestamp::now() + SignedDuration::from_hours(24 * i64::from(args.days)),
    };
    let key = api_key::add(&mut secret, &args.id, owner)?;
    let added = secret.data.unwrap_or_default().into_iter().filter(|(name, _)| !known.contains_key(name));
    let added: BTreeMap<_, _> =
        added.map(|(name, value)| (name, String::from_utf8_lossy(&value.0).into_owned())).collect();
    let printed = json!({ "key": key.expose_secret(), "secret": { "stringData": added } });
    writeln!(std::io::stdout(), "{printed:#}").context("failed to print the key")
}
