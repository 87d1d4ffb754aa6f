//! `key`: API keys of the gateway, as entries of its Secret. A key itself is printed once and kept nowhere.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::End;
use super::cluster::{Cluster, bounded};
use super::gateway::Gateway;
use super::print::{DataFormat, Table, note, print, print_data, print_line, span};
use crate::gateway::auth::api_key::{self, Entry, Owner, PEPPER, Pepper};

/// What to do with keys.
#[derive(Args, Debug)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
    /// The Secret of the keys; by default the one that the gateway reads.
    #[arg(long, global = true, value_name = "NAME")]
    secret: Option<String>,
    /// Namespace of that Secret; by default the gateway's, or with --secret that of the batches.
    #[arg(long, global = true, value_name = "NAMESPACE")]
    secret_namespace: Option<String>,
    /// Form of the result.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    output: Option<DataFormat>,
}

#[derive(Subcommand, Debug)]
enum KeyCommand {
    /// Make a key and print it: it cannot be shown again.
    Create(CreateArgs),
    /// List keys: whose they are and when they expire.
    List,
    /// Revoke a key; it stops working within moments.
    Revoke {
        /// Name of the key.
        id: String,
    },
}

#[derive(Args, Debug)]
struct CreateArgs {
    /// Name of the key, by which it is revoked.
    id: String,
    /// User whose rights the key has, as role bindings name it.
    #[arg(long)]
    user: String,
    /// Group of that user; may be given more than once.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Namespace of requests that name none; by default that of the batches.
    #[arg(long, value_name = "NAMESPACE")]
    default_namespace: Option<String>,
    /// Days until it expires.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
}

/// The Secret of the keys, and where it is.
struct Keys {
    api: Api<Secret>,
    name: String,
    namespace: String,
}

/// Makes, lists or revokes keys.
pub(super) async fn key(cluster: &Cluster, gateway: &Gateway<'_>, args: &KeyArgs) -> anyhow::Result<End> {
    let keys = Keys::of(cluster, gateway, args).await?;
    match &args.command {
        KeyCommand::Create(asked) => create(cluster, &keys, asked, args.output).await?,
        KeyCommand::List => list(&keys, args.output).await?,
        KeyCommand::Revoke { id } => revoke(&keys, id).await?,
    }
    Ok(End::Done)
}

impl Keys {
    async fn of(cluster: &Cluster, gateway: &Gateway<'_>, args: &KeyArgs) -> anyhow::Result<Self> {
        let (namespace, name) = match &args.secret {
            Some(name) => (cluster.namespace.clone(), name.clone()),
            None => gateway.find().await?.api_keys.context(
                "the gateway takes no API keys: install it with gateway.authentication=api-key, or name a Secret by --secret",
            )?,
        };
        let namespace = args.secret_namespace.clone().unwrap_or(namespace);
        Ok(Self { api: Api::namespaced(cluster.client.clone(), &namespace), name, namespace })
    }

    async fn find(&self) -> anyhow::Result<Option<Secret>> {
        let what = format!("get Secret {:?} in namespace {:?}", self.name, self.namespace);
        bounded(&what, self.api.get_opt(&self.name)).await
    }

    /// Changes entries of the Secret as it was found; somebody else's change in between is not overwritten.
    async fn change(&self, found: &Secret, entries: Value) -> anyhow::Result<()> {
        let version = &found.metadata.resource_version;
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": version }, "data": entries }));
        let what = format!("change Secret {:?} in namespace {:?}", self.name, self.namespace);
        bounded(&what, self.api.patch(&self.name, &PatchParams::default(), &patch)).await?;
        Ok(())
    }
}

