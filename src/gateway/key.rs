//! Makes an API key: prints the key, and what the Secret of API keys must hold for it. It talks to nobody.

use std::io::Write;

use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::auth::api_key::{self, Owner, PEPPER, Pepper};

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
    let is_new = args.pepper.is_none();
    let text = match &args.pepper {
        Some(pepper) => pepper.expose_secret().trim().to_owned(),
        None => api_key::new_pepper()?.expose_secret().to_owned(),
    };
    let pepper = Pepper::new(text.as_bytes()).context("--pepper")?;
    let owner = Owner {
        user: args.user.clone(),
        groups: args.groups.clone(),
        namespace: args.namespace.clone(),
        expires: Timestamp::now() + SignedDuration::from_hours(24 * i64::from(args.days)),
    };
    let (key, entry) = api_key::create(&args.id, owner, &pepper)?;
    let mut data = serde_json::Map::new();
    data.insert(args.id.clone(), serde_json::to_string(&entry)?.into());
    if is_new {
        data.insert(PEPPER.to_owned(), text.into());
    }
    let printed = json!({ "key": key.expose_secret(), "secret": { "stringData": data } });
    writeln!(std::io::stdout(), "{printed:#}").context("failed to print the key")
}