async fn create(cluster: &Cluster, keys: &Keys, asked: &CreateArgs, format: Option<DataFormat>) -> anyhow::Result<()> {
    let found = keys.find().await?;
    let data = found.as_ref().and_then(|it| it.data.clone()).unwrap_or_default();
    if data.contains_key(&asked.id) {
        bail!("there is a key {:?} already: revoke it first, or take another name", asked.id);
    }
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    let pepper = if let Some(pepper) = data.get(PEPPER) {
        String::from_utf8(pepper.0.trim_ascii().to_vec()).context("the Secret's pepper is no text")?
    } else {
        let pepper = api_key::new_pepper()?.expose_secret().to_owned();
        entries.insert(PEPPER.to_owned(), pepper.clone());
        pepper
    };
    let owner = Owner {
        user: asked.user.clone(),
        groups: asked.groups.clone(),
        namespace: Some(asked.default_namespace.clone().unwrap_or_else(|| cluster.namespace.clone())),
        expires: Timestamp::now() + SignedDuration::from_hours(24 * i64::from(asked.days)),
    };
    let (key, entry) = api_key::create(&asked.id, owner, &Pepper::new(pepper.as_bytes())?)?;
    entries.insert(asked.id.clone(), serde_json::to_string(&entry)?);
    if let Some(found) = &found {
        let encode = |text: String| k8s_openapi::ByteString(text.into_bytes());
        let entries: BTreeMap<_, _> = entries.into_iter().map(|(id, text)| (id, encode(text))).collect();
        keys.change(found, json!(entries)).await?;
    } else {
        let metadata = ObjectMeta { name: Some(keys.name.clone()), ..ObjectMeta::default() };
        let secret = Secret { metadata, string_data: Some(entries), ..Secret::default() };
        let what = format!("create Secret {:?} in namespace {:?}", keys.name, keys.namespace);
        bounded(&what, keys.api.create(&PostParams::default(), &secret)).await?;
    }
    match format {
        Some(format) => {
            let key = key.expose_secret();
            print_data(format, &json!({ "id": asked.id, "key": key, "user": entry.user, "expires": entry.expires }))?;
        }
        None => print_line(key.expose_secret())?,
    }
    note(&format!(
        "key {:?} of user {:?} is valid until {}; it is shown this once",
        asked.id, entry.user, entry.expires
    ));
    Ok(())
}

async fn list(keys: &Keys, format: Option<DataFormat>) -> anyhow::Result<()> {
    let data = keys.find().await?.and_then(|it| it.data).unwrap_or_default();
    let now = Timestamp::now();
    let mut table = Table::new(&["ID", "USER", "GROUPS", "NAMESPACE", "EXPIRES"]);
    let mut listed = Vec::new();
    for (id, value) in data.into_iter().filter(|(id, _)| id != PEPPER) {
        let Ok(Entry { user, groups, namespace, expires, .. }) = serde_json::from_slice(&value.0) else {
            note(&format!("warning: entry {id:?} is no API key; the gateway passes over it"));
            continue;
        };
        let left = expires.duration_since(now).as_secs();
        let shown = if left > 0 { format!("in {}", span(left)) } else { "expired".to_owned() };
        listed.push(json!({ "id": id, "user": user, "groups": groups, "namespace": namespace, "expires": expires }));
        table.add([id, user, groups.join(","), namespace.unwrap_or_default(), shown]);
    }
    match format {
        Some(format) => print_data(format, &json!({ "keys": listed })),
        None if listed.is_empty() => {
            note(&format!("there are no API keys in Secret {:?} of namespace {:?}", keys.name, keys.namespace));
            Ok(())
        }
        None => print(&table.to_string()),
    }
}

async fn revoke(keys: &Keys, id: &str) -> anyhow::Result<()> {
    let found = keys.find().await?;
    let Some(found) = found.filter(|it| id != PEPPER && it.data.as_ref().is_some_and(|data| data.contains_key(id)))
    else {
        bail!("there is no key {id:?} in Secret {:?} of namespace {:?}", keys.name, keys.namespace);
    };
    keys.change(&found, json!({ id: null })).await?;
    print_line(&format!("key {id} revoked"))
}
